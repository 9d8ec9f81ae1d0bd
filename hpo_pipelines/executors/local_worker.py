"""The main loop of a worker process of the local executor: assignments in by a pipe, messages out by the same."""

from __future__ import annotations

import os
import pickle
import queue
import threading
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from typing import Any

from hpo_pipelines.errors import StoreError
from hpo_pipelines.executors import console, processes, worker
from hpo_pipelines.executors.base import Assignment, Begun, Ended, Failed, Lost
from hpo_pipelines.executors.interrupts import Interrupts
from hpo_pipelines.failure import Failure


class LocalWorker:
    """Runs one assignment after another in the main thread, while a second thread listens to the pipe."""

    def __init__(self, connection: Connection, outgoing: Connection | None = None) -> None:
        self._connection = connection
        self._outgoing = outgoing or connection
        self._loader = worker.Loader()
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._interrupts = Interrupts()
        self._sending = threading.Lock()
        self._running = ""
        self._cancelled = ""

    def serve(self) -> None:
        """Work until the driver goes away; then this process and all it started end."""
        processes.adopt_orphans()
        console.by_lines()
        # Python children of a step should be as easy to follow as the step itself.
        os.environ.setdefault("PYTHONUNBUFFERED", "1")
        threading.Thread(target=self._listen, name="hpo-listen", daemon=True).start()
        self._announce()
        while True:
            self._send(self._run(self._inbox.get()))

    def _announce(self) -> None:
        """Say that orders are taken, if somebody wants to know."""

    def _run(self, assignment: Assignment) -> Ended:
        apart = assignment.environment.apart
        # What runs apart is measured there, and begins when all that it needs is there.
        memory = None if apart else assignment.resources.memory_bytes
        if memory is not None:
            self._loader.close()  # the idle ones would count
        if assignment.timeout is not None and not apart:
            self._send(Begun())
        try:
            with self._captured(assignment), processes.Watchdog(memory, None, self._out_of_memory):
                self._running = assignment.id
                ended = self._interrupts.run(lambda: self._execute(assignment), _interrupted)
                self._running = ""
        except StoreError as error:  # there is no place for its console
            return Failed(Failure.of(error))
        # The exception itself need not be picklable; what of it can travel is in the failure.
        return Failed(ended.failure) if isinstance(ended, Failed) else ended

    def _captured(self, assignment: Assignment) -> AbstractContextManager[None]:
        return console.captured(assignment.console)

    def _execute(self, assignment: Assignment) -> Ended:
        if self._cancelled == assignment.id:
            raise KeyboardInterrupt  # asked for before there was anything to interrupt
        return self._work(assignment)

    def _work(self, assignment: Assignment) -> Ended:
        return worker.execute(assignment, self._loader, self._send)

    def _listen(self) -> None:
        try:
            while True:
                kind, payload = pickle.loads(self._connection.recv_bytes())
                if kind == "run":
                    self._inbox.put(payload)
                else:
                    self._cancelled = payload
                    if payload == self._running:
                        self._interrupts.send()
        except (EOFError, OSError):
            self._exit()

    def _out_of_memory(self, reason: str | None) -> None:
        self._send(Lost(reason or ""))
        self._exit()

    def _send(self, message: Any) -> None:
        data = pickle.dumps(message, protocol=5)
        with self._interrupts.held(), self._sending:
            self._outgoing.send_bytes(data)

    def _exit(self) -> None:
        processes.kill_children(os.getpid())
        os._exit(1)


def _interrupted(signalled: KeyboardInterrupt) -> Failed:
    return Failed(Failure.of(signalled))


def main(descriptor: int) -> None:
    """Serve the pipe open at ``descriptor``."""
    LocalWorker(Connection(descriptor)).serve()
