"""A trial whose run an agent drives: the study waits for its end, and prunes it by what it reports meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from hpo_pipelines.engine.options import Watch
from hpo_pipelines.errors import IllegalTransition
from hpo_pipelines.store.chain import following
from hpo_pipelines.study.reports import Reports
from hpo_pipelines.task import Task
from hpo_pipelines.types import Status
from hpo_pipelines.waiting import waits_for
from hpo_pipelines.workspace import Workspace

LOOK_SECONDS = 1.0
"""How often at least the store is looked at."""

PAUSE_SECONDS = 0.02
"""How long at least between two looks: agents that work make news all the time."""


class QueuedTrial:
    """The run ``task``, which is in a queue. ``say`` is told what it waits for, ``watch`` also of the ``results``.

    Once ``is_ending`` the study, a run that no agent has taken yet is not waited for.
    """

    def __init__(
        self,
        workspace: Workspace,
        task: Task,
        watch: Watch | None,
        *,
        say: Callable[[str], None],
        is_ending: Callable[[], bool],
        results: Collection[str] = (),
    ) -> None:
        self._workspace = workspace
        self._store = workspace.store
        self._run = task.id
        self._watch = watch
        self._say = say
        self._is_ending = is_ending
        self._results = results
        self._reports = Reports(workspace, task.id, results)
        self._pause = threading.Event()
        self._asked = 0.0

    def drive(self, params: Mapping[str, Any]) -> Task:
        """Wait for the run's end; its task as it ended."""
        while True:
            news = self._store.events.last()
            task = self._store.tasks.get(self._run)
            if task.status.finished:
                after = following(self._store.tasks, task)
                if after is None:
                    return task
                self._run, self._reports = after.id, Reports(self._workspace, after.id, self._results)
                continue
            if task.status is Status.QUEUED and self._is_ending():
                self.stop(Status.ABORTED, "the study was interrupted before an agent took it")
            elif task.status is Status.QUEUED and time.monotonic() - self._asked > LOOK_SECONDS:
                self._asked = time.monotonic()
                self._say(waits_for(self._store, task) or "")
            if self._watch is not None:
                self._prune(self._watch)
            self._pause.wait(PAUSE_SECONDS)
            self._store.events.wait(news, LOOK_SECONDS)

    def stop(self, status: Status, reason: str) -> None:
        """End the run in the store, unless it has ended; its agent stops what runs."""
        with contextlib.suppress(IllegalTransition):
            self._workspace.end(self._run, status, reason)

    def _prune(self, watch: Watch) -> None:
        for report in self._reports.fresh():
            reason = watch(*report)
            if reason is not None:
                self.stop(Status.PRUNED, reason)
                return
