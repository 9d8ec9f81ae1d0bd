"""The local executor: a pool of worker processes of ours, ready in a fraction of a second; the default on a laptop."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.executors import processes
from hpo_pipelines.executors.base import (
    Assignment,
    Cancelled,
    Ended,
    Executor,
    Failed,
    Listener,
    Lost,
    Started,
    TimedOut,
    ended,
)

SOFT_CANCEL_SECONDS = 1.0
"""How long a cancelled step may take to end by itself."""

_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from hpo_pipelines.executors.local_worker import main; main(int(sys.argv[2]))"
)


@dataclass
class _Running:
    assignment: Assignment
    listener: Listener
    deadline: float | None = None
    """When it is ended by force, on the monotonic clock."""
    verdict: Ended | None = None
    """What its end will mean, once we have decided to end it."""


class _Worker:
    """One worker process and our end of its pipe."""

    def __init__(self, log: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs, open(log, "ab") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _BOOTSTRAP, json.dumps(sys.path), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        self.connection = Connection(ours.detach())
        self.log = log
        self.snapshot = ""
        self.running: _Running | None = None

    def send(self, kind: str, payload: Any) -> None:
        try:
            self.connection.send_bytes(pickle.dumps((kind, payload), protocol=5))
        except OSError:
            return  # it died; the reader sees the end of the pipe and says so

    def kill(self) -> None:
        processes.kill_tree(self.process.pid)

    def dispose(self) -> int:
        """Wait for the killed or dying process; returns its exit code."""
        self.connection.close()
        return self.process.wait()


class LocalExecutor(Executor):
    """Runs steps in worker processes, one per CPU slot; a worker keeps one code snapshot loaded.

    ``cpus`` defaults to ``$HPO_LOCAL_CPUS``, else to the CPUs this process may use.
    """

    name = "local"

    def __init__(self, cpus: float | None = None) -> None:
        self.cpus = cpus if cpus is not None else _available_cpus()
        self._free = self.cpus
        self._lock = threading.RLock()
        self._waiting: deque[_Running] = deque()
        self._workers: list[_Worker] = []
        self._folder = tempfile.TemporaryDirectory(prefix="hpo-local-")
        self._closed = False
        self._woken, self._wake = _pipe()
        self._workers.append(self._spawn())
        self._thread = threading.Thread(target=self._serve, name="hpo-local", daemon=True)
        self._thread.start()

    def submit(self, assignment: Assignment, listener: Listener) -> None:
        resources = assignment.resources
        if resources.cpu > self.cpus:
            raise ConfigError(
                f"{assignment.label} needs {resources.cpu:g} CPUs and the local executor has {self.cpus:g}. "
                "Ask for fewer, set HPO_LOCAL_CPUS, or run it with executor='ray' on a cluster that has them."
            )
        if resources.gpu or resources.custom:
            raise ConfigError(
                f"{assignment.label} needs a GPU or a custom resource, which the local executor does not place. "
                "Run it with executor='ray'."
            )
        with self._lock:
            if self._closed:
                raise ConfigError("this local executor is closed; open the workspace again.")
            self._waiting.append(_Running(assignment, listener))
        self._dispatch()

    def cancel(self, attempt: str) -> None:
        with self._lock:
            waiting = next((item for item in self._waiting if item.assignment.id == attempt), None)
            if waiting is not None:
                self._waiting.remove(waiting)
            worker = next((w for w in self._workers if w.running and w.running.assignment.id == attempt), None)
            if worker is not None and worker.running is not None and worker.running.verdict is None:
                worker.running.verdict = Cancelled()
                worker.running.deadline = time.monotonic() + SOFT_CANCEL_SECONDS
                worker.send("cancel", attempt)
                self._wake.send_bytes(b"deadline")
        if waiting is not None:
            waiting.listener(waiting.assignment, Cancelled())

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            workers, self._workers = self._workers, []
        self._wake.send_bytes(b"close")
        self._thread.join()
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.dispose()
        self._woken.close()
        self._wake.close()
        self._folder.cleanup()

    # -- choosing a worker

    def _dispatch(self) -> None:
        while True:
            with self._lock:
                started = self._start_next()
            if started is None:
                return
            worker, item = started
            # The listener hears of the start before the worker can send anything.
            item.listener(item.assignment, Started(f"local:{worker.process.pid}"))
            worker.send("run", item.assignment)

    def _start_next(self) -> tuple[_Worker, _Running] | None:
        item = next((item for item in self._waiting if item.assignment.resources.cpu <= self._free), None)
        if item is None or self._closed:
            return None
        self._waiting.remove(item)
        self._free -= item.assignment.resources.cpu
        worker = self._worker_for(item.assignment.snapshot_digest)
        worker.snapshot = item.assignment.snapshot_digest
        worker.running = item
        if item.assignment.timeout is not None:
            item.deadline = time.monotonic() + item.assignment.timeout
            self._wake.send_bytes(b"deadline")
        return worker, item

    def _worker_for(self, snapshot: str) -> _Worker:
        idle = [worker for worker in self._workers if worker.running is None]
        for wanted in (snapshot, ""):
            for worker in idle:
                if worker.snapshot == wanted:
                    return worker
        if idle:  # its modules are of other code: a fresh process takes its place
            self._workers.remove(idle[0])
            idle[0].kill()
            idle[0].dispose()
        worker = self._spawn()
        self._workers.append(worker)
        self._wake.send_bytes(b"worker")
        return worker

    def _spawn(self) -> _Worker:
        return _Worker(os.path.join(self._folder.name, "workers.log"))

    # -- hearing from workers

    def _serve(self) -> None:
        while not self._closed:
            with self._lock:
                connections = {worker.connection: worker for worker in self._workers}
                deadlines = [w.running.deadline for w in self._workers if w.running and w.running.deadline is not None]
            patience = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
            for ready in wait([self._woken, *connections], patience):
                if ready is self._woken:
                    self._woken.recv_bytes()
                elif isinstance(ready, Connection):
                    self._hear(connections[ready])
            self._enforce_deadlines()

    def _hear(self, worker: _Worker) -> None:
        try:
            while True:
                message = pickle.loads(worker.connection.recv_bytes())
                if ended(message):
                    self._finish(worker, message)
                elif worker.running is not None:
                    worker.running.listener(worker.running.assignment, message)
                if not worker.connection.poll():
                    return
        except (EOFError, OSError):
            if worker in self._workers:
                self._bury(worker)

    def _finish(self, worker: _Worker, message: Ended) -> None:
        with self._lock:
            item, worker.running = worker.running, None
            if item is None:
                return
            self._free += item.assignment.resources.cpu
            if item.verdict is not None or isinstance(message, Lost):
                # Interrupted code may have left anything behind; the process and its children go.
                self._workers.remove(worker)
                worker.kill()
                worker.dispose()
        item.listener(item.assignment, _meant(item, message))
        self._dispatch()

    def _bury(self, worker: _Worker) -> None:
        with self._lock:
            self._workers.remove(worker)
            worker.kill()
            code = worker.dispose()
            item, worker.running = worker.running, None
            if item is None:
                return
            self._free += item.assignment.resources.cpu
        item.listener(item.assignment, _meant(item, Lost(_death(code, worker.log))))
        self._dispatch()

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        with self._lock:
            late = [w for w in self._workers if w.running and w.running.deadline and w.running.deadline <= now]
        for worker in late:
            if worker.running is not None and worker.running.verdict is None:
                worker.running.verdict = TimedOut(worker.running.assignment.timeout or 0.0)
            self._bury(worker)


def _meant(item: _Running, message: Ended) -> Ended:
    """What the end of ``item`` means: our own decision to end it counts before how it then ended."""
    if item.verdict is not None and (isinstance(message, Failed | Lost)):
        return item.verdict
    return message


def _death(code: int, log: str) -> str:
    if code < 0:
        return f"its process was killed by signal {-code}"
    with open(log, "rb") as file:
        words = file.read()[-2000:].decode("utf-8", "replace").strip()
    return f"its process exited with code {code}" + (f": {words}" if words else "")


def _available_cpus() -> float:
    wanted = os.environ.get("HPO_LOCAL_CPUS")
    if wanted:
        try:
            return float(wanted)
        except ValueError:
            raise ConfigError(f"HPO_LOCAL_CPUS={wanted!r}: it is a number of CPUs, for instance 4.") from None
    return float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _pipe() -> tuple[Connection, Connection]:
    ours, theirs = socket.socketpair()
    return Connection(ours.detach()), Connection(theirs.detach())
