"""Studies that this server drives, whoever asked for them, a page or a client: a thread of it for each.

Their records say that a server drives them. When it ends, trials that wait in a queue go on with its agents, and the
study with the next server; a study whose trials the server runs itself is stopped, as one whose driver is interrupted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from hpo_pipelines.errors import HpoPipelinesError, StudyError
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.study import Study, is_driven
from hpo_pipelines.study.resumption import begin_again
from hpo_pipelines.study.start import Begun
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status
from hpo_pipelines.workspace import Workspace
from search_spaces.errors import SpaceError

log = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0
"""How long the end of the server waits for studies to record that they were interrupted."""
_DRIVER, _MARK = "driver", "server"
"""What a study's record says of who drives it."""


class _Drive:
    """One study under way, or as it ended."""

    def __init__(self, begun: Begun) -> None:
        self.driver = begun.driver
        self.waits = begun.asked.get("queue") is not None
        """Whether agents drive its trials, which then go on without us."""
        self.problem: Exception | None = None
        self._begun = begun
        self.thread = threading.Thread(target=self._run, name=f"hpo-study-{begun.driver.study.name}", daemon=True)
        self._at = time.monotonic()

    def _run(self) -> None:
        name = self.driver.study.name
        try:
            self._begun.drive(progress=lambda progress: None)
        except (HpoPipelinesError, SpaceError) as error:
            self.problem = error
            if self.driver.begun.is_set() and not self.driver.workspace.engine.is_closed:
                log.warning("study %s is not driven on: %s", name, error)
        except Exception as error:
            log.exception("study %s stopped by a fault of hpo_pipelines", name)
            self.problem = error

    def said(self) -> dict[str, Any]:
        """How far it is, as JSON; ``began`` is seconds ago."""
        driven = self.thread.is_alive()  # asked first: what is said then is the end of it
        progress = {**vars(self.driver.progress), "began": time.monotonic() - self._at}
        problem = None
        if not driven and self.problem is not None:
            problem = {"type": type(self.problem).__name__, "detail": str(self.problem)}
        return {"driven": driven, "progress": progress, "problem": problem}


class StudyDrives:
    """The studies of ``workspace`` that this process drives. Any thread may call it."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._drives: dict[str, _Drive] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def start(self, begin: Callable[[], Begun]) -> Study:
        """Drive what ``begin`` gives, and return as soon as it is under way.

        Raises what it raises until then, StudyError for a study that somebody drives already.
        """
        drive = _Drive(begin())
        study = drive.driver.study
        with self._lock:
            known = self._drives.get(study.id)
            if known is not None and known.thread.is_alive():
                raise StudyError(f"study {study.name!r} is being run by this server; wait for it, or stop it.")
            self._drives[study.id] = drive
            drive.thread.start()
        while not drive.driver.begun.wait(0.05) and drive.thread.is_alive():
            pass
        if not drive.driver.begun.is_set() and drive.problem is not None:
            raise drive.problem
        self._mark(study)
        return study

    def go_on(self, study: Study, **limits: Any) -> Study:
        """Drive a recorded ``study`` on, with ``limits`` in the place of those that were asked for last.

        Raises StudyError when there is nothing to do, or somebody drives it.
        """
        return self.start(lambda: begin_again(self._workspace, study.task, **limits))

    def take_up(self) -> None:
        """Go on, in the background, with the studies whose server has ended before they did."""
        running = TaskFilter(kind=Kind.STUDY, status=Status.RUNNING)
        tasks = self._workspace.store.tasks.list(running, limit=None)
        left = [
            task for task in tasks if task.params.get(_DRIVER) == _MARK and not is_driven(Study(self._workspace, task))
        ]
        if left:
            threading.Thread(target=self._take_up, args=(left,), name="hpo-studies", daemon=True).start()

    def _take_up(self, left: list[Task]) -> None:
        for task in left:
            if self._closed.is_set():
                return
            try:
                self.go_on(Study(self._workspace, task))
            except (HpoPipelinesError, SpaceError) as error:
                log.warning("study %s is not driven on: %s", task.name, error)

    def progress(self, study: Study) -> dict[str, Any]:
        """How far ``study`` is. Raises StudyError for one that this process has not driven."""
        with self._lock:
            drive = self._drives.get(study.id)
        if drive is None:
            raise StudyError(f"study {study.name!r} was not started by this server; who drives it says how far it is.")
        return drive.said()

    def close(self) -> None:
        """Leave the studies whose trials others drive to the next server, and stop the rest: the same name resumes."""
        self._closed.set()
        with self._lock:
            drives = [each for each in self._drives.values() if each.thread.is_alive() and not each.waits]
        for drive in drives:
            drive.driver.finish()
            drive.driver.abort()
        deadline = time.monotonic() + CLOSE_SECONDS
        for drive in drives:
            drive.thread.join(max(0.0, deadline - time.monotonic()))

    def _mark(self, study: Study) -> None:
        store = self._workspace.store
        with store.transaction():
            store.tasks.update(study.id)  # locks the row
            store.tasks.update(study.id, params={**store.tasks.get(study.id).params, _DRIVER: _MARK})
