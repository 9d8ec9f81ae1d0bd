"""Ctrl-C of whoever runs a study: heard between two looks at the trials, not in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Interrupt:
    """The first Ctrl-C, which waits until it is asked for; the next one does not."""

    arrived: bool = False
    _due: bool = False

    def check(self) -> None:
        """Raise KeyboardInterrupt, once, if one has arrived."""
        if self._due:
            self._due = False
            raise KeyboardInterrupt

    def _note(self, signum: int, frame: Any) -> None:
        if self.arrived:
            raise KeyboardInterrupt
        self.arrived = self._due = True


@contextmanager
def held_interrupt() -> Iterator[Interrupt]:
    """Within it the first SIGINT is only noted: an exception anywhere loses a trial whose thread was just started.

    Outside the main thread, and where SIGINT is not Python's own to handle, nothing is changed.
    """
    interrupt = Interrupt()
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield interrupt
        return
    signal.signal(signal.SIGINT, interrupt._note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
