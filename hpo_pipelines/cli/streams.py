"""Who writes where: standard output kept for JSON, and a polite end for processes that are asked to end."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TextIO


class Terminated(BaseException):
    """SIGTERM or SIGHUP came: what runs is aborted, and recorded as such."""


@contextlib.contextmanager
def ending_politely() -> Iterator[None]:
    """While the block runs, SIGTERM and SIGHUP raise :class:`Terminated` in the main thread."""

    def raising(number: int, frame: FrameType | None) -> None:
        raise Terminated(f"by {signal.Signals(number).name}")

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may ask for signals
        return
    before = {number: signal.signal(number, raising) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous if previous is not None else signal.SIG_DFL)


@contextlib.contextmanager
def reserved_stdout() -> Iterator[TextIO]:
    """Keep standard output to ourselves: what anyone else writes there goes to standard error.

    Also what C code and child processes write, unless ``sys.stdout`` has been replaced. Yields what is left of it.
    """
    sys.stdout.flush()
    if not _is_descriptor_1(sys.stdout):
        ours = sys.stdout
        with contextlib.redirect_stdout(sys.stderr):
            yield ours
        return
    kept = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)  # not 2, should that be closed
    _divert()
    try:
        with open(kept, "w", encoding=sys.stdout.encoding, errors="replace", closefd=False) as ours:
            yield ours
    finally:
        sys.stdout.flush()  # what others wrote, while it still goes to standard error
        os.dup2(kept, 1)
        os.close(kept)


def _is_descriptor_1(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 1
    except (OSError, io.UnsupportedOperation, ValueError):
        return False


def _divert() -> None:
    """Make descriptor 1 lead where 2 does; where there is no 2, nowhere."""
    try:
        os.dup2(2, 1)
    except OSError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.close(nothing)
