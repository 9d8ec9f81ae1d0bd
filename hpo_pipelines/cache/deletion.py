"""Deleting runs and studies: their records, and the files that only they have."""

from __future__ import annotations

import shutil
from pathlib import Path

from hpo_pipelines.store import Removed, Store, TaskFilter
from hpo_pipelines.types import Kind, Status

_OVER = tuple(status for status in Status if status.finished)


def delete_runs(store: Store, home: Path, *task_ids: str) -> Removed:
    """Delete runs and studies as :meth:`hpo_pipelines.store.tasks.Tasks.delete` does, and their consoles.

    ``home`` is the folder of the consoles and of the studies' journals. The artifacts that only they needed stay until
    :func:`hpo_pipelines.cache.collect` sweeps them; MLflow's mirror deletes what it shows of them.
    """
    removed = store.tasks.delete(*task_ids)
    for run in removed.runs:
        # The records are gone already: a file that cannot be removed must not keep the others.
        shutil.rmtree(home / "consoles" / run.id, ignore_errors=True)
    for study in removed.studies:
        (home / "optuna" / f"{study.id}.journal").unlink(missing_ok=True)
    return removed


def old_runs(store: Store, before: float) -> list[str]:
    """The ids of the studies and runs that may be deleted and were over before ``before``, studies first.

    A study goes when it and all of its trials are that old; until then its trials stay, and what they are clones of.
    """
    runs = store.tasks.list(TaskFilter(kind=Kind.PIPELINE, top=True), limit=None)
    studies = store.tasks.list(TaskFilter(kind=Kind.STUDY), limit=None)
    old = {
        task.id
        for task in (*runs, *studies)
        if task.status in _OVER and task.finished_at is not None and task.finished_at < before
    }
    young = {run.study for run in runs if run.id not in old}
    doomed = [study.id for study in studies if study.id in old and study.id not in young]
    kept = {study.id for study in studies} - set(doomed)
    bases = {study.cloned_from for study in studies if study.id in kept}
    bases |= {run.cloned_from for run in runs if run.study in kept}
    return doomed + [run.id for run in runs if run.id in old and run.study is None and run.id not in bases]
