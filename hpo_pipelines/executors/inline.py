"""The inline executor: this process, this thread, program order, so that ``pdb`` stops in the user's own frame."""

from __future__ import annotations

import codecs
import os
import sys
import threading
from collections.abc import Callable

from hpo_pipelines.errors import ConfigError, StoreError
from hpo_pipelines.executors import console, worker
from hpo_pipelines.executors.base import (
    Assignment,
    Begun,
    Cancelled,
    Ended,
    Executor,
    Failed,
    Listener,
    Reported,
    Started,
)
from hpo_pipelines.failure import Failure
from hpo_pipelines.snapshot import Code


class _Stopped(BaseException):
    """Raised out of ``report`` in a step that was cancelled."""


class InlineExecutor(Executor):
    """Runs each step where it is submitted, before ``submit`` returns; failures keep the exception itself.

    A cancelled step ends at its next report, since nothing else of it can be stopped from outside. Ctrl-C cancels the
    step and goes on to the caller.
    """

    name = "inline"

    def __init__(self) -> None:
        self._loaders: dict[str, worker.Loader] = {}
        self._running: set[str] = set()
        self._cancelled: set[str] = set()
        self._lock = threading.Lock()

    def use(self, snapshot: str, code: Code) -> None:
        """Let steps of ``snapshot`` run from ``code``, which this process has loaded already."""
        self._loaders.setdefault(snapshot, worker.Loader(code, _printer()))

    def submit(self, assignment: Assignment, listener: Listener) -> None:
        for limit, value in (("timeout", assignment.timeout), ("memory", assignment.resources.memory)):
            if value is not None:
                raise ConfigError(
                    f"{assignment.label} has {limit}={value!r}, and the inline executor cannot stop a step: it runs in "
                    f"your own thread. Run it with executor='local', or leave {limit} out while debugging."
                )
        listener(assignment, Started(f"inline:{os.getpid()}"))
        with self._lock:
            self._running.add(assignment.id)
        try:
            self._run(assignment, listener)
        finally:
            with self._lock:
                self._running.discard(assignment.id)
                self._cancelled.discard(assignment.id)

    def _run(self, assignment: Assignment, listener: Listener) -> None:
        def send(message: Reported | Begun) -> None:
            if isinstance(message, Begun):
                return
            listener(assignment, message)
            if assignment.id in self._cancelled:
                raise _Stopped

        ended = self._ended(assignment, send)
        error = ended.error if isinstance(ended, Failed) else None
        interrupted = isinstance(error, KeyboardInterrupt)
        listener(assignment, Cancelled() if interrupted or assignment.id in self._cancelled else ended)
        if error is not None and interrupted:
            raise error

    def _ended(self, assignment: Assignment, send: worker.Send) -> Ended:
        try:
            with console.teed(assignment.console):
                return worker.execute(assignment, self._loaders[assignment.snapshot_digest], send)
        except StoreError as error:
            return Failed(Failure.of(error), error)

    def cancel(self, attempt: str) -> None:
        with self._lock:
            if attempt in self._running:
                self._cancelled.add(attempt)

    def close(self) -> None:
        for loader in self._loaders.values():
            loader.close()
        self._loaders.clear()


def _printer() -> Callable[[bytes], None]:
    """Prints what processes apart have printed, where the console of the step is caught."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(data: bytes) -> None:
        sys.stdout.write(decoder.decode(data))
        sys.stdout.flush()

    return write
