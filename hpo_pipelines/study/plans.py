"""Plans of studies: kept in the home until the study begins, then with it, and held against what happened."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_pipelines.errors import StudyError
from hpo_pipelines.study.planned import ComparedStep, PlanComparison, StudyPlan
from hpo_pipelines.task import Task, names_within
from hpo_pipelines.types import Kind, Status
from search_spaces import Space

if TYPE_CHECKING:
    from hpo_pipelines.study.handle import Study
    from hpo_pipelines.workspace import Workspace

_AT_ONCE = 500
"""How many trials are read in one go: bounds the ids that one query names."""

_log = logging.getLogger(__name__)


def keep(workspace: Workspace, project: str, pipeline: str, space: Space, plan: StudyPlan) -> None:
    """Keep ``plan`` for the next study over ``pipeline`` and ``space``, in the place of an earlier one.

    A home that cannot be written to is no reason not to plan.
    """
    path = _path(workspace, project, pipeline, space.digest())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(plan.record()), encoding="utf-8")
    except OSError as error:
        _log.info("the plan is not kept: %s", error)


def taken(workspace: Workspace, base: Task, space_digest: str) -> dict[str, Any]:
    """What a study that begins now is recorded with: the plan that was kept for it, if there is one."""
    path = _path(workspace, base.project, str(base.pipeline), space_digest)
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
    except (OSError, ValueError):  # none was made, or not by this version; the study can do without
        return {}
    return {"plan": plan}


def _path(workspace: Workspace, project: str, pipeline: str, space_digest: str) -> Path:
    said = json.dumps([project, pipeline, space_digest]).encode()
    return Path(workspace.home) / "plans" / f"{blake2b(said, digest_size=16).hexdigest()}.json"


def has_plan(study: Study) -> bool:
    """Whether the study was planned before it began."""
    return bool(study.task.params.get("plan"))


def compared(study: Study) -> PlanComparison:
    """The study's plan against what has happened so far. Raises StudyError for a study that was not planned."""
    record = study.task.params.get("plan")
    if not record:
        raise StudyError(
            f"study {study.name} was not planned before it began: hpo optimize … --plan, or plan_study(…), does that."
        )
    plan = StudyPlan.recorded(record)
    planned = {step.step: step for step in plan.steps}
    runs = study.runs
    counts: dict[str, list[float]] = {name: [0, 0, 0.0] for name in planned}
    for name, step in _steps(study, [run.id for run in runs]):
        count = counts.setdefault(name, [0, 0, 0.0])
        if step.reused_from is not None:
            count[1] += 1
        elif step.started_at is not None:
            count[0] += 1
            count[2] += step.seconds or 0.0
    steps = tuple(
        ComparedStep(name, planned.get(name), int(executions), int(reused), seconds)
        for name, (executions, reused, seconds) in counts.items()
    )
    return PlanComparison(plan, steps, len(runs), study.task.seconds)


def _steps(study: Study, runs: Sequence[str]) -> Iterator[tuple[str, Task]]:
    """Every step of the trials that has ended or runs, under its name in its trial: ``fit``, ``inner/fit``."""
    for start in range(0, len(runs), _AT_ONCE):
        below = study.workspace.store.tasks.below(runs[start : start + _AT_ONCE])
        inner = {task.id: task for task in below if task.kind is not Kind.STEP}
        names = _names(inner)
        for task in below:
            if task.kind is Kind.STEP and task.status not in (Status.QUEUED, Status.SKIPPED):
                yield f"{_around(task, inner, names)}{task.name}", task


def _names(inner: Mapping[str, Task]) -> dict[str, str]:
    by_parent: dict[str, list[Task]] = {}
    for task in inner.values():
        by_parent.setdefault(task.parent or "", []).append(task)
    return {id: name for children in by_parent.values() for id, name in names_within(children).items()}


def _around(task: Task, inner: Mapping[str, Task], names: Mapping[str, str]) -> str:
    path = ""
    parent = inner.get(task.parent or "")
    while parent is not None:
        path = f"{names[parent.id]}/{path}"
        parent = inner.get(parent.parent or "")
    return path
