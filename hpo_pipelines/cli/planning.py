"""Plans of studies, what became of them, and what reaches which step, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hpo_pipelines.pipeline import Pipeline
    from hpo_pipelines.planning import Reach
    from hpo_pipelines.run import Run
    from hpo_pipelines.study.planned import ComparedStep, PlanComparison, PlannedStep, Range, StudyPlan
    from search_spaces import Space

_PLANNED = (
    "objective", "direction", "n_trials", "n_jobs", "sampler", "seed", "repeats", "executor", "reuse",
)  # fmt: skip
"""What of a study's options its plan depends on."""


_NAMED = 4
"""So many steps of which one thing is to be said are named."""


def plan(base: Pipeline[..., Any] | Run, space: Space, wanted: Mapping[str, Any], *, as_json: bool) -> int:
    """What ``hpo optimize --plan`` does."""
    from hpo_pipelines.cli.options import print_json, workspace
    from hpo_pipelines.errors import StudyError
    from hpo_pipelines.study import plan_study

    if wanted.get("fidelity") is not None:
        # How many trials climb each rung follows from their values, which no plan has.
        raise StudyError("a plan does not count the rungs of fidelity: leave --fidelity or --plan out.")
    given = {name: wanted[name] for name in _PLANNED if name in wanted}
    made = plan_study(base, space, workspace=workspace(), **given)
    if as_json:
        print_json(made.record())
    else:
        show_plan(made)
    return 0


def show_plan(made: StudyPlan) -> None:
    """A plan as a table, and what it comes to."""
    from hpo_pipelines.cli.describing import short, table

    if made.steps:
        click.echo(table([_row(step) for step in made.steps]))
    basis = "every trial followed" if made.rounds == 1 else f"{made.rounds} studies simulated with random samples"
    certainty = "at most this" if made.exact else "an estimate"
    trials = f"{made.n_trials} trial{'s' * (made.n_trials != 1)} ({made.sampler})"
    click.echo(f"{trials}, {made.n_jobs} in flight on {made.workers} workers: {certainty}, {basis}")
    click.echo(_times(made))
    for stop, share in made.stops.items():
        click.echo(f"{share:.0%} of the trials were followed only as far as: {short(stop, 200)}")


def _times(made: StudyPlan) -> str:
    if not made.steps:
        return "expected: nobody knows, since no step was followed"
    untimed = made.untimed
    if len(untimed) == len(made.steps):
        return "expected: not timed yet, since no step has run"
    said = f"expected: {_span(made.seconds)} of compute, {_span(made.wall)} until the end"
    return said + (f", without {', '.join(untimed)}, not timed yet" if untimed else "")


def _row(step: PlannedStep) -> dict[str, str]:
    from hpo_pipelines.cli.describing import duration

    return {
        "step": step.step,
        "calls": str(step.calls),
        "executions": str(step.executions),
        "each": "?" if step.each is None else duration(step.each),
        "together": "" if step.seconds is None else _span(step.seconds),
    }


def _span(seconds: Range) -> str:
    from hpo_pipelines.cli.describing import duration

    if seconds.is_certain:
        return duration(seconds.expected)
    return f"{duration(seconds.expected)} ({duration(seconds.low)}–{duration(seconds.high)})"


def show_comparison(compared: PlanComparison) -> None:
    """A study's plan against what has happened."""
    from hpo_pipelines.cli.describing import duration, table

    click.echo(f"as planned, and as it went, of {compared.plan.n_trials} and {compared.trials} trials:")
    click.echo(table([_compared(step) for step in compared.steps]))
    planned = "not timed" if len(compared.plan.untimed) == len(compared.plan.steps) else _span(compared.plan.seconds)
    wall = "" if compared.wall is None else f"; {_span(compared.plan.wall)} → {duration(compared.wall)} until the end"
    click.echo(f"compute: {planned} → {duration(compared.seconds)}{wall}")


def _compared(step: ComparedStep) -> dict[str, str]:
    from hpo_pipelines.cli.describing import duration

    planned = step.planned
    return {
        "step": step.step,
        "planned": "not foreseen" if planned is None else str(planned.executions),
        "executed": str(step.executions),
        "reused": str(step.reused),
        "each, planned": "" if planned is None or planned.each is None else duration(planned.each),
        "each": "" if step.each is None else duration(step.each),
    }


def show_reach(found: Reach) -> None:
    """A row for each step, a column for each parameter, and below how the uncertain ones come about."""
    from hpo_pipelines.cli.describing import table

    if not found.cells:
        click.echo("the body calls no step")
    else:
        click.echo(
            table([{"step": step, **{name: row[name].said for name in row}} for step, row in found.cells.items()])
        )
    alike: dict[tuple[str, str], list[str]] = {}
    for step, row in found.cells.items():
        for name, cell in row.items():
            if cell.how:
                alike.setdefault((name, f"{cell.verdict}, {cell.how}"), []).append(step)
    for (name, how), steps in alike.items():
        more = f" and {len(steps) - _NAMED} more" if len(steps) > _NAMED else ""
        click.echo(f"  {name} → {', '.join(steps[:_NAMED])}{more}: {how}")
    for stop in found.stops:
        click.echo(f"not followed further: {stop}")
    for step, row in found.cells.items():
        for name, cell in row.items():
            if cell.agrees is False:
                click.echo(f"keys of {step} differ with {name}, which cannot reach it: is some step random?", err=True)
