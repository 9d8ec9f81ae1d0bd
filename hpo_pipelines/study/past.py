"""The trials of a study of Optuna's that something else has made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_pipelines.errors import StudyError
from hpo_pipelines.parameters.shapes import closest
from hpo_pipelines.task import PastRun
from hpo_pipelines.tracking.backend import sqlite_path
from hpo_pipelines.types import Status

_ENDED = {
    TrialState.COMPLETE: Status.COMPLETED,
    TrialState.PRUNED: Status.PRUNED,
    TrialState.FAIL: Status.FAILED,
}


def trials_of(storage: str, name: str) -> Iterator[PastRun]:
    """The trials of the study ``name`` in Optuna's ``storage`` (a URL, or the path of a journal) that have ended.

    Their values are metrics: ``value``, or with several objectives those names that Optuna has for them, else
    ``value_0``, ``value_1``, …. Raises StudyError when there is no such study, or no such storage.
    """
    file = sqlite_path(storage)
    if file is not None and not file.is_file():  # or Optuna would make one
        raise StudyError(f"{storage}: there is no file {file}; give the URL of a database, or the path of a journal.")
    try:
        place = optuna.storages.get_storage(storage) if "://" in storage else _journal(storage)
        known = optuna.get_all_study_names(place)
        if name not in known:
            raise StudyError(f"{storage} has no study {name!r}; {closest(name, known)}")
        study = optuna.load_study(study_name=name, storage=place)
    except (OSError, RuntimeError, ImportError, ValueError) as error:
        raise StudyError(f"{storage}: {error}") from error
    names = metric_names(study)
    for trial in study.get_trials(deepcopy=False):
        if trial.state in _ENDED:
            yield _past(study.study_name, names, trial)


def metric_names(study: optuna.Study) -> Sequence[str]:
    """What the values of a trial of ``study`` are called."""
    if study.metric_names:
        return list(study.metric_names)
    count = len(study.directions)
    return ["value"] if count == 1 else [f"value_{index}" for index in range(count)]


def _journal(path: str) -> optuna.storages.JournalStorage:
    with open(path, "rb"):  # or Optuna would make one
        pass
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(path))


def _past(study: str, names: Sequence[str], trial: FrozenTrial) -> PastRun:
    values = trial.values if trial.state is TrialState.COMPLETE else None
    return PastRun(
        source=f"optuna:{study}:{trial.number}:{_stamp(trial)}",
        params=dict(trial.params),
        metrics=dict(zip(names, values or (), strict=False)),
        status=_ENDED[trial.state],
        started_at=_seconds(trial.datetime_start),
        finished_at=_seconds(trial.datetime_complete),
        notes=f"imported from trial {trial.number} of Optuna's {study}; it was made by other code than its own here",
    )


def _stamp(trial: FrozenTrial) -> str:
    """Tells it from the trial of that number of another study so called; a copy of the study has the same."""
    return hashlib.sha256(repr((trial.datetime_start, sorted(trial.params.items()))).encode()).hexdigest()[:8]


def _seconds(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.timestamp()
