"""Ray clusters of several nodes on this machine, on loopback sockets, kept by a process of their own.

In a process of their own because Ray reads its flags once for each process; tests attach to them by ``RAY_ADDRESS``, as
users do to a cluster that is not theirs.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpo_pipelines.executors import ray_keeper

STORE_BYTES = 100 * 2**20
"""Of each node's object store."""

MARK = "HPO_TEST_CLUSTER"
"""Variable that every process of a cluster has, and by default all that these start."""


class Nodes:
    """A running cluster; its head has no CPUs. ``folder`` holds the homes of its nodes, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        token = folder / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        (folder / "ray").mkdir()
        self.variables = {**ray_keeper.environment(str(token)), "RAY_TMPDIR": str(folder)}
        """What a process needs in its environment to attach to it, beside the address."""
        environment = {**os.environ, **ray_keeper.DEFAULTS, **self.variables, MARK: str(folder)}
        # A home for each node, which is no other's.
        with open(folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        self.address = self._hear()

    def add(self, name: str, **options: Any) -> None:
        """Start a node; ``options`` are Ray's own (``num_cpus``, ``resources``, ``labels``)."""
        home = self.folder / "homes" / name
        home.mkdir(parents=True)
        homes = {"HOME": str(home), "HPO_HOME": str(home / "hpo"), "HPO_TEST_NODE": name}
        self._ask({"name": name, "options": {"object_store_memory": STORE_BYTES, "env_vars": homes, **options}})

    def kill(self, name: str) -> None:
        """Kill all processes of a node that Ray has started itself."""
        self._ask({"name": name, "options": None})

    def end(self) -> None:
        """Stop all of it, and what its processes have left behind."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        for process in marked(MARK, str(self.folder)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def _ask(self, order: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        self._hear()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, (self.folder / "log").read_text()
        return str(json.loads(line))


class Head:
    """A head as ``ray start`` makes it, at ``address`` with ``options`` of that command.

    :meth:`start` starts it, also again.
    """

    def __init__(self, folder: Path, address: str, *options: str, **variables: str) -> None:
        self.folder = folder
        self.address = address
        token = folder / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        self.variables = {**ray_keeper.environment(str(token)), "RAY_TMPDIR": str(folder)}
        (folder / "ray").mkdir()
        self._environment = {**os.environ, **ray_keeper.DEFAULTS, **self.variables, **variables, MARK: str(folder)}
        self._environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        self._options = options
        self.dashboard = ""
        """Where its own pages are, if ``options`` say that it has some."""

    def start(self) -> None:
        """Start the head, and wait until it answers."""
        port = self.address.partition(":")[2]
        common = ["--head", f"--port={port}", f"--temp-dir={self.folder}", f"--object-store-memory={STORE_BYTES}"]
        # Else it is one number for each machine, and jobs of a second Ray on it are never begun.
        common += [f"--dashboard-agent-listen-port={free_address().partition(':')[2]}"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *common, *self._options]
        with open(self.folder / "log", "ab") as log:
            started = subprocess.run(command, stdout=log, stderr=log, env=self._environment, check=False, timeout=120)
        assert started.returncode == 0, (self.folder / "log").read_text()

    def processes(self, word: str = "") -> list[psutil.Process]:
        """Those of this Ray with ``word`` in their command lines."""
        found = []
        for process in marked(MARK, str(self.folder)):
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(word in part for part in process.cmdline()):
                    found.append(process)
        return found

    def kill(self) -> None:
        """Kill all that belongs to it, at once: workers, raylets, the GCS."""
        for _ in range(50):
            left = self.processes()
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            if not left:
                return
            psutil.wait_procs(left, timeout=1)


def free_address() -> str:
    """Of loopback, with a port that nobody listens at just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def marked(variable: str, value: str) -> list[psutil.Process]:
    """The processes that were started with ``variable`` set to ``value``."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(variable) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A private folder with a path short enough for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="hpo", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def attached(address: str, variables: Mapping[str, str]) -> Iterator[None]:
    """Have this process use the cluster at ``address``, whatever Ray it used before, and leave it at the end."""
    with pytest.MonkeyPatch.context() as patch:
        _leave()
        for name, value in {**variables, "RAY_ADDRESS": address}.items():
            patch.setenv(name, value)
        _read_flags()
        try:
            yield
        finally:
            _leave()


def _leave() -> None:
    import ray

    ray.shutdown()


def _read_flags() -> None:
    import ray

    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    ray._raylet.Config.initialize("")
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()


def main() -> None:
    """Keep a cluster, by orders on standard input, for as long as that is open."""
    from ray.cluster_utils import Cluster

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    head = {"num_cpus": 0, "include_dashboard": False, "no_monitor": True, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes: dict[str, Any] = {}
    print(json.dumps(cluster.address), file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if order["options"] is None:
            cluster.remove_node(nodes.pop(order["name"]), allow_graceful=False)
        else:
            nodes[order["name"]] = cluster.add_node(**order["options"])
        print(json.dumps("done"), file=answers, flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
