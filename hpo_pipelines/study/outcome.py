"""What the run of a trial means for its study: its values, what it violates, or that it has none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from hpo_pipelines.engine import Controller
from hpo_pipelines.errors import HpoPipelinesError
from hpo_pipelines.run import Run
from hpo_pipelines.study.goals import Goals, feasible
from hpo_pipelines.task import Task
from hpo_pipelines.types import Status
from hpo_pipelines.workspace import Workspace


@dataclass(frozen=True)
class Outcome:
    """``values`` are one for each objective, or None; ``problem`` says why a run that completed has none."""

    values: tuple[float, ...] | None = None
    violations: Mapping[str, float] = field(default_factory=dict)
    """By how much each constraint is violated, by :attr:`Constraint.key`; 0 or less where it is not."""
    problem: str = ""

    @property
    def is_feasible(self) -> bool:
        return feasible(self.violations)


def outcome_of(workspace: Workspace, run: Task, goals: Goals, controller: Controller | None = None) -> Outcome:
    """The outcome of ``run``, which has ended.

    Read from what its ``controller``, if it was driven here, has heard where that is enough, else from the store. A
    completed run that lacks an objective or the metric of a constraint, or has NaN there, has no values.
    """
    if run.status is not Status.COMPLETED:
        return Outcome()
    try:
        values = tuple(_number(workspace, run, name, controller) for name in goals.objectives)
        bounded = {each: _number(workspace, run, each.name, controller) for each in goals.constraints}
    except HpoPipelinesError as error:
        return Outcome(problem=str(error))
    lacking = [name for name, value in zip(goals.names, values, strict=True) if math.isnan(value)]
    lacking += [constraint.name for constraint, value in bounded.items() if math.isnan(value)]
    if lacking:
        return Outcome(problem=f"{', '.join(lacking)}: not a number (NaN)")
    return Outcome(values, {each.key: each.violation(value) for each, value in bounded.items()})


def _number(workspace: Workspace, run: Task, name: str | None, controller: Controller | None) -> float:
    component, dot, metric = (name or "").rpartition(".")
    if controller is not None and dot:
        heard = controller.scheduler.metric(component, metric)
        if heard is not None:
            return heard
    return Run(workspace, run).objective(name)
