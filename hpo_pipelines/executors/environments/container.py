"""Steps in containers: one for each attempt, started by the worker as a child of its own, by podman or docker.

The image needs Python of the worker's minor version as ``python3``, and glibc; this package and the three that it
cannot do without are mounted read-only. The container shares the network of its node and, where artifacts are kept in
a folder, that folder; it ends when its pipe does, by name when it is aborted, and at the latest when another worker of
the node starts a container and finds that its owner is gone.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpo_pipelines.errors import StepFailed
from hpo_pipelines.executors.base import Assignment
from hpo_pipelines.executors.environments.annex import Annex, Write
from hpo_pipelines.owner import is_gone, process_name

ENGINES = ("podman", "docker")
OWNER = "hpo-pipelines.owner"
"""The label that names the worker process a container belongs to."""
REMOVALS = 60
"""How often, each half a second after the last, the removal of a container is tried."""

PATIENCE_SECONDS = 5.0
"""How long a container that has done its work may take to go."""

OURS, LIBRARIES = ("hpo_pipelines", "search_spaces"), ("blake3", "cloudpickle", "wrapt")
"""Packages that are mounted ahead of the image's own, and behind them."""

BOOTSTRAP = """
import sys
wanted, *ahead = sys.argv[1:]
here = "%d.%d" % sys.version_info[:2]
if here != wanted:
    sys.exit(f"python3 of the image is {here}; steps run on the minor version of their driver, which is {wanted}")
sys.path[:0] = ahead
sys.path.append("/hpo/libraries")
from hpo_pipelines.executors.environments.inside import contained
contained()
"""


def engine() -> str:
    """The program that runs containers here: $HPO_CONTAINER_ENGINE, else podman, else docker. Raises StepFailed."""
    asked = os.environ.get("HPO_CONTAINER_ENGINE")
    found = next((path for name in ([asked] if asked else ENGINES) if (path := shutil.which(name))), None)
    if found is None:
        wanted = f"{asked} (of HPO_CONTAINER_ENGINE)" if asked else " and no ".join(ENGINES)
        raise StepFailed(
            f"the step runs in a container image, and node {socket.gethostname()} has no {wanted} on its PATH. Install "
            "podman or docker there, set HPO_CONTAINER_ENGINE, or send the step to a queue whose nodes have one."
        )
    return found


def name_of(attempt: str) -> str:
    """What the container of an attempt is called."""
    return f"hpo-{attempt.lower()}"


