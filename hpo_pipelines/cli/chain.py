"""``hpo chain``: pipelines made of recorded tasks, from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hpo_pipelines.cli.completion import complete_target
from hpo_pipelines.cli.options import (
    Refreshing,
    executor_option,
    json_option,
    parameter_option,
    print_json,
    queue_option,
    refresh_option,
    reuse_option,
    typed,
    workspace,
)
from hpo_pipelines.cli.runs import plain_option, started

if TYPE_CHECKING:
    from hpo_pipelines.chain import Definition


@click.command(cls=Refreshing)
@click.argument("file", metavar="FILE", shell_complete=complete_target)
@parameter_option("Set a parameter; the others keep their defaults.")
@executor_option
@queue_option
@refresh_option
@reuse_option
@click.option("--tag", "tags", multiple=True, help="Tag the run.")
@click.option("--check", is_flag=True, help="Say what the chain is, and run nothing.")
@plain_option
@json_option
def chain(
    *, file: str, params: tuple[str, ...], executor: str | None, tags: tuple[str, ...], check: bool, **how: Any
) -> int:
    """Run the chain in FILE (YAML, TOML or JSON): recorded steps and runs put together.

    Each step runs with the code that its task was recorded with. What is wrong in FILE is said with its line, before
    anything runs. The run is one like any other: `hpo clone` it with other parameters, `hpo optimize` it.
    """
    from hpo_pipelines.assembly import load_chain

    made = load_chain(file, workspace=workspace())
    if check:
        return _show(made.definition, as_json=how["as_json"])
    draft = workspace().draft(made, typed(made, params), executor=executor, tags=tags)
    queue = how.pop("queue")
    return started(draft, queue, **how)


def _show(definition: Definition, *, as_json: bool) -> int:
    if as_json:
        print_json(definition.data())
        return 0
    for step in definition:
        before = ", ".join(sorted(step.called_before | step.over_before))
        when = f", when {step.when}" if step.when else ""
        click.echo(f"{step.name}: {step.task}{f', after {before}' if before else ''}{when}")
    return 0
