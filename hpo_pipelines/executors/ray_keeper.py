"""The process that holds a Ray of ours up for as long as somebody uses it, and takes it down after.

Run as a file of its own, with ``python -P ray_keeper.py FOLDER LINGER CPUS``: it imports nothing of ours. ``FOLDER``
belongs to it: the token, the log, the session, and ``keeper.sock``. Whoever uses Ray holds a connection to that socket;
it is answered with one line of JSON once Ray is up, or with why it is not. ``LINGER`` seconds after the last of them
has gone, also by a crash, Ray is stopped and the process ends. So nobody who still runs steps loses them because
another program, which happened to come first, is done; and nothing is left running.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
import time
from typing import Any

FLAGS = {
    # Loopback sockets only: Ray binds to every interface where it believes that other machines may join.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_DEDUP_LOGS": "0",
}
"""What Ray and all who attach to it must agree on, together with the path of the token."""

DEFAULTS = {
    # Workers above the number of CPUs are otherwise ended when idle, and a new one takes seconds to start.
    "RAY_num_workers_soft_limit": "8",
    # Else a step that is out of memory is tried again for ever.
    "RAY_task_oom_retries": "0",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_enable_infeasible_task_early_exit": "true",
    # A killed worker's children go with it; and Ctrl-C in the terminal is not for workers.
    "RAY_process_group_cleanup_enabled": "true",
    # Ray's 15 starves steps, and the start of workers, on a busy machine.
    "RAY_worker_niceness": "0",
    # Python children of a step should be as easy to follow as the step itself.
    "PYTHONUNBUFFERED": "1",
}
"""How our own Ray runs, unless the environment says otherwise."""

STORE_SHARE, STORE_LIMIT = 0.1, 2**30
"""Ray's object store: part of the memory, and bytes at most. Our outputs do not travel through it."""

FIRST_USER_SECONDS = 60.0
"""How long to wait for somebody to come."""


def environment(token: str) -> dict[str, str]:
    """The variables that must be set in a process before it starts this Ray or attaches to it."""
    return {**FLAGS, "RAY_AUTH_TOKEN_PATH": token}


class Keeper:
    """Counts the users of one Ray."""

    def __init__(self, folder: str, linger: float, cpus: float) -> None:
        self.folder = folder
        self.linger = linger
        self.cpus = cpus
        self._users: set[socket.socket] = set()
        self._seen = False
        self._answer: bytes | None = None
        self._changed = threading.Condition()
        self._node: Any = None

    def run(self) -> None:
        """Serve until nobody is left; returns at once if another keeper serves this folder."""
        path = os.path.join(self.folder, "keeper.sock")
        lock = os.open(os.path.join(self.folder, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        if not _alone(lock, path):
            return
        _remove(path)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen(64)
            threading.Thread(target=self._accept, args=(server,), daemon=True).start()
            try:
                answer = self._start()
            except Exception as error:
                self._reply({"error": f"{type(error).__name__}: {error}"})
                raise
            self._reply(answer)
            self._wait_for_the_last()
            # From here on who comes finds nobody, and starts a keeper that waits for the lock.
            _remove(path)
            server.shutdown(socket.SHUT_RDWR)
        self._node.kill_all_processes(check_alive=False, allow_graceful=True, wait=True)
        _remove(os.path.join(self.folder, "token"))
        _remove_sessions(self.folder)

    def _start(self) -> dict[str, str]:
        # The shell that started us ignores them, and all that Ray starts would too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
        token = os.path.join(self.folder, "token")
        descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        _remove_sessions(self.folder)
        os.environ.update(environment(token))
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        from ray._private import utils
        from ray._private.node import Node
        from ray._private.parameter import RayParams

        # Nothing of a cluster's dashboard is needed here, and its agent alone takes seconds to start: as if the
        # packages for it were not installed.
        utils.get_dashboard_dependency_error = lambda: ImportError("not needed")
        # As `ray start --head` does it, less the autoscaler's monitor and the log monitor, of which we need neither:
        # `ray.init` starts both, which takes it half as long again.
        self._node = Node(
            RayParams(
                num_cpus=self.cpus,
                object_store_memory=_store_size(),
                include_dashboard=False,
                include_log_monitor=False,
                no_monitor=True,
                min_worker_port=0,
                max_worker_port=0,
                temp_dir=self.folder,
            ),
            head=True,
            shutdown_at_exit=True,
            spawn_reaper=True,
        )
        return {"address": self._node.gcs_address, "token": token, "folder": self.folder}

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                user, _ = server.accept()
            except OSError:
                return  # shut
            with self._changed:
                self._users.add(user)
                self._seen = True
                self._changed.notify_all()
                if self._answer is not None:
                    _send(user, self._answer)
            threading.Thread(target=self._watch, args=(user,), daemon=True).start()

    def _watch(self, user: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while user.recv(64):
                continue
        with self._changed:
            self._users.discard(user)
            user.close()
            self._changed.notify_all()

    def _reply(self, answer: dict[str, str]) -> None:
        with self._changed:
            self._answer = json.dumps(answer).encode() + b"\n"
            for user in self._users:
                _send(user, self._answer)

    def _wait_for_the_last(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._seen, FIRST_USER_SECONDS)
            while True:
                self._changed.wait_for(lambda: not self._users)
                if not self._changed.wait_for(lambda: self._users, self.linger):
                    return


def _send(user: socket.socket, answer: bytes) -> None:
    with contextlib.suppress(OSError):  # it has gone already, which its watcher sees too
        user.sendall(answer)


def _alone(lock: int, path: str) -> bool:
    """Whether this process now holds the lock; False once another keeper answers."""
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
                probe.connect(path)
                return False
        time.sleep(0.05)


def _store_size() -> int:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(100 * 2**20, min(STORE_LIMIT, int(memory * STORE_SHARE)))


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _remove_sessions(folder: str) -> None:
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        if name.startswith("session_") and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)


def _adopt_orphans() -> None:
    """Have what workers leave behind when they die fall to this process (Linux only)."""
    if sys.platform == "linux":
        pr_set_child_subreaper = 36
        ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def _end_descendants() -> None:
    """Kill whatever this process or those below it have started and that still runs.

    A raylet ends a worker's children with the worker, unless it must end itself just then.
    """
    import psutil

    this = psutil.Process()
    for _ in range(100):
        left = this.children(recursive=True)
        if not left:
            return
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=0.1)


def main() -> None:
    """Keep Ray for ``FOLDER LINGER CPUS``, then leave nothing behind."""
    _adopt_orphans()
    try:
        Keeper(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])).run()
    finally:
        _end_descendants()


if __name__ == "__main__":
    main()
