"""Waiting for what is written: a bell that rings after each commit that wrote events."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hpo_pipelines.store.connections import Connections

_LOOK = 0.05


class Bell:
    """Rung by every commit of this process.

    Between processes SQLite has nothing to wait on, so it is time to look every 50 ms, at the price of one indexed
    read. A database that tells its sessions overrides :meth:`wait`.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start anew, in a forked child."""
        self._rung = threading.Condition()
        self._times = 0

    def ring(self) -> None:
        """Wake every thread in :meth:`wait`."""
        with self._rung:
            self._times += 1
            self._rung.notify_all()

    def wait(self, connections: Connections, arrived: Callable[[], bool], seconds: float) -> None:
        """Return when it is time to look whether something has ``arrived``, after ``seconds`` at the latest."""
        times = self._times
        if not arrived():
            self._await_ring(times, min(seconds, _LOOK))

    def _await_ring(self, times: int, seconds: float) -> None:
        with self._rung:
            self._rung.wait_for(lambda: self._times != times, seconds)
