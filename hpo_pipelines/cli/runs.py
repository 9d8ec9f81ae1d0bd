"""Commands that start, clone and stop runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hpo_pipelines.cli.completion import complete_run, complete_step, complete_target
from hpo_pipelines.cli.options import (
    Refreshing,
    executor_option,
    found_run,
    json_option,
    parameter_option,
    print_json,
    refresh_option,
    refreshed,
    typed,
    workspace,
)

if TYPE_CHECKING:
    from hpo_pipelines.engine import RunOptions
    from hpo_pipelines.run import Run

plain_option = click.option("--plain", is_flag=True, help="Show lines instead of a tree, also on a terminal.")


@click.command(cls=Refreshing)
@click.argument("target", metavar="MODULE:PIPELINE|FILE.py:PIPELINE", shell_complete=complete_target)
@parameter_option("Set a parameter; the others keep their defaults.")
@executor_option
@refresh_option
@click.option("--tag", "tags", multiple=True, help="Tag the run.")
@plain_option
@json_option
def run(
    *,
    target: str,
    params: tuple[str, ...],
    executor: str | None,
    refresh: tuple[str, ...],
    tags: tuple[str, ...],
    plain: bool,
    as_json: bool,
) -> int:
    """Run a pipeline to its end and show its steps while they run.

    What it returns goes to standard output, everything else to standard error. The exit code is 0 when the run
    completed; `hpo --help` lists the others.
    """
    from hpo_pipelines.cli.targets import pipeline_called
    from hpo_pipelines.engine import Refresh, RunOptions

    pipeline = pipeline_called(target)
    draft = workspace().draft(pipeline, typed(pipeline, params), executor=executor, tags=tags)
    return _drive(draft, RunOptions(refresh=Refresh.of(refreshed(refresh))), plain=plain, as_json=as_json)


@click.command()
@click.argument("reference", metavar="RUN", shell_complete=complete_run)
@parameter_option("Change a parameter; the others keep the run's values.")
@executor_option
@click.option("--draft", "only_draft", is_flag=True, help="Record the clone as a draft and do not run it.")
@plain_option
@json_option
def clone(
    *,
    reference: str,
    params: tuple[str, ...],
    executor: str | None,
    only_draft: bool,
    plain: bool,
    as_json: bool,
) -> int:
    """Clone RUN with other parameters, and run the clone with the code that RUN had."""
    from hpo_pipelines.cli.describing import described
    from hpo_pipelines.engine import RunOptions

    base = found_run(reference)
    pipeline, _ = base.workspace.code(base.task)
    draft = base.workspace.clone(base.id, typed(pipeline, params), executor=executor)
    if not only_draft:
        return _drive(draft, RunOptions(), plain=plain, as_json=as_json)
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
@plain_option
@json_option
def rerun(
    *, reference: str, failed: bool, from_step: str | None, refresh: tuple[str, ...], plain: bool, as_json: bool
) -> int:
    """Run RUN again with the same code and parameters; what is unchanged is reused."""
    if failed + (from_step is not None) + bool(refresh) > 1:
        raise click.UsageError("--failed, --from and --refresh each say what to run anew: give one of them.")
    base = found_run(reference)
    draft, options = base.workspace.rerun_draft(base.id, failed=failed, from_step=from_step, refresh=refreshed(refresh))
    return _drive(draft, options, plain=plain, as_json=as_json)


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


def _drive(draft: Run, options: RunOptions, *, plain: bool, as_json: bool) -> int:
    """Run ``draft`` here and show it; returns the exit code that says how it ended."""
    from hpo_pipelines.cli.describing import described
    from hpo_pipelines.cli.live import shown
    from hpo_pipelines.cli.results import exit_code, show_result
    from hpo_pipelines.cli.streams import ending_politely

    place = draft.workspace
    try:
        with ending_politely():
            if as_json:
                place.start(draft.id, options)
            else:
                with shown(draft, plain=plain or None):
                    place.start(draft.id, options)
    except SystemExit as error:
        # sys.exit() in the body ends the body, and says nothing of how the run went.
        click.echo(f"the body of {draft.label} left with sys.exit({error.code!r})", err=True)
    finally:
        if not draft.status.finished and draft.status != "draft":
            draft.abort()  # a second Ctrl-C, while the first was being dealt with
        if as_json:
            print_json(described(draft))
    if not as_json:
        show_result(draft)
    return exit_code(draft.task)
