"""Packages of a step's own: a folder for each list of requirements, built once on each machine.

The folder is put ahead on the path of the process that runs the step. What an index would answer tomorrow does not
count: a list that leaves a version open stays as it was first built. Removing a folder has it built anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from blake3 import blake3

from hpo_pipelines.errors import StepFailed
from hpo_pipelines.executors import processes
from hpo_pipelines.fingerprint.files import requirement_digests
from hpo_pipelines.types import Environment

Write = Callable[[bytes], None]
"""Takes what belongs on the step's console."""

TOLD = 4000
"""Characters of the builder's output that a failure repeats; all of it is on the console."""


def folder_of_environments() -> Path:
    """Where this machine keeps environments: $HPO_ENVIRONMENTS, a folder in $HPO_HOME, or in the user's cache."""
    for variable, below in (("HPO_ENVIRONMENTS", ""), ("HPO_HOME", "environments")):
        if os.environ.get(variable):
            return Path(os.environ[variable], below).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache, "hpo_pipelines", "environments").expanduser().absolute()


class Overlay:
    """The packages of one environment on this machine, in ``folder`` once :meth:`build` has returned."""

    def __init__(self, environment: Environment, root: Path | None = None) -> None:
        self._environment = environment
        self.digest = _digest(environment)
        self.folder = (root or folder_of_environments()) / self.digest

    def build(self, write: Write) -> Path:
        """Install the packages, unless they are there; one process of the machine does, the others wait for it.

        The builder's words go to ``write``. Raises StepFailed with the end of them when it fails; then nothing is left.
        """
        if self.folder.is_dir():
            return self.folder
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.folder.with_suffix(".lock"), write):
                if not self.folder.is_dir():
                    self._install(write)
        except OSError as error:
            raise StepFailed(
                f"the packages of the step's environment cannot be kept in {self.folder.parent} on "
                f"{socket.gethostname()}: {error.strerror or error}. Make room there, or set HPO_ENVIRONMENTS on that "
                "node to a folder that this user may write to."
            ) from error
        return self.folder

    def _install(self, write: Write) -> None:
        partial = self.folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)  # of a builder that was killed
        command = _builder(partial)
        write(f"building an environment with {', '.join(self._environment.packages)}\n".encode())
        try:
            code, words = _run([*command, *self._environment.packages], self._environment.env, write)
            if code != 0:
                raise StepFailed(
                    f"the environment of the step could not be built on {socket.gethostname()}: {command[0]} exited "
                    f"with code {code}. Correct packages=[{', '.join(map(repr, self._environment.packages))}], or make "
                    f"what it could not reach reachable from that node. It said:\n{words[-TOLD:].strip()}"
                )
            partial.mkdir(exist_ok=True)  # a list may come to nothing here, by its markers
            partial.rename(self.folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _digest(environment: Environment) -> str:
    found = blake3()
    # Where the installer looks decides what it finds.
    asked = {name: value for name, value in environment.env.items() if name.startswith(("UV_", "PIP_"))}
    parts = [
        *environment.packages,
        *requirement_digests(environment.packages).values(),
        *(f"{k}={v}" for k, v in sorted(asked.items())),
    ]
    system = [f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}", sys.platform]
    for part in (*system, platform.machine(), *parts):
        found.update(part.encode() + b"\0")
    return found.hexdigest()[:32]


def _builder(target: Path) -> list[str]:
    """The command that installs the requirements behind it into ``target``."""
    uv = shutil.which("uv", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]))
    if uv is not None:
        options = ["--no-progress", "--compile-bytecode", "--python", sys.executable]
        return [uv, "pip", "install", *options, "--target", str(target)]
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--progress-bar", "off", "--target", str(target)]
    raise StepFailed(
        f"the step declares packages, and {socket.gethostname()} has neither uv nor pip to install them. Install uv "
        f"on that node (anywhere on its PATH), or pip for {sys.executable}."
    )


def _run(command: list[str], variables: Mapping[str, str], write: Write) -> tuple[int, str]:
    """Run ``command`` to its end, or kill it when interrupted; returns its exit code and what it said."""
    said = bytearray()
    builder = subprocess.Popen(
        command,
        # Neither a pyproject.toml nor a uv.toml of the working folder has a say.
        cwd="/",
        env={**os.environ, **variables, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert builder.stdout is not None
    try:
        with builder.stdout as output:
            while data := os.read(output.fileno(), 65536):
                said += data
                write(data)
        return builder.wait(), said.decode("utf-8", "replace")
    finally:
        if builder.poll() is None:
            processes.kill_tree(builder.pid)
            builder.wait()


@contextlib.contextmanager
def _locked(path: Path, write: Write) -> Iterator[None]:
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            write(b"waiting for another process to build the environment\n")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
