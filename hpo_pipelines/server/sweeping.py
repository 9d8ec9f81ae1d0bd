"""Sweeping the artifacts that nobody needs any more after something was deleted, beside the requests."""

from __future__ import annotations

import logging
import threading

from hpo_pipelines.cache import Limits, collect
from hpo_pipelines.errors import HpoPipelinesError
from hpo_pipelines.workspace import Workspace

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 10.0


class Sweeping:
    """Sweeps one time after the other; however often it is asked for meanwhile, once more is enough."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.Lock()
        self._wanted = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def soon(self) -> None:
        """Have what nobody needs swept: files that are an hour old, as `hpo cache gc` does without options."""
        with self._lock:
            self._wanted = True
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._sweep, name="hpo-sweep", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Begin no more; wait a little for one that is under way."""
        with self._lock:
            self._closed, thread = True, self._thread
        if thread is not None:
            thread.join(_PATIENCE_SECONDS)

    def _sweep(self) -> None:
        while self._goes_on():
            try:
                place = self._workspace
                done = collect(place.store, place.artifacts, place.home, Limits())
                log.info("swept %d files, %d bytes", done.swept.files, done.swept.size)
            except HpoPipelinesError as error:
                # Another collects, or the place is gone for now: `hpo cache gc` takes what is left.
                log.warning("what nobody needs was not swept: %s", error)

    def _goes_on(self) -> bool:
        with self._lock:
            wanted, self._wanted = self._wanted and not self._closed, False
            if not wanted:
                self._thread = None
            return wanted
