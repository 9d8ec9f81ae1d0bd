"""``hpo plan``: what a run would do, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hpo_pipelines.cli.completion import complete_run, complete_target
from hpo_pipelines.cli.options import (
    Refreshing,
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
    from click.shell_completion import CompletionItem

    from hpo_pipelines.planning import Plan, PlannedStep
    from hpo_pipelines.run import Run


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Runs, or where none is called like this, files."""
    return complete_run(ctx, param, incomplete) or complete_target(ctx, param, incomplete)


@click.command(cls=Refreshing)
@click.argument("target", metavar="PIPELINE|RUN", shell_complete=_complete)
@parameter_option("Set a parameter; the others keep their defaults, or the run's values.")
@refresh_option
@click.option("--reach", "reaching", is_flag=True, help="Say which parameters reach which step instead.")
@json_option
def plan(*, target: str, params: tuple[str, ...], refresh: tuple[str, ...], reaching: bool, as_json: bool) -> int:
    """Say which steps would be reused and which would run, and for how long, without running any.

    For MODULE:PIPELINE or FILE.py:PIPELINE with its code as it is now, for RUN with the code it was recorded with. The
    pipeline's body runs, its steps do not: what comes after a look at something unknown cannot be said.
    """
    from hpo_pipelines.engine import Refresh

    base = _base(target)
    if reaching:
        return _reach(base, params, as_json=as_json)
    if isinstance(base, str):
        from hpo_pipelines.cli.targets import pipeline_called

        pipeline = pipeline_called(base)
        made = workspace().plan(pipeline, typed(pipeline, params), refresh=Refresh.of(refreshed(refresh)))
    else:
        pipeline, _ = base.workspace.code(base.task)
        made = base.workspace.plan(base, typed(pipeline, params), refresh=Refresh.of(refreshed(refresh)))
    if as_json:
        print_json(made.record())
    else:
        _show(made)
    return 0


def _reach(base: Run | str, params: tuple[str, ...], *, as_json: bool) -> int:
    from hpo_pipelines.cli.planning import show_reach
    from hpo_pipelines.planning import reach

    place = workspace() if isinstance(base, str) else base.workspace
    if isinstance(base, str):
        from hpo_pipelines.cli.targets import pipeline_called

        pipeline = pipeline_called(base)
        found = reach(place, pipeline, typed(pipeline, params))
    else:
        found = reach(place, base, typed(place.code(base.task)[0], params))
    if as_json:
        print_json(found.record())
    else:
        show_reach(found)
    return 0


def _base(target: str) -> Run | str:
    """The run that ``target`` names, or ``target`` itself where it names a pipeline, or a chain by its file."""
    from hpo_pipelines.cli.targets import CHAIN_FILES

    return target if ":" in target or target.endswith((".py", *CHAIN_FILES)) else found_run(target)


def _show(made: Plan) -> None:
    from hpo_pipelines.cli.describing import table

    if made.steps:
        click.echo(table([_row(step) for step in made.steps]))
    if made.stop is not None:
        at = f"{made.stop.place}: " if made.stop.place else ""
        click.echo(f"the plan ends at {at}{made.stop.reason}")
    click.echo(_totals(made))


def _row(step: PlannedStep) -> dict[str, str]:
    from hpo_pipelines.cli.describing import duration, short

    verdict = {"run": "will run", "reuse": "reused"}.get(step.verdict, step.verdict)
    took = "" if step.verdict == "reuse" else duration(step.seconds) or "?"
    return {"step": step.name, "verdict": verdict, "expected": took, "reason": short(step.reason, 100)}


def _totals(made: Plan) -> str:
    from hpo_pipelines.cli.describing import duration

    totals = made.totals
    counts = [f"{totals.run} will run", f"{totals.reuse} reused", f"{totals.unknown} unknown"]
    if totals.untimed and totals.untimed == totals.run + totals.unknown:
        times = "not timed yet"
    else:
        times = f"{duration(totals.seconds)} one after the other, {duration(totals.critical_seconds)} in parallel"
        if totals.unknown:
            times += f"; with those unknown at most {duration(totals.at_most)} and {duration(totals.critical_at_most)}"
        times += f", without the {totals.untimed} not timed yet" if totals.untimed else ""
    return f"{', '.join(counts)}; expected: {times}" + ("" if made.complete else "; and what comes after")
