"""Studies that are started, or gone on with, from the pages: a thread here asks for trials, agents drive them.

Their trials wait in a queue as any submitted run does, so what is under way goes on when this server ends. A study
whose server ended is gone on with by the next one; ``hpo resume`` does the same.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from hpo_pipelines.errors import HpoPipelinesError, StudyError
from hpo_pipelines.run import Run
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.study import Study, is_driven, optimize, resume
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status, new_id
from hpo_pipelines.waiting import CONTROLLERS
from hpo_pipelines.workspace import Workspace
from search_spaces.errors import SpaceError

log = logging.getLogger(__name__)

BEGIN_SECONDS = 60.0
"""How long a request waits for the study that it starts to stand in the store."""
_MARK = "server"
"""What a study's record says of who drives it."""


class StudyDriving:
    """Drives studies of ``workspace`` in threads of this process."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._closed = threading.Event()

    def start(
        self, base: Run, space: Mapping[str, Any], objective: str | None, direction: str, options: Mapping[str, Any]
    ) -> Study:
        """Start a study over ``base``, as :func:`hpo_pipelines.optimize` takes it, and return as soon as it stands.

        Raises what ``optimize`` refuses, and StudyError for a name that is taken.
        """
        name = options.get("name") or f"{base.task.pipeline}-{new_id()[-6:].lower()}"
        if self._called(name, base.task.project) is not None:
            raise StudyError(f"there is a study called {name!r} already: choose another name, or extend that one.")
        given = {"queue": CONTROLLERS, **options, "name": name, "workspace": self._workspace, "progress": False}
        self._begin(
            name,
            lambda: optimize(base, dict(space), objective, direction, **given),
            lambda: self._called(name, base.task.project) is not None,
        )
        task = self._called(name, base.task.project)
        assert task is not None
        return self._marked(task)

    def go_on(self, study: Study) -> Study:
        """Drive ``study`` on as its record asks, and return as soon as it runs.

        Raises StudyError when all of its trials are there, or another process runs it.
        """
        task = self._marked(study.task).task
        self._begin(
            task.name,
            lambda: resume(self._workspace, task, progress=False),
            lambda: is_driven(study) and study.status is Status.RUNNING,
        )
        return study

    def take_up(self) -> None:
        """Go on with the studies whose server has ended before they did."""
        running = TaskFilter(kind=Kind.STUDY, status=Status.RUNNING)
        for task in self._workspace.store.tasks.list(running, limit=None):
            if task.params.get("driver") == _MARK and not is_driven(Study(self._workspace, task)):
                self._thread(task.name, lambda task=task: resume(self._workspace, task, progress=False), [])  # type: ignore[misc]

    def close(self) -> None:
        """Take what fails from now on for the end of this server."""
        self._closed.set()

    def _called(self, name: str, project: str) -> Task | None:
        found = self._workspace.store.tasks.list(TaskFilter(kind=Kind.STUDY, name=name, project=project), limit=1)
        return found[0] if found else None

    def _marked(self, task: Task) -> Study:
        store = self._workspace.store
        with store.transaction():
            store.tasks.update(task.id)  # locks the row
            params = {**store.tasks.get(task.id).params, "driver": _MARK}
            return Study(self._workspace, store.tasks.update(task.id, params=params))

    def _begin(self, name: str, work: Callable[[], object], stands: Callable[[], bool]) -> None:
        """Do ``work`` in a thread; return once it ``stands``, or raise what it raised before."""
        failed: list[BaseException] = []
        thread = self._thread(name, work, failed)
        deadline = time.monotonic() + BEGIN_SECONDS
        while thread.is_alive() and not stands() and time.monotonic() < deadline:
            thread.join(0.02)
        if failed:
            raise failed[0]

    def _thread(self, name: str, work: Callable[[], object], failed: list[BaseException]) -> threading.Thread:
        def drive() -> None:
            try:
                work()
            except (HpoPipelinesError, SpaceError) as error:
                failed.append(error)
                if not self._closed.is_set():
                    log.warning("study %s is not driven on: %s", name, error)

        thread = threading.Thread(target=drive, name=f"hpo-study-{name}", daemon=True)
        thread.start()
        return thread
