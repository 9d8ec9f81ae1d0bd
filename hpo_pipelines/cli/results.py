"""How a run ended: what it returned or why it failed, and the exit code that says so."""

from __future__ import annotations

import click

from hpo_pipelines.cli.describing import picture
from hpo_pipelines.engine.controller import VALUE
from hpo_pipelines.errors import OUTCOMES, StepAborted, StepError, StepLost, StepTimedOut
from hpo_pipelines.run import Run
from hpo_pipelines.task import Task
from hpo_pipelines.types import Status

_OF_OURS = {cls.__name__: cls for cls in (StepLost, StepTimedOut, StepAborted)}


def exit_code(task: Task) -> int:
    """0 for a completed run; else that of the error that ended it, in the table of :mod:`hpo_pipelines.errors`.

    The user's own exceptions, in a step or in the body, are ``StepFailed``, which has the code of ``StepError``.
    """
    if task.status is Status.COMPLETED:
        return 0
    if task.status in (Status.ABORTED, Status.PRUNED):
        return OUTCOMES[StepAborted].exit_code
    return OUTCOMES[_OF_OURS.get((task.error or {}).get("type", ""), StepError)].exit_code


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
    ways = f"go on: hpo resume {task.label}; again: hpo rerun {task.label} --failed"
    click.echo(f"look further: hpo show {where}; hpo logs {where}; {ways}", err=True)


def failure_text(task: Task) -> str:
    """The traceback of what failed, and under it the end of the step's console."""
    error = task.error or {}
    text = str(error.get("traceback") or f"{error.get('type')}: {error.get('message')}").rstrip()
    log = str(error.get("log") or "").rstrip()
    return f"{text}\n\nthe end of its console:\n{log}" if log and log not in text else text
