"""``hpo schedule``: runs and studies that agents start by the clock, or when something happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hpo_pipelines.cli.completion import complete_target
from hpo_pipelines.cli.options import (
    found_run,
    json_option,
    parameter_option,
    print_json,
    typed,
    workspace,
)

if TYPE_CHECKING:
    from hpo_pipelines.schedules.trigger import Trigger
    from hpo_pipelines.store.schedules import Schedule


@click.group()
def schedule() -> None:
    """Have agents (hpo agent, hpo up) start runs and studies by the clock, or when something happens."""


@schedule.command()
@click.argument("words", metavar='["MINUTE HOUR DAY MONTH WEEKDAY"] TARGET', nargs=-1, shell_complete=complete_target)
@parameter_option("Set a parameter; the others keep their defaults, or those of the run.")
@click.option("--after", metavar="PIPELINE", help="Start it when a run of [PROJECT/]PIPELINE has completed.")
@click.option("--on-tag", metavar="TAG", help="Start it when a run with this tag appears.")
@click.option("--tz", "zone", default="UTC", show_default=True, help="The time zone, such as Europe/Prague.")
@click.option("--name", help="What the schedule is called; default: as what it starts.")
@click.option("--missed", default="once", show_default=True, metavar="once|skip", help="Times when no agent was there.")
@click.option(
    "--overlap", default="skip", show_default=True, metavar="skip|allow", help="While the one before has not ended."
)
@click.option("--queue", metavar="QUEUE", help="Where runs wait for an agent; default: services.")
@click.option("--priority", type=int, default=0, help="Higher goes first; default: 0.")
@json_option
def add(
    *,
    words: tuple[str, ...],
    params: tuple[str, ...],
    after: str | None,
    on_tag: str | None,
    zone: str,
    name: str | None,
    as_json: bool,
    **policy: Any,
) -> int:
    """Schedule TARGET: RUN, MODULE:PIPELINE, FILE.py:PIPELINE, STUDY.yaml or the file of a chain.

    A time is five fields, as in cron: hpo schedule add "0 3 * * *" churn#48 --tz Europe/Prague. What is started has the
    code of now. In texts of -P, ${trigger.id} and ${trigger.label} stand for the run that fired it, ${at} for the time.
    """
    from hpo_pipelines.schedules import Policy

    trigger, target = _trigger(words, after, on_tag, zone)
    kept = _added(trigger, target, params, name, Policy(**policy))
    if as_json:
        print_json(_described(kept))
    else:
        click.echo(f"{kept.name}: {_when(kept)}")
    return 0


def _trigger(words: tuple[str, ...], after: str | None, on_tag: str | None, zone: str) -> tuple[Trigger, str]:
    from hpo_pipelines.schedules import After, Clock, Tagged

    said = [each for each in (after, on_tag) if each is not None]
    if len(words) + len(said) != 2 or not words:
        raise click.UsageError(
            'say when and what: "0 3 * * *" TARGET, --after PIPELINE TARGET, or --on-tag TAG TARGET; a time stands in '
            "quotes."
        )
    if after is not None:
        return After(after), words[0]
    return (Tagged(on_tag), words[0]) if on_tag is not None else (Clock(words[0], zone), words[1])


def _added(trigger: Trigger, target: str, params: tuple[str, ...], name: str | None, policy: Any) -> Schedule:
    from hpo_pipelines.assembly import is_chain_file
    from hpo_pipelines.cli.studies import study_wanted
    from hpo_pipelines.schedules import add_run, add_study
    from hpo_pipelines.study.file import is_study_file

    place = workspace()
    chained = is_chain_file(target)
    if is_study_file(target) and not chained:
        base, space, options, blamed = study_wanted(target, None, params, {})
        with blamed:
            return add_study(place, trigger, base, space, options, name=name, policy=policy)
    if chained or ":" in target or target.endswith(".py"):
        from hpo_pipelines.cli.targets import pipeline_called

        pipeline = pipeline_called(target)
        return add_run(place, trigger, pipeline, typed(pipeline, params), name=name, policy=policy)
    run = found_run(target)
    pipeline, _ = place.code(run.task)
    return add_run(place, trigger, run, typed(pipeline, params), name=name, policy=policy)


@schedule.command()
@json_option
def ls(*, as_json: bool) -> int:
    """List the schedules."""
    from hpo_pipelines.cli.describing import table

    listed = [_described(each) for each in workspace().store.schedules.all()]
    if as_json:
        for each in listed:
            print_json(each)
        return 0
    if not listed:
        click.echo('no schedules; `hpo schedule add "0 3 * * *" RUN` adds one', err=True)
        return 0
    columns = ("schedule", "when", "starts", "next", "fired", "last", "said")
    click.echo(table([{name: str(each[name] or "") for name in columns} for each in listed]))
    return 0


@schedule.command()
@click.argument("name")
def pause(*, name: str) -> int:
    """Let NAME fire no more, until it is resumed."""
    store = workspace().store
    store.schedules.get(name)
    store.schedules.update(name, paused=True, next_at=None)
    click.echo(f"{name} is paused")
    return 0


@schedule.command()
@click.argument("name")
def resume(*, name: str) -> int:
    """Let NAME fire again, from now on: what it missed while it was paused is not made up for."""
    from hpo_pipelines.schedules import Clock, trigger_of

    store = workspace().store
    trigger = trigger_of(store.schedules.get(name).trigger)
    next_at = trigger.after(store.now()) if isinstance(trigger, Clock) else None
    kept = store.schedules.update(name, paused=False, next_at=next_at, cursor=store.events.last())
    click.echo(f"{name}: {_when(kept)}")
    return 0


@schedule.command()
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
def rm(*, names: tuple[str, ...]) -> int:
    """Forget schedules; what they have started stays."""
    store = workspace().store
    for name in names:
        store.schedules.remove(name)
        click.echo(f"{name} is removed")
    return 0


@schedule.command()
@click.argument("name")
def fire(*, name: str) -> int:
    """Have an agent start what NAME starts now, whatever it waits for."""
    from hpo_pipelines.schedules import Firing

    started = Firing(workspace()).fire(name)
    click.echo(f"{started.label} is {started.status}")
    return 0


def _described(each: Schedule) -> dict[str, Any]:
    from hpo_pipelines.cli.describing import when
    from hpo_pipelines.schedules import trigger_of

    return {
        "schedule": each.name,
        "when": str(trigger_of(each.trigger)),
        "starts": _starts(each),
        "paused": each.paused,
        "next": _next(each),
        "next_at": each.next_at,
        "fired": each.fired,
        "last": when(each.last_at),
        "last_task": each.last_task,
        "said": each.said,
        **each.options,
    }


def _when(each: Schedule) -> str:
    from hpo_pipelines.schedules import trigger_of

    said = f"{_starts(each)} {trigger_of(each.trigger)}"
    return f"{said}; next at {_next(each)}" if each.next_at is not None else said


def _next(each: Schedule) -> str:
    from hpo_pipelines.schedules import Clock, trigger_of

    trigger = trigger_of(each.trigger)
    if each.paused:
        return "paused"
    return trigger.shown(each.next_at) if isinstance(trigger, Clock) and each.next_at is not None else ""


def _starts(each: Schedule) -> str:
    """What it starts, for a person."""
    from hpo_pipelines.errors import TaskNotFound

    base, store = each.target["base"], workspace().store
    if each.target["kind"] == "study":
        return f"study {each.target['name']}"
    try:
        if "run" in base:
            return f"a clone of {store.tasks.get(base['run']).label}"
    except TaskNotFound:
        return "a clone of a run that is gone"
    known = store.snapshots.get(base["snapshot"])
    return known.entry if known is not None else "code that is gone"
