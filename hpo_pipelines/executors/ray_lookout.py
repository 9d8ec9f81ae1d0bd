"""Looks at the cluster, every second, for as long as steps wait in its line."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from hpo_pipelines.executors.ray_cluster import Cluster

PERIOD_SECONDS = 1.0
"""How often; who waits for less is not told what for."""

_log = logging.getLogger(__name__)


class Lookout:
    """A thread of its own, since a head that is gone makes who asks it wait.

    ``look`` gives the picture, ``tell`` is given it, and says whether somebody still waits.
    """

    def __init__(self, look: Callable[[], Cluster], tell: Callable[[Cluster], bool]) -> None:
        self._look = look
        self._tell = tell
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watching = False

    def watch(self) -> None:
        """Somebody waits: look, until nobody does."""
        with self._lock:
            if not self._watching and not self._closed.is_set():
                self._watching = True
                threading.Thread(target=self._watch, name="hpo-ray-line", daemon=True).start()

    def close(self) -> None:
        """Look no more; does not wait for a look that is under way."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(PERIOD_SECONDS):
            try:
                cluster = self._look()
            except Exception:  # noqa: BLE001 - its head is away; those that wait go on waiting
                _log.debug("the cluster could not be looked at", exc_info=True)
                continue
            with self._lock:
                if not self._tell(cluster):
                    self._watching = False
                    return
