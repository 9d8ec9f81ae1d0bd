"""What a person means by ``churn#48/prepare.2/load``: from a reference to the recorded task."""

from __future__ import annotations

from hpo_pipelines.errors import TaskNotFound
from hpo_pipelines.parameters.shapes import closest
from hpo_pipelines.store import Store
from hpo_pipelines.task import Task, names_within
from hpo_pipelines.types import Kind


def called(store: Store, reference: str) -> Task:
    """The task called ``reference``: an id, ``churn#48``, ``project/churn#48``; its step ``churn#48/fit``, the run
    ``churn#48/prepare.2`` inside it, a step ``churn#48/prepare.2/load`` of that; a study by its name.

    Raises TaskNotFound.
    """
    try:
        return store.tasks.find(reference)
    except TaskNotFound:
        task, names = _beginning(store, reference)
        for name in names:
            task = _inside(store, task, name)
        return task


def _beginning(store: Store, reference: str) -> tuple[Task, list[str]]:
    """The run with which ``reference`` begins, and the names behind it. Raises TaskNotFound for another."""
    run, *names = reference.split("/")
    while names:
        if _is_known(store, run):
            return store.tasks.find(run), names
        run = f"{run}/{names.pop(0)}"
    run, _, name = reference.rpartition("/")
    # Of a step of a run that is not there, the run is what is missing.
    return (store.tasks.find(run), [name]) if "#" in run else (store.tasks.find(reference), [])


def _inside(store: Store, run: Task, name: str) -> Task:
    """The step, or the run inside ``run``, that is called ``name``. Raises TaskNotFound."""
    if run.kind is Kind.STEP:
        raise TaskNotFound(f"{run.name} is a step, and has no {name!r} inside; say `hpo show RUN/{run.name}`.")
    children = store.tasks.children(run.id)
    names = names_within(children)
    found = next((task for task in children if name in (names[task.id], task.label)), None)
    if found is None:
        raise TaskNotFound(f"{run.label} has no step {name!r}; {closest(name, list(names.values()))}")
    return found


def _is_known(store: Store, reference: str) -> bool:
    try:
        store.tasks.find(reference)
    except TaskNotFound:
        return False
    return True
