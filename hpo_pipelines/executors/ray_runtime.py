"""The Ray that this process uses: the one it is connected to already, ``RAY_ADDRESS``, or one of our own."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.executors import processes, ray_keeper
from hpo_pipelines.types import duration

LONGEST_FOLDER = 40
"""Characters: Ray adds 62 to it for the names of its sockets, of which a system takes 103."""

START_SECONDS = 180.0
"""How long Ray may take to come up."""

REACH_SECONDS = 10.0
"""How long the head of a cluster may take to answer at all."""

STARTS = 2
"""On a very busy machine Ray gives up, after 30 s, before all of it has started; a second time it is quicker."""


@dataclass(frozen=True)
class Runtime:
    """A connection to Ray."""

    address: str
    here: bool
    """Whether it runs on this machine alone, so that workers see the driver's files."""


QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
"""Set while Ray is imported, and while it connects."""

_runtime: Runtime | None = None
_lock = threading.Lock()


def connect(home: Path) -> Runtime:
    """Connect this process to Ray, once: executors share the connection, which lasts as long as the process.

    A Ray of our own is kept by a process of its own (:mod:`.ray_keeper`) under ``home``. It is started when there is
    none and stops when its last user is gone, ``$HPO_RAY_LINGER`` (default: 0 s) later. Raises ConfigError when Ray
    cannot be had.
    """
    global _runtime
    with _lock:
        if _runtime is None or not _is_up():
            _runtime = _connected(home)
        return _runtime


def reconnect(leave: Callable[[], None]) -> Runtime:
    """Connect anew to the cluster that this process uses: the node that it was attached to is gone.

    ``leave`` is called once it can be reached: when it returns, no thread may be in Ray, nor enter it. Raises
    ConfigError while the cluster cannot be reached, and leaves the old connection as it is then.
    """
    global _runtime
    import ray

    with _lock:
        if _runtime is None:
            raise ConfigError("this process has no connection to Ray yet.")
        address = os.environ.get("RAY_ADDRESS") or _runtime.address
        if not _runtime.here:
            _check_address(address)
        leave()
        ray.shutdown()
        if _runtime.here:
            raise ConfigError("the local Ray has died; open the workspace again.")
        with _variables(QUIET):
            _init(address)
        _runtime = Runtime(address, here=False)
        return _runtime


def check() -> None:
    """Raise ConfigError unless Ray is connected: its calls would otherwise start a Ray of their own."""
    if not _is_up():
        raise ConfigError("the connection to Ray was closed (ray.shutdown); open the workspace again.")


def _is_up() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def _connected(home: Path) -> Runtime:
    address = os.environ.get("RAY_ADDRESS", "")
    if _is_up():  # by the user, who will also close it
        import ray

        return Runtime(ray.get_runtime_context().gcs_address, here=False)
    if not address or address == "local":
        return _own(home)
    _check_address(address)
    with _variables(QUIET):
        import ray

        _init(address)
    atexit.register(ray.shutdown)
    return Runtime(address, here=False)


