"""One driver at a time: the lease on a study, and what an earlier driver has left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from hpo_pipelines.errors import StudyError
from hpo_pipelines.owner import spoken
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.study.handle import Study
from hpo_pipelines.types import Kind, Status


@contextlib.contextmanager
def leased(study: Study) -> Iterator[None]:
    """Drive ``study`` inside the block. Raises StudyError when another does."""
    liveness, name = study.workspace.engine.liveness, f"study:{study.id}"
    if liveness.holds(name) or not liveness.claim(name, study.name):
        holder = liveness.holder(name)
        who = spoken(holder.owner) if holder else "another process"
        raise StudyError(f"study {study.name!r} is being run by {who}; wait for it, stop it, or choose another name.")
    try:
        yield
    finally:
        liveness.give_up(name)


def supersede(study: Study, trial: int) -> None:
    """An unfinished run of this trial, left by a crash, makes way for a new one."""
    tasks = study.workspace.store.tasks
    for run in tasks.list(TaskFilter(kind=Kind.PIPELINE, study=study.id, trial=trial), limit=None):
        if not run.status.finished:
            tasks.transition(run.id, Status.ABORTED, reason="its driver went away")
        tasks.update(run.id, study=None, trial=None, notes=f"left by a crash of {study.name}")
