"""How a run ended: what it returned or why it failed, and the exit code that says so."""

from __future__ import annotations

import click

from hpo_pipelines import errors
from hpo_pipelines.cli.describing import picture
from hpo_pipelines.engine.controller import VALUE
from hpo_pipelines.errors import (
    AttemptsExhausted,
    HpoPipelinesError,
    NonDeterministicBody,
    StepAborted,
    StepError,
    StepLost,
    StepTimedOut,
    outcome_of,
)
from hpo_pipelines.run import Run
from hpo_pipelines.task import Task
from hpo_pipelines.types import Status

_OF_STEPS = (StepLost, StepTimedOut, StepAborted)


def exit_code(task: Task) -> int:
    """0 for a completed run; else that of the error that ended it, in the table of :mod:`hpo_pipelines.errors`.

    The user's own exceptions, in a step or in the body, are ``StepFailed``, which has the code of ``StepError``.
    """
    if task.status is Status.COMPLETED:
        return 0
    if task.status in (Status.ABORTED, Status.PRUNED):
        return outcome_of(StepAborted).exit_code
    return outcome_of(_of_ours(task) or StepError).exit_code


def _of_ours(task: Task) -> type[HpoPipelinesError] | None:
    """The class of the error that ended the run, where it is one of ours; None for the user's own."""
    error = task.error or {}
    name = str(error.get("type"))
    found = getattr(errors, name, None)
    if not isinstance(found, type) or not issubclass(found, HpoPipelinesError):
        return None
    # The user may have a class of the same name; the traceback has the module too.
    ours = found in _OF_STEPS or f"\n{found.__module__}.{name}: " in f"\n{error.get('traceback')}"
    return found if ours else None


def show_result(run: Run) -> None:
    """What a finished run returned, on standard output; or why it failed, on standard error."""
    task = run.task
    if task.status is Status.COMPLETED:
        for name, ref in run.workspace.store.tasks.outputs(task.id).items():
            key = name.removeprefix(VALUE).removeprefix(".")
            shown = picture(ref.preview)
            click.echo(f"{key} = {shown}" if key else shown)
        return
    if task.error:
        click.echo(failure_text(task), err=True)
    failed = next((step for step in run.steps.values() if step.status is Status.FAILED), None)
    where = f"{task.label}/{failed.name}" if failed is not None else task.label
    if _of_ours(task) in (NonDeterministicBody, AttemptsExhausted):
        # What it says itself is the way: resumed as it is, it would end here again.
        ways = f"again, with what is unchanged reused: hpo rerun {task.label}"
    else:
        ways = f"go on: hpo resume {task.label}; again: hpo rerun {task.label} --failed"
    click.echo(f"look further: hpo show {where}; hpo logs {where}; {ways}", err=True)


def failure_text(task: Task) -> str:
    """The traceback of what failed, and under it the end of the step's console.

    An error of ours says itself what is wrong and what helps; its traceback stays in the record.
    """
    error = task.error or {}
    if _of_ours(task) is not None:
        return f"error: {error.get('message')}"
    text = str(error.get("traceback") or f"{error.get('type')}: {error.get('message')}").rstrip()
    log = str(error.get("log") or "").rstrip()
    return f"{text}\n\nthe end of its console:\n{log}" if log and log not in text else text
