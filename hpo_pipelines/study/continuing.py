"""Pruned trials that are continued: each by a new trial with its parameters, which nothing prunes.

What the pruned trial has computed is kept, so that the new one costs what was left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpo_pipelines.errors import StudyError
from hpo_pipelines.store import Store, TaskFilter
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status

if TYPE_CHECKING:
    from hpo_pipelines.study.handle import Study

CONTINUES = "hpo:continues"
"""The user attribute, of Optuna's trials, that holds the number of the trial that one continues."""

_KEY = "continues"


def continued(params: Mapping[str, Any]) -> dict[int, int]:
    """Of a study that is recorded with ``params``: which trial each continuing one continues, by number."""
    return {int(number): int(of) for number, of in (params.get(_KEY) or {}).items()}


def note(store: Store, study: str, number: int, of: int) -> None:
    """Record that trial ``number`` continues ``of``. Inside a transaction, or as one."""
    with store.transaction():
        store.tasks.update(study)  # locks its row
        params = store.tasks.get(study).params
        store.tasks.update(study, params={**params, _KEY: {**(params.get(_KEY) or {}), str(number): of}})


def check(study: Study, number: int, waiting: list[int]) -> None:
    """Raise StudyError unless trial ``number`` was pruned, and none continues it; ``waiting`` are to be continued."""
    run = run_of(study, number)
    if run is None:
        last = max((each.task.trial or 0 for each in study.runs), default=None)
        there = "it has no trials yet" if last is None else f"its trials go up to {last}"
        raise StudyError(f"study {study.name} has no trial {number} with a run of its own: {there}.")
    if run.status is not Status.PRUNED:
        raise StudyError(
            f"trial {number} of {study.name} is {run.status}, and only a pruned one is continued; to run it "
            f"once more: hpo rerun {run.label}."
        )
    if number in waiting:
        raise StudyError(f"trial {number} of {study.name} is to be continued already.")
    for later, of in continued(study.task.params).items():
        follower = run_of(study, later) if of == number else None
        if follower is not None and follower.status not in (Status.FAILED, Status.PRUNED):
            raise StudyError(
                f"trial {number} of {study.name} is continued by trial {later} ({follower.label}) already."
            )


def run_of(study: Study, number: int) -> Task | None:
    """The run of trial ``number``, if it has one."""
    where = TaskFilter(kind=Kind.PIPELINE, study=study.id, trial=number, top=True)
    return next(iter(study.workspace.store.tasks.list(where, limit=1)), None)
