"""The local executor: a pool of worker processes of ours, ready in a fraction of a second; the default on a laptop."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait

import psutil

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.executors import processes
from hpo_pipelines.executors.base import (
    Assignment,
    Begun,
    Cancelled,
    Ended,
    Executor,
    Listener,
    Lost,
    Message,
    NodeUse,
    Started,
    TimedOut,
    ended,
)
from hpo_pipelines.executors.line import Line
from hpo_pipelines.executors.local_process import WorkerProcess

SOFT_CANCEL_SECONDS = 1.0
"""How long a step that is cancelled, or past its timeout, may take to end by itself."""

SMALLEST_SHARE = 1 / 16
"""Steps that ask for less than this of a CPU count as this much: each of them is a process."""

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Running:
    """One attempt from submit to its end."""

    assignment: Assignment
    listener: Listener
    deadline: float | None = None
    """When it is ended by force, on the monotonic clock."""
    verdict: Ended | None = None
    """What its end will mean, once we have decided to end it."""
    told: threading.Event = field(default_factory=threading.Event)
    """Set when the listener has heard of the start."""

    @property
    def share(self) -> float:
        return max(self.assignment.resources.cpu, SMALLEST_SHARE)


class LocalExecutor(Executor):
    """Runs steps in worker processes, one per CPU slot; a worker keeps one code snapshot loaded.

    ``cpus`` defaults to ``$HPO_LOCAL_CPUS``, else to the CPUs this process may use. Who waits for CPUs is served in
    the order of a :class:`Line`: first what most others wait for; a step that fits may overtake one that waits for more
    CPUs than are free, a bounded number of times. Raises ConfigError for an impossible number.
    """

    name = "local"

    def __init__(self, cpus: float | None = None) -> None:
        self.cpus = cpus if cpus is not None else processes.available_cpus("HPO_LOCAL_CPUS")
        self._used = 0.0
        self._lock = threading.Lock()
        self._waiting: Line[_Running] = Line()
        self._workers: list[WorkerProcess] = []
        self._retired: list[WorkerProcess] = []
        self._cancelled: list[_Running] = []
        self._closed = False
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._spawn()
        self._thread = threading.Thread(target=self._serve, name="hpo-local", daemon=True)
        self._thread.start()

    def submit(self, assignment: Assignment, listener: Listener) -> None:
        self._check(assignment)
        item = _Running(assignment, listener)
        with self._lock:
            if self._closed:
                raise ConfigError("this local executor is closed; open the workspace again.")
            try:
                worker = None if self._waiting.is_blocked else self._claim(item)
            except OSError as error:
                raise ConfigError(f"no worker process can be started for {assignment.label}: {error}.") from error
            if worker is None:
                self._waiting.add(assignment.id, item)
            else:
                self._waiting.overtake()
        if worker is not None:
            self._begin(worker, item)

    def cancel(self, attempt: str) -> None:
        with self._lock:
            item = self._waiting.remove(attempt)
            if item is not None:
                self._cancelled.append(item)
            worker = next((w for w in self._workers if w.running and w.running.assignment.id == attempt), None)
            if worker is not None and worker.running is not None and worker.running.verdict is None:
                worker.running.verdict = Cancelled()
                worker.running.deadline = time.monotonic() + SOFT_CANCEL_SECONDS
            self._notify()
        if worker is not None:
            worker.send("cancel", attempt)

    def urge(self, attempt: str, waiting: int) -> None:
        with self._lock:
            self._waiting.urge(attempt, waiting)

    def close(self) -> None:
        """End what runs and what waits as cancelled, and every worker process; idempotent."""
        with self._lock:
            self._closed = True
            self._notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def nodes(self) -> Sequence[NodeUse]:
        """This machine: the CPU slots, and its memory, which is promised to steps that declare some."""
        with self._lock:
            items = [worker.running for worker in self._workers if worker.running is not None]
            used = self._used
        holders = {item.assignment.task: _promised(item) for item in items}
        memory = sum(held.get("memory", 0.0) for held in holders.values())
        total = {"CPU": self.cpus, "memory": float(psutil.virtual_memory().total)}
        return [NodeUse(socket.gethostname(), total, {"CPU": used, "memory": memory}, holders)]

    # -- choosing a worker (with the lock held)

    def _check(self, assignment: Assignment) -> None:
        resources = assignment.resources
        if resources.cpu > self.cpus:
            raise ConfigError(
                f"{assignment.label} needs {resources.cpu:g} CPUs and the local executor has {self.cpus:g}. "
                "Ask for fewer, set HPO_LOCAL_CPUS, or run it with executor='ray' on a cluster that has them."
            )
        elsewhere = {"GPU": resources.gpu, **resources.custom, **assignment.queue.resources}
        for resource, amount in elsewhere.items():
            if amount:
                raise ConfigError(
                    f"{assignment.label} needs {amount:g} {resource}; the local executor has CPUs and memory only. "
                    "Run it with executor='ray'."
                )
        if assignment.queue.labels:
            raise ConfigError(
                f"{assignment.label} is placed on labelled nodes by its queue {assignment.queue.name}, and the local "
                "executor has none. Run it with executor='ray', or declare the queue without labels here."
            )

    def _claim(self, item: _Running) -> WorkerProcess | None:
        """A worker for ``item``, marked as its own; None while too few CPUs are free."""
        # Fractions such as 0.1 do not add up exactly.
        if self._used + item.share > self.cpus + 1e-6:
            return None
        worker = self._worker_for(item.assignment)
        worker.snapshot = item.assignment.snapshot_digest
        worker.environment = item.assignment.environment
        worker.running = item
        self._used += item.share
        return worker

    def _claim_or_reason(self, item: _Running) -> WorkerProcess | str | None:
        """:meth:`_claim`; or why no process could be started."""
        try:
            return self._claim(item)
        except OSError as error:
            return str(error)

    def _worker_for(self, assignment: Assignment) -> WorkerProcess:
        idle = [worker for worker in self._workers if worker.running is None]
        # Of those that have the code, one that has made room for the environment already.
        idle.sort(key=lambda worker: worker.environment != assignment.environment)
        for wanted in (assignment.snapshot_digest, ""):
            for worker in idle:
                if worker.snapshot == wanted:
                    return worker
        if idle:  # its modules are of other code: a fresh process takes its place
            self._workers.remove(idle[0])
            self._retired.append(idle[0])
        return self._spawn()

    def _spawn(self) -> WorkerProcess:
        worker = WorkerProcess()
        self._workers.append(worker)
        self._notify()
        return worker

    def _notify(self) -> None:
        """Have the serving thread look at what has changed."""
        if self._wake >= 0:
            with contextlib.suppress(BlockingIOError):  # then it has wake-up calls enough to read
                os.write(self._wake, b"!")

    # -- the serving thread

    def _serve(self) -> None:
        while not self._closed:
            with self._lock:
                connections = {worker.connection: worker for worker in self._workers}
                deadlines = [w.running.deadline for w in self._workers if w.running and w.running.deadline is not None]
                retired, self._retired = self._retired, []
            for worker in retired:
                worker.end()
            patience = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
            for ready in wait([self._woken, *connections], patience):
                if ready == self._woken:
                    os.read(self._woken, 65536)
                else:
                    self._hear(connections[ready])  # type: ignore[index]
            self._enforce_deadlines()
            self._start_waiting()
        self._shut()

    def _start_waiting(self) -> None:
        with self._lock:
            cancelled, self._cancelled = self._cancelled, []
            served: list[tuple[_Running, WorkerProcess | str]] = self._waiting.serve(self._claim_or_reason)
        for item in cancelled:
            _tell(item, Cancelled())
        for item, worker in served:
            if isinstance(worker, str):
                _tell(item, Lost(f"no worker process could be started: {worker}"))
            else:
                self._begin(worker, item)

    def _begin(self, worker: WorkerProcess, item: _Running) -> None:
        # The listener hears of the start before the worker can send anything.
        _tell(item, Started(f"local:{worker.process.pid}"))
        item.told.set()
        worker.send("run", item.assignment)

    def _hear(self, worker: WorkerProcess) -> None:
        try:
            while True:
                message = pickle.loads(worker.connection.recv_bytes())
                if ended(message):
                    return self._finish(worker, message)
                if isinstance(message, Begun):
                    self._set_deadline(worker)
                elif worker.running is not None:
                    _tell(worker.running, message)
                if not worker.connection.poll():
                    return None
        except (EOFError, OSError):
            return self._bury(worker)

    def _set_deadline(self, worker: WorkerProcess) -> None:
        # Counted from here: a new process takes a while to be ready.
        with self._lock:
            item = worker.running
            if item is not None and item.assignment.timeout is not None and item.verdict is None:
                item.deadline = time.monotonic() + item.assignment.timeout

    def _finish(self, worker: WorkerProcess, message: Ended) -> None:
        item = worker.running
        if item is None:
            return
        if item.verdict is not None or isinstance(message, Lost):
            # Interrupted code may have left anything behind; the process and its children go.
            self._forget(worker)
            _end(worker)
        self._release(worker, item, message)

    def _bury(self, worker: WorkerProcess) -> None:
        """The worker has ended, or must."""
        self._forget(worker)
        death = _end(worker)
        if worker.running is not None:
            self._release(worker, worker.running, Lost(death))

    def _forget(self, worker: WorkerProcess) -> None:
        with self._lock:
            if worker in self._workers:
                self._workers.remove(worker)

    def _release(self, worker: WorkerProcess, item: _Running, message: Ended) -> None:
        with self._lock:
            worker.running = None
            self._used = max(0.0, self._used - item.share)
        item.told.wait()
        # Our own decision to end it counts before how it then ended: what interrupted code returns is no result.
        _tell(item, item.verdict or message)

    def _enforce_deadlines(self) -> None:
        now = time.monotonic()
        with self._lock:
            late = [w for w in self._workers if w.running and w.running.deadline and w.running.deadline <= now]
        for worker in late:
            item = worker.running
            if item is None or item.verdict is not None:
                self._bury(worker)
            else:
                item.verdict = TimedOut(item.assignment.timeout or 0.0)
                item.deadline = now + SOFT_CANCEL_SECONDS
                worker.send("cancel", item.assignment.id)

    def _shut(self) -> None:
        with self._lock:
            workers, self._workers = [*self._workers, *self._retired], []
            waiting = [*self._waiting.clear(), *self._cancelled]
        for worker in workers:
            _end(worker)
            if worker.running is not None:
                self._release(worker, worker.running, Cancelled())
        for item in waiting:
            _tell(item, Cancelled())
        with self._lock:
            os.close(self._woken)
            os.close(self._wake)
            self._wake = -1


def _end(worker: WorkerProcess) -> str:
    """End the worker and, by name, what an engine of containers runs for it; returns how it died."""
    death = worker.end()
    item = worker.running
    if item is not None and item.assignment.environment.image is not None:
        from hpo_pipelines.executors.environments import container

        container.remove_soon(item.assignment.id)
    return death


def _promised(item: _Running) -> dict[str, float]:
    memory = item.assignment.resources.memory_bytes
    return {"CPU": item.assignment.resources.cpu, **({"memory": float(memory)} if memory else {})}


def _tell(item: _Running, message: Message) -> None:
    try:
        item.listener(item.assignment, message)
    except Exception:  # noqa: BLE001 - the thread serves other runs too
        _log.exception("the listener of %s failed at %s", item.assignment.label, type(message).__name__)
