"""Holding a plan against the run that follows."""

from __future__ import annotations

from typing import Any

from hpo_pipelines import Workspace
from hpo_pipelines.engine import Refresh
from hpo_pipelines.planning import Plan, plan
from hpo_pipelines.reasons import why
from hpo_pipelines.run import Run
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status


def calls(workspace: Workspace, run: Task) -> list[Task]:
    """Every step of a run and of those inside it, in the order of the calls."""
    children = sorted(workspace.store.tasks.children(run.id), key=lambda task: task.id)
    return [
        step
        for task in children
        for step in (calls(workspace, task) if task.kind is Kind.PIPELINE else [task])
    ]  # fmt: skip


def held(
    workspace: Workspace, pipeline: Any, *, refresh: Any = False, executor: str = "inline", **params: Any
) -> tuple[Plan, Run]:
    """Plan a run, run it, and check every definite verdict against what then ran."""
    made = plan(workspace, pipeline, params, refresh=Refresh.of(refresh))
    run = workspace.run(pipeline, params, executor=executor, refresh=refresh)
    check(workspace, made, calls(workspace, run.task), run.task)
    return made, run


def check(workspace: Workspace, made: Plan, steps: list[Task], run: Task) -> None:
    """Raises AssertionError where a definite verdict of ``made`` is not what became of the run's ``steps``."""
    failed = {step.key for step in steps if step.status is Status.FAILED}
    assert len(steps) >= len(made.steps), f"the run ended early: {run.status}, {run.reason}, {run.error}"
    if made.complete and run.status is Status.COMPLETED:
        assert len(steps) == len(made.steps)
    for planned, step in zip(made.steps, steps, strict=False):
        assert planned.name.rpartition("/")[2] == step.name
        said = f"{planned.name}: planned to {planned.verdict} ({planned.reason}), and {step.status}: {step.reason}"
        if planned.verdict == "run":
            assert step.reused_from is None, said
            certain = not any(each.verdict == "unknown" for each in made.steps)
            if certain and step.status is not Status.SKIPPED:
                assert planned.reason == why(workspace, step).reason, said
        elif planned.verdict == "reuse" and planned.key not in failed:
            assert step.reused_from is not None, said
            assert planned.origin in (None, step.reused_from), said
        if planned.key is not None and step.key is not None:
            assert planned.key == step.key
