"""A study's trials as columns, and what its page says of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpo_pipelines.server.site import Site
from hpo_pipelines.server.templating import value_text
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.study import Study
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status
from search_spaces import Distribution
from search_spaces.groups import flattened


def summary(site: Site, task: Task, runs: Sequence[Task] | None = None) -> dict[str, Any]:
    """What lists say of a study: name, status, how many trials stand where, the best value and its run.

    ``runs`` are those of its trials, where they have been read already.
    """
    study = Study(site.workspace, task)
    runs = trial_runs(site, task.id) if runs is None else runs
    counts: dict[str, int] = {}
    for run in runs:
        counts[str(run.status)] = counts.get(str(run.status), 0) + 1
    values = site.analysis(study).values
    best = best_of(values, study.direction)
    best_run = next((run for run in runs if run.trial == best), None)
    return {
        "id": task.id,
        "name": task.name,
        "project": task.project,
        "pipeline": task.pipeline,
        "status": str(task.status),
        "abandoned": study.is_abandoned,
        "reason": task.reason,
        "direction": study.direction,
        "objective": study.objective,
        "trials": len(runs),
        "counts": counts,
        "best_value": None if best is None else values[best],
        "best_trial": best,
        "best_run": None if best_run is None else best_run.id,
        "best_run_label": None if best_run is None else best_run.label,
        "cloned_from": task.cloned_from,
        "created_at": task.created_at,
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "seconds": task.seconds,
    }


def trial_runs(site: Site, study: str) -> list[Task]:
    """The runs of a study's trials, in the order of their numbers."""
    found = site.workspace.store.tasks.list(TaskFilter(kind=Kind.PIPELINE, study=study, top=True), limit=None)
    return sorted(found, key=lambda task: task.trial or 0)


def best_of(values: Mapping[int, float], direction: str) -> int | None:
    """The number of the trial with the best value, the earliest of equals."""
    sign = 1 if direction == "maximize" else -1
    return max(values, key=lambda number: (sign * values[number], -number), default=None)


def columns(site: Site, study: Study, *, after: int = -1) -> dict[str, Any]:
    """The trials past number ``after``: one list for each thing that is known of them."""
    runs = [task for task in trial_runs(site, study.id) if (task.trial or 0) > after]
    values = site.analysis(study).values
    space = study.space
    varied = [name for name in space.order() if len(space[name].examples()) > 1]
    sampled = [flattened(varied, run.params) for run in runs]
    steps = site.workspace.store.overview.steps([run.id for run in runs])
    return {
        "name": study.name,
        "objective": study.objective or "value",
        "direction": study.direction,
        "number": [run.trial for run in runs],
        "value": [values.get(run.trial or 0) for run in runs],
        "status": [str(run.status) for run in runs],
        "run": [run.id for run in runs],
        "label": [run.label for run in runs],
        "seconds": [None if run.seconds is None else round(run.seconds, 3) for run in runs],
        "steps": [steps[run.id].total for run in runs],
        "reused": [steps[run.id].reused for run in runs],
        "params": {name: _column([params.get(name) for params in sampled], space[name]) for name in varied},
    }


def _column(values: Sequence[Any], item: Distribution) -> dict[str, Any]:
    """Numbers as they are, anything else as a text of a category."""
    numeric = all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values)
    if numeric:
        return {"type": "number", "log": bool(item.as_dict().get("log", False)), "values": list(values)}
    return {
        "type": "category",
        "log": False,
        "values": [None if value is None else value_text(value) for value in values],
    }


def shared_work(site: Site, runs: Sequence[Task]) -> list[dict[str, Any]]:
    """Of each component: how often it ran in ``runs``, how often it was reused, and the seconds that this saved."""
    tasks = site.workspace.store.tasks
    children = [task for steps in tasks.children_of([run.id for run in runs]).values() for task in steps]
    done = [task for task in children if task.kind is Kind.STEP and task.status is Status.COMPLETED]
    origins = tasks.get_all(list({task.reused_from for task in done if task.reused_from}))
    found: dict[str, dict[str, Any]] = {}
    for task in done:
        row = found.setdefault(str(task.component), {"component": task.component, "ran": 0, "reused": 0, "saved": 0.0})
        row["reused" if task.reused_from else "ran"] += 1
        if task.reused_from in origins:
            row["saved"] += origins[task.reused_from].seconds or 0.0
    return list(found.values())
