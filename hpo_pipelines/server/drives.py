"""Who drives the studies that are started on the server: threads of it, each until its study has ended."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from hpo_pipelines.errors import HpoPipelinesError, StudyError
from hpo_pipelines.study import Study
from hpo_pipelines.study.start import Begun

log = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0
"""How long the end of the server waits for studies to record that they were interrupted."""


class _Drive:
    """One study under way, or as it ended."""

    def __init__(self, begun: Begun) -> None:
        self.driver = begun.driver
        self.problem: Exception | None = None
        self._begun = begun
        self.thread = threading.Thread(target=self._run, name=f"hpo-study-{begun.driver.study.name}", daemon=True)
        self._at = time.monotonic()

    def _run(self) -> None:
        try:
            self._begun.drive(progress=lambda progress: None)
        except HpoPipelinesError as error:
            self.problem = error
        except Exception as error:
            log.exception("study %s stopped by a fault of hpo_pipelines", self.driver.study.name)
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
    """The studies that this process drives. Any thread may call it."""

    def __init__(self) -> None:
        self._drives: dict[str, _Drive] = {}
        self._lock = threading.Lock()

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
        return study

    def progress(self, study: Study) -> dict[str, Any]:
        """How far ``study`` is. Raises StudyError for one that was not started here."""
        return self._drive(study).said()

    def stop(self, study: Study, *, abort: bool = False) -> None:
        """Begin no more trials of ``study``; with ``abort`` stop those under way. Raises StudyError for another's."""
        drive = self._drive(study)
        if not drive.thread.is_alive():
            raise StudyError(f"study {study.name!r} is {study.status}: only one that is under way is stopped.")
        drive.driver.finish()
        if abort:
            drive.driver.abort()

    def close(self) -> None:
        """Stop every study; the same name resumes it."""
        with self._lock:
            drives = [drive for drive in self._drives.values() if drive.thread.is_alive()]
        for drive in drives:
            drive.driver.finish()
            drive.driver.abort()
        deadline = time.monotonic() + CLOSE_SECONDS
        for drive in drives:
            drive.thread.join(max(0.0, deadline - time.monotonic()))

    def _drive(self, study: Study) -> _Drive:
        with self._lock:
            drive = self._drives.get(study.id)
        if drive is None:
            raise StudyError(f"study {study.name!r} was not started by this server; who drives it says how far it is.")
        return drive
