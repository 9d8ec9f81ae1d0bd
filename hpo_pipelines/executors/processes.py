"""Process trees: measuring and ending a step's processes, children included."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable

import psutil

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Make this process the one that its orphaned descendants fall to, so that none leaves the tree (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_children(pid: int) -> None:
    """SIGKILL every descendant of ``pid``, also those made while this runs."""
    try:
        parent = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    for _ in range(5):
        children = parent.children(recursive=True) if parent.is_running() else []
        if not children:
            return
        for child in children:
            _kill(child)
        psutil.wait_procs(children, timeout=0.2)


def kill_tree(pid: int) -> None:
    """SIGKILL ``pid`` and its descendants. The parent is stopped first, so that it starts no others meanwhile."""
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        return
    kill_children(pid)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def memory_of_tree(pid: int) -> int:
    """Resident bytes of ``pid`` and its descendants; shared pages count once for each."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
    except psutil.NoSuchProcess:
        return 0
    return total


class Watchdog:
    """Watches this process's tree while one step runs; calls ``ended(reason)`` once when it passes a limit.

    ``memory`` is in bytes and ``timeout`` in seconds, None for no limit. ``ended`` gets ``None`` for a timeout, the
    reason as text for memory.
    """

    PERIOD = 0.1

    def __init__(self, memory: int | None, timeout: float | None, ended: Callable[[str | None], None]) -> None:
        self._memory = memory
        self._timeout = timeout
        self._ended = ended
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Watchdog:
        if self._memory is not None or self._timeout is not None:
            self._thread = threading.Thread(target=self._watch, name="hpo-watchdog", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        waited = 0.0
        while True:
            left = self.PERIOD if self._timeout is None else self._timeout - waited
            period = min(self.PERIOD, left) if self._memory is not None else left
            if self._done.wait(max(0.0, period)):
                return
            waited += period
            if self._timeout is not None and waited >= self._timeout:
                return self._ended(None)
            if self._memory is not None:
                used = memory_of_tree(os.getpid())
                if used > self._memory:
                    return self._ended(f"out of memory: used {_gigabytes(used)} of {_gigabytes(self._memory)}")


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
