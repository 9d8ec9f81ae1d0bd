"""The main loop of a worker process of the local executor: assignments in by a pipe, messages out by the same."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any

from hpo_pipelines.executors import console, processes, worker
from hpo_pipelines.executors.base import Assignment, Completed, Failed, Lost


class LocalWorker:
    """Runs one assignment after another in the main thread, while a second thread listens to the pipe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loader = worker.Loader()
        self._inbox: queue.SimpleQueue[Assignment] = queue.SimpleQueue()
        self._sending = threading.Lock()
        self._running = ""

    def serve(self) -> None:
        """Work until the driver goes away; then this process and all it started end."""
        processes.adopt_orphans()
        signal.signal(signal.SIGINT, self._interrupted)
        threading.Thread(target=self._listen, name="hpo-listen", daemon=True).start()
        while True:
            assignment = self._inbox.get()
            self._send(self._run(assignment))

    def _run(self, assignment: Assignment) -> Completed | Failed:
        memory = assignment.resources.memory_bytes
        with console.captured(assignment.console), processes.Watchdog(memory, None, self._out_of_memory):
            self._running = assignment.id
            try:
                ended = worker.execute(assignment, self._loader, self._send)
            finally:
                self._running = ""
        return Failed(ended.failure) if isinstance(ended, Failed) else ended

    def _listen(self) -> None:
        try:
            while True:
                kind, payload = pickle.loads(self._connection.recv_bytes())
                if kind == "run":
                    self._inbox.put(payload)
                elif kind == "cancel" and payload == self._running:
                    # To the main thread, so that a blocking call in it (sleep, read) is interrupted.
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        except (EOFError, OSError):
            self._exit()

    def _interrupted(self, signum: int, frame: Any) -> None:
        if self._running:
            raise KeyboardInterrupt

    def _out_of_memory(self, reason: str | None) -> None:
        self._send(Lost(reason or ""))
        self._exit()

    def _send(self, message: Any) -> None:
        data = pickle.dumps(message, protocol=5)
        with self._sending:
            self._connection.send_bytes(data)

    def _exit(self) -> None:
        processes.kill_children(os.getpid())
        os._exit(1)


def main(descriptor: int) -> None:
    """Serve the pipe open at ``descriptor``."""
    LocalWorker(Connection(descriptor)).serve()