class Container(Annex):
    """The container of one attempt. ``artifacts`` is the folder with its inputs, which takes its outputs."""

    def __init__(self, assignment: Assignment, artifacts: str, overlay: Path | None) -> None:
        self._engine = engine()
        self._name = name_of(assignment.id)
        command = _command(self._engine, assignment, _mounts(artifacts, overlay), overlay is not None)

        def start(orders: int, messages: int, prints: int) -> subprocess.Popen[bytes]:
            # In no session of its own: what ends the worker's processes ends this.
            return subprocess.Popen(command, stdin=orders, stdout=messages, stderr=prints)

        super().__init__(start)

    def end(self, write: Write = lambda data: None) -> str:
        """End the container: it goes by itself when nothing more is ordered, else it is killed by its name."""
        self._orders.close()
        try:
            self._await(write, PATIENCE_SECONDS)
        finally:
            if self.alive:
                _quietly([self._engine, "kill", self._name])
                self._await(write, PATIENCE_SECONDS)
                _quietly([self._engine, "rm", "-f", self._name])
        return super().end(write)

    def _await(self, write: Write, seconds: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self._pump(write)


def _command(engine: str, assignment: Assignment, mounts: Mapping[str, str], overlaid: bool) -> list[str]:
    environment = assignment.environment
    options = [
        "--rm",
        "--interactive",
        f"--name={name_of(assignment.id)}",
        f"--label={OWNER}={process_name()}",
        "--network=host",
        # What goes over the pipes is nobody else's.
        "--log-driver=none",
        "--security-opt=label=disable",
        *_user(engine),
        *(f"--volume={place}:{inside}" for inside, place in mounts.items()),
        "--env=PYTHONUNBUFFERED=1",
        *(f"--env={name}={value}" for name, value in environment.env.items()),
        *shlex.split(os.environ.get("HPO_CONTAINER_OPTIONS", "")),
        "--entrypoint=python3",
    ]
    version = "{}.{}".format(*sys.version_info)
    ahead = [*(["/hpo/overlay"] if overlaid else []), "/hpo/ours"]
    return [engine, "run", *options, str(environment.image), "-P", "-c", BOOTSTRAP, version, *ahead]


def _user(engine: str) -> Sequence[str]:
    """What makes the files that a step writes belong to this process's user."""
    if os.getuid() == 0:
        return ()
    if os.path.basename(engine) == "podman":
        return ("--userns=keep-id", "--env=HOME=/tmp")
    return (f"--user={os.getuid()}:{os.getgid()}", "--env=HOME=/tmp")


def _mounts(artifacts: str, overlay: Path | None) -> Mapping[str, str]:
    """Folders of this machine by where they are in the container."""
    mounts = {artifacts: artifacts}
    for place, names in (("ours", OURS), ("libraries", LIBRARIES)):
        for name in names:
            spec = importlib.util.find_spec(name)
            if spec is None or spec.origin is None:
                raise StepFailed(f"the package {name} cannot be found on {socket.gethostname()}; install it again.")
            mounts[f"/hpo/{place}/{name}:ro"] = os.path.dirname(os.path.realpath(spec.origin))
    if overlay is not None:
        mounts["/hpo/overlay:ro"] = str(overlay)
    return mounts


def remove(attempt: str) -> None:
    """Kill and remove the container of ``attempt``, if there is one."""
    with contextlib.suppress(StepFailed, OSError):
        program, name = engine(), name_of(attempt)
        _quietly([program, "kill", name])
        _quietly([program, "rm", "-f", name])


def remove_soon(attempt: str) -> None:
    """The same, while this process goes on, or ends."""
    with contextlib.suppress(StepFailed, OSError):
        program, name = shlex.quote(engine()), name_of(attempt)
        # An engine refuses to remove what it is just starting, stopping or removing itself.
        again = f"{program} inspect --type=container {name} || exit 0; {program} kill {name}; {program} rm -f {name}"
        script = f"for try in $(seq {REMOVALS}); do {again}; sleep 0.5; done"
        remover = subprocess.Popen(
            ["/bin/sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        threading.Thread(target=remover.wait, name="hpo-remove", daemon=True).start()


def sweep() -> list[str]:
    """Remove the containers of this machine whose worker is gone; returns their names."""
    program = engine()
    listed = _said([program, "ps", "--all", "--quiet", "--no-trunc", f"--filter=label={OWNER}"]).split()
    gone = []
    for container in listed:
        form = f'{{{{.Name}}}} {{{{index .Config.Labels "{OWNER}"}}}}'
        name, _, owner = _said([program, "inspect", "--type=container", f"--format={form}", container]).partition(" ")
        if owner and is_gone(owner.strip()):
            _quietly([program, "kill", container])
            _quietly([program, "rm", "-f", container])
            gone.append(name.removeprefix("/"))
    return gone


def sweep_once() -> None:
    """Sweep in the background, the first time that this process is about to start a container."""
    if not _swept.is_set():
        _swept.set()
        threading.Thread(target=sweep, name="hpo-sweep", daemon=True).start()


_swept = threading.Event()


def _said(command: Sequence[str]) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
    )
    return done.stdout.decode("utf-8", "replace")


def _quietly(command: Sequence[str]) -> None:
    """Run ``command``; that what it is to end has gone already is no trouble."""
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
