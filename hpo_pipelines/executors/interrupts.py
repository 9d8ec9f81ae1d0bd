"""Soft cancel inside a worker: KeyboardInterrupt in the main thread, once, and only while a step's own code runs."""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

WAKE = signal.SIGURG
"""A signal that nobody misses: it does nothing but end the system call that the main thread waits in."""


class Interrupts:
    """Owns SIGINT of a worker process; made in its main thread, where the steps run.

    ``arrived`` says whether the step that runs now, or ran last, was interrupted.
    """

    def __init__(self) -> None:
        self.arrived = False
        self._open = False
        self._due = False
        self._held = 0
        signal.signal(signal.SIGINT, self._handle)
        signal.signal(WAKE, lambda signum, frame: None)

    def send(self) -> None:
        """Interrupt the step, from another thread; also where SIGINT itself is blocked, as it is in Ray's workers."""
        _thread.interrupt_main(signal.SIGINT)
        wake()

    def run(self, code: Callable[[], T], interrupted: Callable[[KeyboardInterrupt], T]) -> T:
        """What ``code`` returns, or ``interrupted`` when the interrupt came out of it."""
        self.arrived = self._due = False
        try:
            self._open = True
            value = code()
            self._open = False
        except KeyboardInterrupt as signalled:
            # Also one that arrived in the last moment, when the code itself had returned.
            self._open = False
            return interrupted(signalled)
        finally:
            self._open = False
        return value

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let an interrupt wait until the block is left: half a message on a pipe would spoil all that follow."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        self._raise_if_due()

    def _handle(self, signum: int, frame: Any) -> None:
        if self._open and not self.arrived:
            self.arrived = self._due = True
            self._raise_if_due()

    def _raise_if_due(self) -> None:
        if self._due and self._open and not self._held:
            self._due = False
            raise KeyboardInterrupt


def wake() -> None:
    """Let the main thread look at its interrupts now, also when it sleeps, reads or waits for a child."""
    signal.pthread_kill(threading.main_thread().ident or 0, WAKE)
