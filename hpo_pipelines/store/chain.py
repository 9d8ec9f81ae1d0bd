"""The attempts of one call of a pipeline: each but the last ended by asking for the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpo_pipelines.store.filters import TaskFilter
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status

RETRIGGERED = "retriggered: "
"""How the reason begins why a run that asked for another attempt has ended."""

if TYPE_CHECKING:
    from hpo_pipelines.store.tasks import Tasks


def following(tasks: Tasks, run: Task) -> Task | None:
    """The attempt that ``run`` ended by asking for; None for any other run."""
    if run.status is not Status.COMPLETED or run.kind is not Kind.PIPELINE:
        return None
    found = tasks.list(TaskFilter(kind=Kind.PIPELINE, attempt_of=run.id), limit=1)
    return found[0] if found else None


def last(tasks: Tasks, run: Task) -> Task:
    """The last attempt of the call that ``run`` is an attempt of; the run itself if it asked for none."""
    while (after := following(tasks, run)) is not None:
        run = after
    return run


def first(tasks: Tasks, run: Task) -> Task:
    """The first attempt of the call that ``run`` is an attempt of, as far as it is still there."""
    while run.attempt_of is not None:
        before = tasks.get_all([run.attempt_of])
        if not before:
            break
        (run,) = before.values()
    return run


def chain(tasks: Tasks, run: Task) -> list[Task]:
    """Every attempt of the call that ``run`` is one of, in their order; those that were deleted are left out."""
    found = [first(tasks, run)]
    while (after := following(tasks, found[-1])) is not None:
        found.append(after)
    return found


def counting(runs: Sequence[Task]) -> list[Task]:
    """Those of the ``runs`` inside one run that stand for a call: the last attempt of each."""
    superseded = {run.attempt_of for run in runs}
    return [run for run in runs if run.id not in superseded]
