"""Archiving, restoring and deleting runs, studies and whole pipelines: here, in MLflow and in Optuna's storages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpo_pipelines.cache import delete_runs
from hpo_pipelines.errors import TaskNotFound
from hpo_pipelines.remote import RemoteWorkspace
from hpo_pipelines.store import Removed, Store, TaskFilter
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind
from hpo_pipelines.workspace import Workspace

_RUNS_AT_ONCE = 50  # In one transaction: on SQLite nobody else writes meanwhile.


@dataclass(frozen=True)
class Deletion:
    """What went, or would go: studies by their names, runs by their labels, how many steps, outcomes by their keys."""

    studies: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    steps: int = 0
    outcomes: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    """A line for each study that stays in its Optuna storage, which says why."""

    @classmethod
    def of(cls, removed: Removed, left: Sequence[str] = ()) -> Deletion:
        """``removed`` by name."""
        studies = tuple(study.name for study in removed.studies)
        runs = tuple(run.label for run in removed.runs)
        return cls(studies, runs, len(removed.steps), removed.outcomes, tuple(left))


def archive(place: Workspace, *task_ids: str) -> list[Task]:
    """Leave runs, and studies with their trials, out of lists; gives those that were not yet. MLflow follows.

    Raises what :meth:`hpo_pipelines.store.tasks.Tasks.archive` raises.
    """
    changed = place.store.tasks.archive(*task_ids)
    place.follow()
    return changed


def restore(place: Workspace, *task_ids: str) -> list[Task]:
    """Have what was archived listed again; gives what was. MLflow follows."""
    changed = place.store.tasks.restore(*task_ids)
    place.follow()
    return changed


def removal(place: Workspace, *task_ids: str) -> Deletion:
    """What :func:`delete` would delete; raises what it would raise."""
    if isinstance(place, RemoteWorkspace):
        return _deleted_there(place, task_ids, dry_run=True)
    return Deletion.of(place.store.tasks.removal(*task_ids))


def delete(place: Workspace, *task_ids: str) -> Deletion:
    """Delete runs and studies as :meth:`hpo_pipelines.store.tasks.Tasks.delete` does, also where Optuna has them.

    What is refused is refused before anything goes; many runs go in parts, between which others may write. MLflow
    follows. Artifacts that only they needed stay until :func:`hpo_pipelines.cache.collect` sweeps them; a server does
    that by itself.
    """
    if isinstance(place, RemoteWorkspace):
        return _deleted_there(place, task_ids, dry_run=False)
    told = place.store.tasks.removal(*task_ids)
    removed = Removed()
    for part in _parts(told, task_ids):
        removed += delete_runs(place.store, place.home, *part)
    place.follow()
    return Deletion.of(removed, forget_in_optuna(place, removed.studies))


def _deleted_there(place: RemoteWorkspace, task_ids: Sequence[str], *, dry_run: bool) -> Deletion:
    said = place.server.post("/records/delete", {"tasks": list(task_ids), "dry_run": dry_run})
    lists = {name: tuple(value) for name, value in said.items() if isinstance(value, list)}
    return Deletion(**lists, steps=said["steps"])


def _parts(told: Removed, task_ids: Sequence[str]) -> list[Sequence[str]]:
    if len(told.runs) <= _RUNS_AT_ONCE:
        return [task_ids]
    studies = {study.id for study in told.studies}
    # A trial goes with its study, and is no longer there when its own turn would come.
    with_study = {run.id for run in told.runs if run.study in studies}
    runs = [task for task in task_ids if task not in studies | with_study]
    rest = [runs[start : start + _RUNS_AT_ONCE] for start in range(0, len(runs), _RUNS_AT_ONCE)]
    return [*([study] for study in studies), *rest]


def forget_in_optuna(place: Workspace, studies: Sequence[Task]) -> list[str]:
    """Delete ``studies`` in the Optuna storages that they name, or a new one of their name would go on from there.

    Gives a line for each that stays there.
    """
    left = []
    for study in studies:
        url = study.params.get("storage")
        if url is None:
            continue  # its journal went with it
        from hpo_pipelines.study.sampling import storage

        try:
            optuna = storage(str(url), place.home, study.id)
            optuna.delete_study(optuna.get_study_id_from_name(study.name))
        except Exception as error:  # noqa: BLE001 - of any driver; our own records are gone, and that is what was asked
            left.append(f"study {study.name} stays in its Optuna storage, which says: {error}")
    return left


def members(store: Store, project: str, pipeline: str) -> list[str]:
    """The ids of a pipeline's studies, and of its runs that belong to none of them. Raises TaskNotFound for no runs."""
    where = TaskFilter(project=project, pipeline=pipeline, top=True)
    found = [task for task in store.tasks.list(where, limit=None) if task.kind is not Kind.STEP]
    if not any(task.kind is Kind.PIPELINE for task in found):
        raise TaskNotFound(f"project {project} has no pipeline {pipeline!r} with runs; list them at /api/v1/pipelines.")
    studies = [task.id for task in found if task.kind is Kind.STUDY]
    return studies + [task.id for task in found if task.kind is Kind.PIPELINE and task.study not in studies]
