"""``hpo why``: why steps were reused, or ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hpo_pipelines.cli.completion import complete_run, complete_step
from hpo_pipelines.cli.options import found, json_option, print_json

if TYPE_CHECKING:
    from hpo_pipelines.reasons import Why

_COLOURS = {"reused": "cyan", "ran": "green", "runs": "blue", "skipped": "bright_black", "stopped": "yellow"}


@click.command()
@click.argument("reference", metavar="RUN[/STEP]", shell_complete=complete_run)
@click.argument("step", required=False, shell_complete=complete_step)
@json_option
def why(*, reference: str, step: str | None, as_json: bool) -> int:
    """Say why each step of RUN was reused, or ran; for one step (RUN/STEP or RUN STEP), with what changed.

    A step that ran is compared with the nearest earlier execution of its component: arguments, inputs and the steps
    they come from, code as a diff, packages, environment.
    """
    from hpo_pipelines.runstep import RunStep

    thing = found(reference, step)
    if isinstance(thing, RunStep):
        one = thing.why()
        if as_json:
            print_json(one.record())
        else:
            click.echo(str(one))
        return 0
    every = thing.why()
    if as_json:
        print_json({"run": thing.label, "id": thing.id, "steps": [one.record() for one in every]})
    elif every:
        click.echo("\n".join(_lines(every)))
        if any(change.diff for one in every for change in one.changes):
            click.echo(f"the changes themselves: hpo why {thing.label} STEP", err=True)
    else:
        click.echo(f"{thing.label} has no steps.", err=True)
    return 0


def _lines(every: tuple[Why, ...]) -> list[str]:
    """A line for each step; steps of runs inside under what their run is called in this one."""
    names = [one.path for one in every]
    width, verdicts = max(map(len, names)), max(len(one.verdict) for one in every)
    rows = []
    for name, one in zip(names, every, strict=True):
        verdict = click.style(one.verdict.ljust(verdicts), fg=_COLOURS.get(one.verdict))
        rows.append(f"{name:<{width}}  {verdict}  {_reason(one)}")
    return rows


def _reason(one: Why) -> str:
    from hpo_pipelines.cli.describing import when

    said = one.reason
    if one.verdict == "reused":
        said = said.removeprefix("reused ")
        said += f", {when(one.origin.at)}" if one.origin is not None and one.origin.at is not None else ""
    return f"{said}; failed: {one.failure}" if one.failure else said
