"""Commands that look: ``ls`` and ``show``."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from hpo_pipelines.cli.completion import complete_run, complete_step, complete_study
from hpo_pipelines.cli.options import found, json_option, nothing_yet, print_json, recorded_study, workspace

if TYPE_CHECKING:
    from hpo_pipelines.run import Run
    from hpo_pipelines.runstep import RunStep
    from hpo_pipelines.store import TaskFilter
    from hpo_pipelines.task import Task


@click.command()
@click.option("--project", help="Only runs of this project.")
@click.option("--pipeline", help="Only runs of this pipeline.")
@click.option("--status", help="Only runs with this status.")
@click.option("--study", shell_complete=complete_study, help="Only the trials of this study.")
@click.option("--tag", help="Only runs with this tag.")
@click.option("--archived", is_flag=True, help="Those that are archived, which are left out else.")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@json_option
def ls(*, limit: int, archived: bool, as_json: bool, **wanted: str | None) -> int:
    """List runs, newest first."""
    from hpo_pipelines.cli.describing import described, table

    place = workspace()
    runs = place.runs(replace(_filter(**wanted), archived=archived), limit=limit + 1)
    if as_json:
        for run in runs[:limit]:
            print_json(described(run, steps=False))
        return 0
    if not runs:
        chosen = " ".join(f"--{name} {value}" for name, value in wanted.items() if value is not None)
        known = place.runs(limit=1)
        if archived:
            chosen = f"--archived {chosen}".strip()
        if known and not chosen:
            click.echo("All runs are archived; hpo ls --archived lists them.", err=True)
        else:
            click.echo(f"No runs with {chosen}." if chosen and known else nothing_yet(place), err=True)
        return 0
    click.echo(table([_row(run) for run in runs[:limit]]))
    if len(runs) > limit:
        click.echo(f"there are more: -n {limit * 5} shows them", err=True)
    return 0


def _filter(
    *, project: str | None, pipeline: str | None, status: str | None, study: str | None, tag: str | None
) -> TaskFilter:
    from hpo_pipelines.errors import ParameterError
    from hpo_pipelines.parameters.shapes import closest
    from hpo_pipelines.store import TaskFilter
    from hpo_pipelines.types import Status

    if status is not None and status not in list(Status):
        known = [str(one) for one in Status]
        raise ParameterError(f"--status {status!r}: there is no such status; {closest(status, known)}")
    if study is not None:
        from hpo_pipelines.study import Study

        study = Study.called(workspace(), study).id
    wanted = None if status is None else Status(status)
    return TaskFilter(project=project, pipeline=pipeline, status=wanted, study=study, tag=tag, top=True)


def _row(run: Run) -> dict[str, str]:
    from hpo_pipelines.cli.describing import duration, parameter, short, when

    task = run.task
    return {
        "run": task.label,
        "project": task.project,
        "status": f"{task.status}, abandoned" if run.is_abandoned else str(task.status),
        "started": when(task.started_at),
        "took": duration(task.seconds),
        "parameters": short(", ".join(f"{name}={parameter(value)}" for name, value in task.params.items())),
        "tags": ",".join(task.tags),
    }


@click.command()
@click.argument("reference", metavar="RUN[/STEP]|STUDY", shell_complete=complete_run)
@click.argument("step", required=False, shell_complete=complete_step)
@json_option
def show(*, reference: str, step: str | None, as_json: bool) -> int:
    """Show a run, one of its steps (RUN/STEP or RUN STEP), or a study."""
    from hpo_pipelines.cli.describing import described, described_step
    from hpo_pipelines.runstep import RunStep

    task = recorded_study(reference) if step is None else None
    if task is not None:
        from hpo_pipelines.cli.standing import show_study

        show_study(workspace(), task, as_json=as_json)
        return 0
    thing = found(reference, step)
    if isinstance(thing, RunStep):
        print_json(described_step(thing)) if as_json else _show_step(thing)
    else:
        print_json(described(thing)) if as_json else _show_run(thing)
    return 0


def _show_run(run: Run) -> None:
    from hpo_pipelines.cli.describing import accounting_text, attempt_text, duration, parameter, picture, styled, when
    from hpo_pipelines.cli.results import failure_text
    from hpo_pipelines.cli.tree import lines, read, summary

    task = run.task
    click.echo(f"{click.style(task.label, bold=True)}  {styled(task.status)}  {task.id}")
    _facts(
        {
            "project": task.project,
            "reason": _abandoned(run) if run.is_abandoned else run.reason,
            "started": when(task.started_at),
            "took": duration(task.seconds),
            "steps": accounting_text(run.accounting),
            "cloned from": _label(run, task.cloned_from),
            "rerun of": _label(run, task.rerun_of),
            "attempt": attempt_text(run),
            "inside": _label(run, task.parent),
            "trial": f"{task.trial} of {_label(run, task.study)}" if task.trial is not None else None,
            "commit": _commit(task),
            "tags": ", ".join(task.tags),
            "notes": task.notes,
            "archived": when(task.archived_at) if task.archived_at is not None else None,
        }
    )
    _section("parameters", {name: parameter(value) for name, value in task.params.items()})
    outputs = run.workspace.store.tasks.outputs(task.id)
    _section("returned", {name.removeprefix("value."): picture(ref.preview) for name, ref in outputs.items()})
    tree = read(run.workspace.store, run.id)
    if tree.inside:
        click.echo(f"\n{summary(tree)}")
        _lines(lines(tree, time.time())[1:])
    if task.error:
        click.echo(f"\n{failure_text(task)}")


def _show_step(step: RunStep) -> None:
    from hpo_pipelines.cli.describing import duration, number, picture, short, styled, when
    from hpo_pipelines.cli.results import failure_text

    task = step.task
    run = step.workspace.store.tasks.get(task.parent) if task.parent else None
    name = f"{run.label}/{task.name}" if run is not None else task.name
    click.echo(f"{click.style(name, bold=True)}  {styled(task.status)}  {task.id}")
    _facts(
        {
            "component": task.component,
            "reason": task.reason,
            "reused from": _origin(step),
            "started": when(task.started_at),
            "took": duration(task.seconds),
            "executor": task.executor,
            "key": (task.key or "")[:12],
        }
    )
    _section("arguments", {name: short(_argument(value), 200) for name, value in task.params.items()})
    _section("metrics", {name: number(value) for name, value in step.metrics.items()})
    outputs = step.workspace.store.tasks.outputs(task.id).items()
    _section("outputs", {name: f"{picture(ref.preview)}  ({ref.format}, {ref.size} bytes)" for name, ref in outputs})
    attempts = step.attempts
    if len(attempts) > 1 or any(attempt.error for attempt in attempts):
        _section("attempts", {str(a.number): short(_attempt(a), 200) for a in attempts})
    if task.error:
        click.echo(f"\n{failure_text(task)}")


def _facts(facts: dict[str, str | None]) -> None:
    for name, value in facts.items():
        if value:
            click.echo(f"  {name:<12} {value}")


def _section(title: str, values: dict[str, str]) -> None:
    if values:
        click.echo(f"\n{title}")
        for name, value in values.items():
            click.echo(f"  {name} = {value}")


def _lines(laid: list[Any]) -> None:
    from hpo_pipelines.cli.describing import styled
    from hpo_pipelines.cli.tree import widths

    name_width, took_width = widths(laid)
    for line in laid:
        name = line.name.ljust(name_width - len(line.guide) - 2)
        mark = styled(line.status, line.mark)
        click.echo(f"  {line.guide}{mark} {name}  {line.took:>{took_width}}  {line.note}".rstrip())


def _argument(value: Any) -> str:
    source = value.get("$from") if isinstance(value, dict) else None
    if source is None:
        return repr(value)
    return f"from {source if isinstance(source, str) else ', '.join(source)}"


def _attempt(attempt: Any) -> str:
    error = attempt.error or {}
    return f"{attempt.status}" + (f": {error.get('type')}: {error.get('message')}" if error else "")


def _origin(step: RunStep) -> str | None:
    from hpo_pipelines.errors import TaskNotFound

    tasks = step.workspace.store.tasks
    if step.reused_from is None:
        return None
    try:
        origin = tasks.get(step.reused_from)
    except TaskNotFound:
        return f"{step.reused_from}, deleted since"
    return f"{tasks.get(origin.parent).label}/{origin.name}" if origin.parent else origin.name


def _label(run: Run, task: str | None) -> str | None:
    """What the task with this id is called; its id where it is no longer there."""
    from hpo_pipelines.errors import TaskNotFound

    try:
        return None if task is None else run.workspace.store.tasks.get(task).label
    except TaskNotFound:
        return task


def _abandoned(run: Run) -> str:
    if run.task.study is not None:
        return f"its driver is gone; the study {_label(run, run.task.study)} goes on with it by its name"
    return f"its driver is gone; hpo resume {run.label}"


def _commit(task: Task) -> str | None:
    git = task.git or {}
    commit = git.get("commit")
    return f"{commit[:12]}{' with changes' if git.get('dirty') else ''}" if commit else None
