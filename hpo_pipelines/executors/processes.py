"""Process trees: measuring and ending a step's processes, children included."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from hpo_pipelines.errors import ConfigError

_PR_SET_CHILD_SUBREAPER = 36
_PROC = sys.platform == "linux" and os.path.exists(f"/proc/self/task/{os.getpid()}/children")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def available_cpus(setting: str) -> float:
    """The number in the environment variable ``setting``, else the CPUs that this process may use.

    Raises ConfigError for an impossible number.
    """
    wanted = os.environ.get(setting)
    if not wanted:
        return float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    try:
        cpus = float(wanted)
    except ValueError:
        cpus = 0.0
    if cpus <= 0:
        raise ConfigError(f"{setting}={wanted!r}: it is a number of CPUs above 0, for instance 4.")
    return cpus


def adopt_orphans() -> None:
    """Make this process the one that its orphaned descendants fall to, so that none leaves the tree (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(pid: int) -> list[int]:
    """The living processes below ``pid``, parents before their children; what has ended is left out."""
    if not _PROC:
        return _descendants_by_scan(pid)
    found: list[int] = []
    pending = [pid]
    while pending:
        children = _children(pending.pop())
        pending += children
        found += [child for child in children if not _is_over(child)]
    return found


def _children(pid: int) -> list[int]:
    # A scan of all processes, as psutil makes it, is too slow for a look every tenth of a second.
    children: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children") as file:
                children += map(int, file.read().split())
    return children


def _is_over(pid: int) -> bool:
    """Whether ``pid`` has ended: it is no more, or only waits for its parent to hear of it."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return True


def _descendants_by_scan(pid: int) -> list[int]:
    import psutil  # a tenth of a worker's start-up, for systems without /proc

    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    living: list[int] = []
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                living.append(child.pid)
    return living


def kill_children(pid: int, patience: float = 1.0) -> None:
    """SIGKILL every descendant of ``pid``, also those made while this runs, and wait until they have ended.

    Gives up after ``patience`` seconds: a process stuck in the kernel dies when the kernel lets go of it.
    """
    end = time.monotonic() + patience
    while living := descendants(pid):
        for child in living:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        if time.monotonic() > end:
            return
        time.sleep(0.002)


def kill_tree(pid: int) -> None:
    """SIGKILL ``pid`` and its descendants. The parent is stopped first, so that it starts no others meanwhile."""
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        return
    kill_children(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_session(leader: int) -> None:
    """SIGKILL what is left of the session that the dead process ``leader`` began: those that it left as orphans."""
    import psutil

    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == leader:
                os.kill(pid, signal.SIGKILL)


def memory_of_tree(pid: int, enough: int | None = None) -> int:
    """Resident bytes of ``pid`` and its descendants.

    A page that several of them share counts once for each, which is quick to know. Where that is more than ``enough``
    and the kernel tells (Linux), each page counts once: forked children share most of theirs.
    """
    tree = [pid, *descendants(pid)]
    total = sum(map(_resident, tree))
    if enough is None or total <= enough or len(tree) == 1:
        return total
    shares = [_proportional(member) for member in tree]
    return total if None in shares else sum(share for share in shares if share is not None)


def _resident(pid: int) -> int:
    if not _PROC:
        return _resident_by_psutil(pid)
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        return 0  # it has just ended


def _resident_by_psutil(pid: int) -> int:
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _proportional(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            lines = file.read().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0 if _PROC else None
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Pss:")), None)


class Watchdog:
    """Watches this process's tree while one step runs; calls ``ended(reason)`` once when it passes a limit.

    ``memory`` is in bytes and ``timeout`` in seconds, None for no limit; with ``waits`` the time counts from
    :meth:`begin`. ``ended`` gets ``None`` for a timeout, the
    reason as text for memory. It is called in a thread of its own; leaving the block waits for it to return.
    """

    PERIOD = 0.1

    def __init__(
        self,
        memory: int | None,
        timeout: float | None,
        ended: Callable[[str | None], None],
        *,
        waits: bool = False,
    ) -> None:
        self._memory = memory
        self._timeout = timeout
        self._ended = ended
        self._begun = threading.Event()
        if not waits:
            self._begun.set()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Watchdog:
        if self._memory is not None or self._timeout is not None:
            self._thread = threading.Thread(target=self._watch, name="hpo-watchdog", daemon=True)
            self._thread.start()
        return self

    def begin(self) -> None:
        """Let the time count from now."""
        self._begun.set()

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._begun.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        self._begun.wait()
        if self._done.is_set():
            return
        end = None if self._timeout is None else time.monotonic() + self._timeout
        while True:
            left = self.PERIOD if end is None else end - time.monotonic()
            if end is not None and left <= 0:
                self._ended(None)
                return
            if self._done.wait(left if self._memory is None else min(self.PERIOD, left)):
                return
            if self._memory is not None:
                used = memory_of_tree(os.getpid(), enough=self._memory)
                if used > self._memory:
                    self._ended(f"out of memory: used {_amount(used)} of {_amount(self._memory)}")
                    return


def _amount(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
