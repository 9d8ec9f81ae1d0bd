"""Optuna's journal of a study, as a file beside our store."""

from __future__ import annotations

import copy
import json
import os
import threading
import weakref
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState


class StudyStorage(JournalStorage):  # type: ignore[misc]
    """Optuna's storage in a journal, which finds the trials that wait without looking at all there are.

    Optuna looks for one each time that it asks for the next trial, which took longer the more trials a study had.
    """

    def __init__(self, journal: StudyJournal) -> None:
        super().__init__(journal)
        self._unfinished: dict[int, list[int]] = {}
        """The ids of the trials of each study that had not ended at the last look; what has ended never waits again."""
        self._looked_at: dict[int, int] = {}
        """How many trials of each study were looked at."""
        self._looking = threading.Lock()

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if states != (TrialState.WAITING,):
            found: list[FrozenTrial] = super().get_all_trials(study_id, deepcopy, states)
            return found
        waiting = self._waiting(study_id)
        return copy.deepcopy(waiting) if deepcopy else waiting

    def _waiting(self, study_id: int) -> list[FrozenTrial]:
        with self._looking:
            ids = [*self._unfinished.get(study_id, ()), *self._fresh(study_id)]
            left = [trial for trial in map(self.get_trial, ids) if not trial.state.is_finished()]
            self._unfinished[study_id] = [trial._trial_id for trial in left]
        return [trial for trial in left if trial.state is TrialState.WAITING]

    def _fresh(self, study_id: int) -> Iterator[int]:
        self.get_study_name_from_id(study_id)  # raises KeyError for a study that is not there
        while True:
            number = self._looked_at.get(study_id, 0)
            try:
                trial_id = self.get_trial_id_from_study_id_trial_number(study_id, number)
            except KeyError:
                return
            self._looked_at[study_id] = number + 1
            yield trial_id


class StudyJournal(JournalFileBackend):  # type: ignore[misc]
    """Optuna's own file format, readable by whatever reads that, written by the one process that drives the study.

    Two things that Optuna's own backend does are left out, since each costs milliseconds a trial: the lock file, which
    our store's lease stands for, and the wait for the disk. A killed process loses nothing; what a power cut loses is
    told again from the store when the study is resumed.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(str(path))
        self._path = path
        self._logs: list[dict[str, Any]] = []
        self._end = 0
        """How much of the file ``_logs`` are."""
        self._descriptor: int | None = None

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        # Whoever drives the study is the only one who writes, and need not read what it wrote.
        if os.stat(self._path).st_size != self._end:
            self._logs += super().read_logs(len(self._logs))
            self._end = self._log_number_offset[len(self._logs)]
        return iter(self._logs[log_number_from:])

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode("utf-8")
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            weakref.finalize(self, os.close, self._descriptor)
        known = os.stat(self._path).st_size == self._end
        os.write(self._descriptor, lines)
        if known:
            self._logs += [json.loads(line) for line in lines.splitlines()]
            self._end += len(lines)

    def mend(self) -> None:
        """Cut off what a power cut left half written at the end. For the process that drives the study."""
        content = self._path.read_bytes()
        whole = 0
        for line in content.splitlines(keepends=True):
            if not _is_entry(line):
                os.truncate(self._path, whole)
                return
            whole += len(line)


def _is_entry(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
