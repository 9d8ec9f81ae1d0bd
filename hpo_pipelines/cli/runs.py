"""Commands that start, clone and stop runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from hpo_pipelines.cli.completion import complete_run, complete_step, complete_target
from hpo_pipelines.cli.limits import limit_options, limits_of
from hpo_pipelines.cli.options import (
    Refreshing,
    executor_option,
    found_run,
    json_option,
    parameter_option,
    print_json,
    queue_option,
    recorded_study,
    refresh_option,
    refreshed,
    reuse_option,
    typed,
    workspace,
)

if TYPE_CHECKING:
    from hpo_pipelines.engine import Refresh, RunOptions
    from hpo_pipelines.run import Run

plain_option = click.option("--plain", is_flag=True, help="Show lines instead of a tree, also on a terminal.")


@click.command(cls=Refreshing)
@click.argument("target", metavar="MODULE:NAME|FILE.py:NAME|DRAFT", shell_complete=complete_target)
@parameter_option("Set a parameter; the others keep their defaults.")
@executor_option
@queue_option
@refresh_option
@reuse_option
@click.option("--tag", "tags", multiple=True, help="Tag the run.")
@plain_option
@json_option
def run(
    *,
    target: str,
    params: tuple[str, ...],
    executor: str | None,
    queue: str | None,
    refresh: tuple[str, ...],
    no_reuse: bool,
    tags: tuple[str, ...],
    plain: bool,
    as_json: bool,
) -> int:
    """Run a pipeline, a component alone, or a draft (churn#7), to its end and show its steps while they run.

    A run that waits in a queue is run here; without --refresh and --no-reuse as it was enqueued.
    What it returns goes to standard output, everything else to standard error. The exit code is 0 when the run
    completed; `hpo --help` lists the others.
    """
    from hpo_pipelines.cli.targets import pipeline_called

    draft = _recorded_draft(target)
    if draft is None:
        pipeline = pipeline_called(target)
        draft = workspace().draft(pipeline, typed(pipeline, params), executor=executor, tags=tags)
    elif params or executor or tags:
        raise click.UsageError(
            f"{draft.label} is recorded with its own parameters, executor and tags: leave out -P, --executor "
            f"and --tag, or make one with others: `hpo clone {draft.label}`."
        )
    return started(draft, queue, refresh=refresh, no_reuse=no_reuse, plain=plain, as_json=as_json)


def started(
    draft: Run, queue: str | None, *, refresh: tuple[str, ...], no_reuse: bool, plain: bool, as_json: bool
) -> int:
    """Have ``draft`` run as it was asked for, and show it; returns the exit code of how it ended."""
    from hpo_pipelines.engine import Refresh, RunOptions

    wanted = Refresh.of(refreshed(refresh))
    options = RunOptions(refresh=wanted, reuse=not no_reuse) if refresh or no_reuse else None
    code = _start(draft, options, queue, plain=plain, as_json=as_json)
    _warn_of_unknown(wanted, draft)
    return code


def _recorded_draft(target: str) -> Run | None:
    """The draft that ``target`` names, if it names a run that is one, or that waits in a queue."""
    from hpo_pipelines.errors import TaskNotFound

    if ":" in target or "#" not in target:
        return None
    try:
        run = workspace().run_called(target)
    except TaskNotFound:
        return None
    return run if run.status in ("draft", "queued") and run.task.parent is None else None


def _warn_of_unknown(refresh: Refresh, run: Run) -> None:
    """Say which steps to be refreshed the run had not: only its end tells what it calls."""
    from hpo_pipelines.parameters.shapes import closest

    called = {name for step in run.steps.values() for name in (step.name, step.component)}
    for name in sorted(refresh.steps - called):
        click.echo(f"warning: --refresh {name}: the run has no such step; {closest(name, sorted(called))}", err=True)


@click.command(cls=Refreshing)
@click.argument("reference", metavar="RUN", shell_complete=complete_run)
@parameter_option("Change a parameter; the others keep the run's values.")
@executor_option
@queue_option
@refresh_option
@reuse_option
@click.option("--draft", "only_draft", is_flag=True, help="Record the clone as a draft and do not run it.")
@plain_option
@json_option
def clone(
    *,
    reference: str,
    params: tuple[str, ...],
    executor: str | None,
    queue: str | None,
    refresh: tuple[str, ...],
    no_reuse: bool,
    only_draft: bool,
    plain: bool,
    as_json: bool,
) -> int:
    """Clone RUN with other parameters, and run the clone with the code that RUN had."""
    from hpo_pipelines.cli.describing import described
    from hpo_pipelines.engine import Refresh, RunOptions

    if only_draft and (refresh or no_reuse):
        raise click.UsageError("a draft is not run yet; give --refresh or --no-reuse to `hpo run` when you start it.")
    base = found_run(reference)
    pipeline, _ = base.workspace.code(base.task)
    draft = base.workspace.clone(base.id, typed(pipeline, params), executor=executor)
    if not only_draft:
        options = RunOptions(refresh=Refresh.of(refreshed(refresh)), reuse=not no_reuse)
        return _start(draft, options, queue, plain=plain, as_json=as_json)
    if as_json:
        print_json(described(draft))
    else:
        click.echo(f"{draft.label} is a draft of {base.label}")
    return 0


@click.command(cls=Refreshing)
@click.argument("reference", metavar="RUN", shell_complete=complete_run)
@click.option("--failed", is_flag=True, help="Keep every completed step, also of components whose reuse is off.")
@click.option(
    "--from", "from_step", metavar="STEP", shell_complete=complete_step, help="Run this step, and what uses it, anew."
)
@refresh_option
@queue_option
@reuse_option
@plain_option
@json_option
def rerun(
    *,
    reference: str,
    failed: bool,
    from_step: str | None,
    refresh: tuple[str, ...],
    queue: str | None,
    no_reuse: bool,
    plain: bool,
    as_json: bool,
) -> int:
    """Run RUN again with the same code and parameters; what is unchanged is reused."""
    if failed + (from_step is not None) + bool(refresh) + no_reuse > 1:
        raise click.UsageError("--failed, --from, --refresh, --no-reuse each say what to run anew: give one of them.")
    if failed and queue is not None:
        raise click.UsageError(
            "--failed keeps steps whose reuse is off, which no agent can be told; leave out --queue."
        )
    base = found_run(reference)
    draft, options = base.workspace.rerun_draft(base.id, failed=failed, from_step=from_step, refresh=refreshed(refresh))
    return _start(draft, replace(options, reuse=not no_reuse), queue, plain=plain, as_json=as_json)


@click.command()
@click.argument("reference", metavar="RUN|STUDY", shell_complete=complete_run)
@click.option(
    "--from", "from_step", metavar="STEP", shell_complete=complete_step, help="Run this step, and every later, anew."
)
@click.option("-n", "--n-trials", type=click.IntRange(1), help="Of a study: trials in all, those there included.")
@limit_options
@plain_option
@json_option
def resume(*, reference: str, from_step: str | None, plain: bool, as_json: bool, **limits: Any) -> int:
    """Go on with RUN where it was interrupted or failed: what it has done is not done again.

    A study goes on as it was asked for last, with the code and the space that it has; a limit given here takes the
    place of the one that it had.
    """
    limits = limits_of(limits)
    study = recorded_study(reference, rather=any(value is not None for value in limits.values()))
    if study is not None:
        from hpo_pipelines.cli.studies import go_on

        if from_step is not None:
            raise click.UsageError(f"{study.name} is a study; --from is for a run.")
        return go_on(study, limits, as_json=as_json)
    for name, value in limits.items():
        if value is not None:
            raise click.UsageError(f"{reference} is no study; --{name.replace('_', '-')} is for one.")
    stopped = found_run(reference)
    return _drive(stopped, lambda: stopped.resume(from_step=from_step), plain=plain, as_json=as_json)


@click.command()
@click.argument("references", metavar="RUN…", nargs=-1, required=True, shell_complete=complete_run)
@json_option
def abort(*, references: tuple[str, ...], as_json: bool) -> int:
    """Stop RUN: it is marked at once, its steps and their processes are gone within 2 s."""
    runs = [found_run(reference) for reference in references]
    refused: Exception | None = None
    for run in runs:
        try:
            aborted = run.abort()
        except Exception as error:  # noqa: BLE001 - the others are to be stopped all the same; the last is raised below
            if refused is not None:
                click.echo(f"error: {refused}", err=True)
            refused = error
            continue
        if as_json:
            print_json({"id": aborted.id, "run": aborted.label, "status": str(aborted.status)})
        else:
            click.echo(f"{aborted.label} is aborted")
    if refused is not None:
        raise refused
    return 0


def _start(draft: Run, options: RunOptions | None, queue: str | None, *, plain: bool, as_json: bool) -> int:
    """Have ``draft`` run, here or by an agent of ``queue``, and show it; returns the exit code of how it ended."""
    place = draft.workspace
    if queue is None:
        return _drive(draft, lambda: place.start(draft.id, options), plain=plain, as_json=as_json)
    place.enqueue(draft.id, queue=queue, options=options)
    try:
        return _drive(draft, draft.wait, plain=plain, as_json=as_json)
    except KeyboardInterrupt:
        click.echo(f"{draft.label} stays in queue {queue}; `hpo abort {draft.label}` stops it", err=True)
        raise


def _drive(draft: Run, drive: Callable[[], object], *, plain: bool, as_json: bool) -> int:
    """Have ``draft`` run here by ``drive`` and show it; returns the exit code that says how it ended."""
    from hpo_pipelines.cli.describing import described
    from hpo_pipelines.cli.live import shown
    from hpo_pipelines.cli.results import exit_code, show_result
    from hpo_pipelines.cli.streams import ending_politely
    from hpo_pipelines.errors import HpoPipelinesError

    refused = False
    try:
        with ending_politely():
            if as_json:
                drive()
            else:
                with shown(draft, plain=plain or None):
                    drive()
    except SystemExit as error:
        # sys.exit() in the body ends the body, and says nothing of how the run went.
        click.echo(f"the body of {draft.label} left with sys.exit({error.code!r})", err=True)
    except HpoPipelinesError:
        refused = True  # or could not be recorded: said by whoever shows errors
        raise
    finally:
        draft = draft.last_attempt.refreshed()
        if not draft.status.finished and draft.workspace.is_driving(draft.id):
            draft.abort()  # a second Ctrl-C, while the first was being dealt with
        if as_json and not refused:
            print_json(described(draft))
    if not as_json:
        show_result(draft)
    return exit_code(draft.task)
