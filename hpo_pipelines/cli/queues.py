"""Commands about queues: ``enqueue``, ``queues``, ``agent``."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from hpo_pipelines.cli.completion import complete_target
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

LARGEST = 2**31 - 1
"""What the store holds."""

if TYPE_CHECKING:
    from hpo_pipelines.agent import Agent
    from hpo_pipelines.run import Run
    from hpo_pipelines.store.queues import Queues, QueueState
    from hpo_pipelines.workspace import Workspace


@click.command(cls=Refreshing)
@click.argument("target", metavar="MODULE:PIPELINE|FILE.py:PIPELINE|DRAFT", shell_complete=complete_target)
@parameter_option("Set a parameter; the others keep their defaults.")
@click.option("--queue", metavar="QUEUE", help="The queue; default: services.")
@click.option("--priority", type=click.IntRange(-LARGEST, LARGEST), help="Higher goes first; default: 0.")
@executor_option
@refresh_option
@click.option("--no-reuse", is_flag=True, help="Reuse no outcome, and leave none for others to reuse.")
@click.option("--tag", "tags", multiple=True, help="Tag the run.")
@json_option
def enqueue(
    *,
    target: str,
    params: tuple[str, ...],
    queue: str | None,
    priority: int | None,
    executor: str | None,
    refresh: tuple[str, ...],
    no_reuse: bool,
    tags: tuple[str, ...],
    as_json: bool,
) -> int:
    """Have a run of a pipeline, or a draft (churn#7), wait in a queue until an agent drives it.

    A run that waits already is moved: to another queue, or by its priority within the same. What is not given stays.
    """
    from hpo_pipelines.engine import Refresh, RunOptions

    place = workspace()
    waiting = _waiting(target)
    if waiting is None or queue is not None:
        place.settings.queue(queue or "services")  # refused before anything is recorded
    if waiting is None:
        from hpo_pipelines.cli.targets import pipeline_called

        pipeline = pipeline_called(target)
        waiting = place.draft(pipeline, typed(pipeline, params), executor=executor, tags=tags)
    elif params or executor or tags:
        raise click.UsageError(
            f"{waiting.label} is recorded with its own parameters; `hpo clone --queue` makes one with others."
        )
    options = None  # of one that waits already: as it is
    if refresh or no_reuse:
        options = RunOptions(refresh=Refresh.of(refreshed(refresh)), reuse=not no_reuse)
    say_enqueued(place.enqueue(waiting.id, queue=queue, priority=priority, options=options), as_json=as_json)
    return 0


def _waiting(target: str) -> Run | None:
    """The recorded run that ``target`` names, None if it names a pipeline."""
    return None if ":" in target else found_run(target)


def say_enqueued(run: Run, *, as_json: bool) -> None:
    """Say that ``run`` waits, and what for."""
    from hpo_pipelines.cli.describing import described

    if as_json:
        print_json(described(run))
    else:
        click.echo(f"{run.label} is in queue {run.task.queue}; {run.reason}")


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def queues(context: click.Context, *, as_json: bool) -> int:
    """Show the queues: what waits in each, what is under way, who listens, and what serves their steps."""
    if context.invoked_subcommand is None:
        _list(workspace(), as_json=as_json)
    return 0


def _list(place: Workspace, *, as_json: bool) -> None:
    from hpo_pipelines.cli.describing import table
    from hpo_pipelines.description import described_queues

    rows = described_queues(place.store, place.settings)
    if as_json:
        for row in rows:
            print_json(row)
        return
    click.echo(
        table(
            [
                {
                    "queue": row["queue"],
                    "waiting": str(row["waiting"]),
                    "running": str(row["running"]) + ("" if row["capacity"] is None else f" of {row['capacity']}"),
                    "agents": ", ".join(f"{one['name']} ({one['runs']} of {one['max_runs']})" for one in row["agents"])
                    or "none",
                    "state": "paused" if row["paused"] else "open",
                    "served by": _served(row),
                }
                for row in rows
            ]
        )
    )


def _served(row: dict[str, Any]) -> str:
    if not row["declared"]:
        return "not declared here"
    parts = [f"{name}={value}" for name, value in row["labels"].items()]
    parts += [f"{amount:g} {name}" for name, amount in row["resources"].items()]
    return ", ".join(parts) or "any node"


@queues.command()
@click.argument("name", metavar="QUEUE")
def pause(*, name: str) -> int:
    """Give agents no more runs of QUEUE; what is under way goes on."""
    return _say_state(_declared(name).pause(name))


@queues.command()
@click.argument("name", metavar="QUEUE")
def resume(*, name: str) -> int:
    """Give agents runs of QUEUE again."""
    return _say_state(_declared(name).pause(name, paused=False))


@queues.command()
@click.argument("name", metavar="QUEUE")
@click.argument("runs", metavar="RUNS|none")
def limit(*, name: str, runs: str) -> int:
    """Let at most RUNS runs of QUEUE be driven at once, over all agents."""
    if runs != "none" and not (runs.isdecimal() and 0 < int(runs) <= LARGEST):
        raise click.UsageError(f"{runs!r}: a limit is a number of runs, 1 or more, or none.")
    return _say_state(_declared(name).limit(name, None if runs == "none" else int(runs)))


@queues.command()
@click.argument("name", metavar="QUEUE")
@json_option
def show(*, name: str, as_json: bool) -> int:
    """List what waits in QUEUE, next first."""
    from hpo_pipelines.cli.describing import table, when

    place = workspace()
    line = place.store.queues.line(name)
    if not line:  # a queue that is declared no more is listed while runs wait in it
        place.settings.queue(name)
    runs = place.store.tasks.get_all([entry.task for entry in line])
    if not as_json and not line:
        click.echo(f"nothing waits in {name}", err=True)
    elif not as_json:
        shown = [
            {"run": runs[entry.task].label, "priority": str(entry.priority), "since": when(entry.at)} for entry in line
        ]
        click.echo(table(shown))
    for entry in line if as_json else ():
        label = runs[entry.task].label
        print_json({"run": label, "id": entry.task, "priority": entry.priority, "since": entry.at})
    return 0


def _declared(name: str) -> Queues:
    """The queues of the store. Raises ConfigError if ``name`` is not declared."""
    place = workspace()
    place.settings.queue(name)
    return place.store.queues


def _say_state(state: QueueState) -> int:
    limit = "" if state.capacity is None else f", at most {state.capacity} of its runs under way"
    click.echo(f"{state.name} is {'paused' if state.paused else 'open'}{limit}")
    return 0


@click.command()
@click.option("--queue", "names", multiple=True, metavar="QUEUE", help="Take runs from this queue; as often as wanted.")
@click.option("--max-runs", type=click.IntRange(1), default=8, show_default=True, help="Runs under way at a time.")
@click.option("--until-idle", is_flag=True, help="End when nothing waits and nothing is under way.")
@executor_option
def agent(*, names: tuple[str, ...], max_runs: int, until_idle: bool, executor: str | None) -> int:
    """Take runs from queues (default: services and default) and drive them.

    The first SIGTERM or Ctrl-C lets the runs under way end; the second leaves them to other agents, which go on from
    their journals.
    """
    from hpo_pipelines.agent import Agent
    from hpo_pipelines.schedules import Firing

    place = workspace()
    if executor is not None:
        place.engine.default_executor = executor
    taking = Agent(place, names or ("services", "default"), max_runs=max_runs)
    with _heeding(taking), Firing(place).beside() as firing:
        said = f"agent of {', '.join(taking.queues)}: at most {max_runs} runs at a time; Ctrl-C drains it"
        click.echo(said, err=True)
        taking.run(until_idle=until_idle, last_look=firing.look, idle_besides=lambda: firing.is_idle)
    click.echo(f"{taking.driven} run{'' if taking.driven == 1 else 's'} driven", err=True)
    return 0


@contextmanager
def _heeding(taking: Agent) -> Iterator[None]:
    """Have the agent drain at the first SIGTERM or SIGINT, and end at the second."""
    from hpo_pipelines.cli.streams import Terminated

    heard = 0

    def heed(number: int, frame: object) -> None:
        nonlocal heard
        heard += 1
        if heard == 1:
            click.echo("finishing what is under way; once more leaves it to other agents", err=True)
            taking.drain()
        else:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    before = {one: signal.signal(one, heed) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