def _check_address(address: str) -> None:
    """Raise ConfigError for an address that cannot be used; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    if "://" in address or not port.isdigit():
        raise ConfigError(
            f"RAY_ADDRESS={address!r}: it is HOST:PORT of a cluster's head (or auto, or local). Where only its client "
            "server at ray:// can be reached, start the run inside the cluster."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()
    except OSError as error:
        raise ConfigError(f"Ray at {address} cannot be reached: {error}. Start it, or correct RAY_ADDRESS.") from None


def _own(home: Path) -> Runtime:
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(_keeper, _folder(home))
        with _variables(QUIET):
            import ray  # half a second and more, while Ray starts
        connection, answer = opening.result()
    with _variables(ray_keeper.environment(answer["token"])):
        # Ray read its variables when it was imported, which may have been before they were set.
        ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
        ray._raylet.Config.initialize("")
        ray._raylet.AuthenticationTokenLoader.instance().reset_cache()
        # What the driver can import, our own worker code first of all, its workers can.
        paths = [path for path in sys.path if os.path.isdir(path)]
        _init(answer["address"], job_config=ray.job_config.JobConfig(_py_driver_sys_path=paths))
    atexit.register(_leave, connection)
    return Runtime(answer["address"], here=True)


def _init(address: str, **options: Any) -> None:
    import ray

    try:
        with _handler_kept(signal.SIGTERM):
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:
        raise ConfigError(f"Ray at {address} cannot be reached: {error}. Start it, or correct RAY_ADDRESS.") from error
    # What goes wrong with a worker reaches the steps concerned; the user's console is for the user's output.
    ray._private.worker._worker_logs_enabled = False


def _leave(connection: socket.socket) -> None:
    import ray

    ray.shutdown()
    connection.close()


# -- the keeper


def _keeper(folder: Path) -> tuple[socket.socket, Mapping[str, str]]:
    """A held connection to the keeper of ``folder``, which is started if need be, and its answer."""
    end = time.monotonic() + START_SECONDS
    alive: int | None = None
    starts = 0
    while time.monotonic() < end:
        connection = _call(folder)
        if connection is not None:
            answer = _answer(connection, end)
            if answer is not None and "error" not in answer:
                return connection, answer
            connection.close()
        if alive is not None and not select.select([alive], [], [], 0.05)[0]:
            continue
        if alive is not None:
            os.close(alive)
        if starts == STARTS:
            break
        starts += 1
        alive = _start(folder)
    raise ConfigError(f"a local Ray did not come up; the end of {folder / 'keeper.log'} says:\n{_log_tail(folder)}")


def _call(folder: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(folder / "keeper.sock"))
    except OSError:
        connection.close()
        return None
    return connection


def _answer(connection: socket.socket, end: float) -> Mapping[str, str] | None:
    data = b""
    connection.settimeout(max(0.1, end - time.monotonic()))
    with contextlib.suppress(OSError):
        while not data.endswith(b"\n"):
            part = connection.recv(4096)
            if not part:
                return None  # it was about to end
            data += part
        answer: Mapping[str, str] = json.loads(data)
        return answer
    return None


def _start(folder: Path) -> int:
    """Start a keeper; returns a descriptor that can be read when it has ended."""
    cpus = processes.available_cpus("HPO_RAY_CPUS")
    linger = duration(os.environ.get("HPO_RAY_LINGER", 0.0))
    ended, alive = os.pipe()
    command = [sys.executable, "-P", ray_keeper.__file__, str(folder), str(linger), str(cpus)]
    with open(folder / "keeper.log", "ab") as log:
        # By a shell that leaves it behind: the keeper may outlive us, and is nobody's child.
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(alive,),
            check=True,
        )
    os.close(alive)
    return ended


def _log_tail(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return (folder / "keeper.log").read_text(errors="replace")[-2000:]
    return ""


def _folder(home: Path) -> Path:
    """A private folder for Ray under ``home``, or where its path is too long for sockets, under /tmp.

    One for each environment: driver and workers must have one Python and one Ray.
    """
    folder = home / f"ray-{_short_digest(sys.prefix, sys.version)}"
    if len(str(folder)) > LONGEST_FOLDER:
        folder = Path("/tmp") / f"hpo-ray-{os.getuid()}-{_short_digest(str(home), sys.prefix, sys.version)}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise ConfigError(f"{folder} belongs to somebody else; set HPO_HOME to a shorter path of your own.")
    folder.chmod(0o700)
    return folder


def _short_digest(*parts: str) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()[:8]


# -- the surroundings of ray.init


@contextlib.contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _handler_kept(signum: int) -> Iterator[None]:
    """``ray.init`` takes SIGTERM for itself; the handler belongs to the program."""
    handler = signal.getsignal(signum)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signum, handler)
