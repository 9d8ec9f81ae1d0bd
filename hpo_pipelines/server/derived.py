"""What takes long to compute from a study's trials: kept until more of them have ended, and never computed twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

SHARE = 20.0
"""What took a second is not computed again for so many: a study that goes on does not keep the server busy."""


@dataclass(frozen=True)
class _Kept:
    version: int
    value: Any
    until: float
    """While it is at most so late (monotonic), an older version will do."""


class Derived:
    """Values by name, each computed from one version of what it is derived from. Safe to use from many threads."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, _Kept] = {}
        self._locks: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def known(self, name: Hashable, version: int) -> Any | None:
        """The value called ``name`` if that of ``version``, or one that is young enough, has been computed; or None."""
        kept = self._kept.get(name)
        if kept is not None and (kept.version == version or time.monotonic() < kept.until):
            return kept.value
        return None

    def get(self, name: Hashable, version: int, compute: Callable[[], T], *, exact: bool = False) -> T:
        """The value called ``name``, computed where it is not :meth:`known`; ``exact``: of this very version."""
        with self._lock:
            mine = self._locks.setdefault(name, threading.Lock())
        with mine:  # who comes meanwhile waits for the one that computes
            kept = self._kept.get(name)
            if kept is not None and (kept.version == version or (not exact and time.monotonic() < kept.until)):
                return kept.value  # type: ignore[no-any-return]
            began = time.monotonic()
            value = compute()
            now = time.monotonic()
            self._kept[name] = _Kept(version, value, now + SHARE * (now - began))
            return value
