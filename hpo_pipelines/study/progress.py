"""How far a study is, and how that is shown while it runs."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class Progress:
    """How far a study is; what the progress bar shows."""

    name: str
    total: int | None
    done: int = 0
    running: int = 0
    failed: int = 0
    pruned: int = 0
    steps: int = 0
    reused: int = 0
    best: float | None = None
    best_run: str = ""
    front: int | None = None
    """Of several objectives: how many trials no other dominates."""
    began: float = field(default_factory=time.monotonic)
    done_before: int = 0
    """Trials finished by earlier calls."""
    note: str = ""

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the pace so far, None while there is none."""
        fresh = self.done - self.done_before
        if self.total is None or fresh <= 0:
            return None
        return (time.monotonic() - self.began) / fresh * max(0, self.total - self.done)


@contextlib.contextmanager
def shown(wanted: bool | Callable[[Progress], None] | None, progress: Progress) -> Iterator[Callable[[Progress], None]]:
    """How progress is shown: not at all, by the caller's function, or (default on a terminal) as a bar."""
    if callable(wanted):
        yield wanted
        return
    if wanted or (wanted is None and sys.stderr.isatty()):
        from hpo_pipelines.progress import bar

        with bar(progress) as changed:
            yield changed
    else:
        yield lambda progress: None
