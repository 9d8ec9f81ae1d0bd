"""Processes that drive runs in one home, and die when a test says so: inside this one, for hundreds in seconds.

What a kill leaves is what was committed before it. So a process dies by committing no more.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpo_pipelines import Status, Workspace
from hpo_pipelines.engine import RunOptions
from hpo_pipelines.errors import StoreError
from hpo_pipelines.run import Run


class Death(BaseException):
    """Goes through everything, as a kill does."""


class Process:
    """A workspace of its own; dies at commit ``dies_at`` of its store, counted from 1, just before it or after it."""

    def __init__(self, home: Path, *, dies_at: int | None = None, before: bool = False) -> None:
        self.workspace = Workspace(home=home)
        self.commits = 0
        self.dead = False
        self._dies_at = dies_at
        self._before = before
        database = self.workspace.store._database
        self._begun = database._begun
        database._begun = self._mortal  # type: ignore[method-assign]

    @contextmanager
    def _mortal(self, connection: Any) -> Iterator[Any]:
        if self.dead:
            raise self._refusal()
        with self._begun(connection) as transaction:
            yield transaction
            self.commits += 1
            if self.commits == self._dies_at and self._before:
                self._die()
        if self.commits == self._dies_at:
            self._die()

    def _die(self) -> None:
        self.dead = True
        for controller in self.workspace.engine._active.values():
            # The dead do not wait for their steps either.
            controller.scheduler.settle = lambda: None  # type: ignore[method-assign]
        raise self._refusal()

    def _refusal(self) -> BaseException:
        # The engine's own threads outlive errors of the store, and only those.
        main = threading.current_thread() is threading.main_thread()
        return Death() if main else StoreError("this process is dead")

    def drive(self, run: str) -> Run | None:
        """Drive the run, or drive it on; None if this process died of it."""
        status = self.workspace.store.tasks.status(run)
        try:
            if status is Status.DRAFT:
                return self.workspace.start(run, RunOptions(echo=False))
            return self.workspace.resume(run)
        except Death:
            return None

    def end(self) -> None:
        """The process is gone, and others see it: nobody waits for its leases to run out."""
        owner, home = self.workspace.engine.liveness.owner, self.workspace.home
        self.workspace.close()
        with Workspace(home=home) as survivor:
            survivor.store.leases.renew(owner, -1.0)
