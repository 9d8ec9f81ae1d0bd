"""What is kept for reuse, as JSON and as text: one outcome, a collection, a verification."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hpo_pipelines.cache import Collected, Damage, Verified
    from hpo_pipelines.cache.collection import Tally
    from hpo_pipelines.task import CacheEntry
    from hpo_pipelines.workspace import Workspace

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_DAMAGES = 20
"""How many are shown of each kind of damage; all are in the JSON."""


def bytes_text(size: float) -> str:
    """``size`` bytes as a person reads them: ``1.5 GB``, in powers of 1000 as disks and ``--keep-size`` count."""
    unit = 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 99.5 else f"{size:.2g} {_UNITS[unit]}"


def counted(count: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


# -- one outcome


def described_outcome(place: Workspace, entry: CacheEntry) -> dict[str, Any]:
    """An outcome as JSON."""
    outputs = {
        name: {
            "digest": ref.digest,
            "size": ref.size,
            "format": ref.format,
            "preview": dict(ref.preview),
            "there": place.artifacts.exists(ref),
        }
        for name, ref in entry.outputs.items()
    }
    return {
        "key": entry.key,
        "component": entry.component,
        "step": step_label(place, entry.task),
        "task": entry.task,
        "created_at": entry.created_at,
        "seconds": entry.seconds,
        "hits": entry.hits,
        "hit_at": entry.hit_at,
        "saved": entry.hits * entry.seconds,
        "parts": dict(entry.parts),
        "outputs": outputs,
    }


def show_outcome(place: Workspace, entry: CacheEntry) -> None:
    """An outcome as text."""
    from hpo_pipelines.cli.describing import duration, picture, short, when

    click.echo(f"{click.style(entry.component, bold=True)}  {entry.key}")
    hits = f"{entry.hits}, saving {duration(entry.hits * entry.seconds)}" if entry.hits else "none"
    facts = {
        "computed by": step_label(place, entry.task),
        "at": when(entry.created_at),
        "took": duration(entry.seconds),
        "hits": hits,
        "last hit": when(entry.hit_at),
    }
    for name, value in facts.items():
        if value:
            click.echo(f"  {name:<12} {value}")
    click.echo("\noutputs")
    for name, ref in entry.outputs.items():
        lost = "" if place.artifacts.exists(ref) else click.style("  its bytes are gone", fg="red")
        click.echo(f"  {name} = {short(picture(ref.preview), 80)}  ({ref.format}, {bytes_text(ref.size)}){lost}")
    click.echo("\nkey")
    for name, value in parts_lines(entry.parts):
        click.echo(f"  {name} = {short(value, 80)}")


def parts_lines(parts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """The parts of a key as names and values: what is inside a mapping as ``packages pandas``; nothing of the empty."""
    for name, value in parts.items():
        if isinstance(value, Mapping):
            yield from parts_lines(value, f"{above}{name} ")
        elif isinstance(value, list | tuple):
            if value:
                yield f"{above}{name}", ", ".join(map(str, value))
        elif value is not None:
            yield f"{above}{name}", str(value)


def step_label(place: Workspace, step: str) -> str:
    """``churn#48/fit``; the id of a task that is no longer there."""
    from hpo_pipelines.errors import TaskNotFound

    try:
        task = place.store.tasks.get(step)
        return f"{place.store.tasks.get(task.parent).label}/{task.name}" if task.parent else task.label
    except TaskNotFound:
        return step


# -- a collection


def described_collection(done: Collected) -> dict[str, Any]:
    """What ``hpo cache gc --json`` prints; files as ``{"files", "size"}``, sizes in bytes."""
    removed = done.removed
    return {
        "dry_run": done.dry_run,
        "studies": [study.name for study in removed.studies],
        "runs": [run.label for run in removed.runs],
        "steps": len(removed.steps),
        "outcomes": [*removed.outcomes, *(outcome.id for outcome in done.outcomes)],
        "swept": asdict(done.swept),
        "young": asdict(done.young),
        "unknown": asdict(done.unknown),
        "left": asdict(done.left),
        "needed": done.needed,
        "records": done.records,
        "under_way_since": done.under_way_since,
    }


def show_collection(done: Collected) -> None:
    """What a collection did, and why it did not do more."""
    from hpo_pipelines.cli.describing import when

    would = "would be " if done.dry_run else ""
    removed = done.removed
    if removed.tasks:
        what = [counted(len(removed.runs), "run"), counted(len(removed.steps), "step")]
        what += [counted(len(removed.studies), "study").replace("studys", "studies")] if removed.studies else []
        click.echo(f"{', '.join(what)} {would}deleted")
    by_component: dict[str, int] = {}
    for outcome in done.outcomes:
        by_component[outcome.component] = by_component.get(outcome.component, 0) + 1
    named = ", ".join(f"{name} {count}" for name, count in sorted(by_component.items()))
    gone = len(done.outcomes) + len(removed.outcomes)
    click.echo(f"{counted(gone, 'outcome')} {would}forgotten{f': {named}' if named else ''}")
    kinds = " of outcomes, runs and code" if done.left.files else ""
    click.echo(f"{_files(done.swept)} {would}swept; {_files(done.left)} left{kinds}")
    if done.young.files:
        since = f", or since the oldest run under way began ({when(done.under_way_since)})"
        click.echo(
            f"{_files(done.young)} nobody needs, written less than an hour ago"
            f"{since if done.under_way_since else ''}: a later gc takes them",
            err=True,
        )
    if done.unknown.files:
        click.echo(
            f"{_files(done.unknown)} no record names: --unknown sweeps them, unless they are another store's", err=True
        )
    if done.needed:
        click.echo(f"{bytes_text(done.needed)} of what is left stays as long as its runs: see --runs-older", err=True)


def _files(tally: Tally) -> str:
    return f"{counted(tally.files, 'file')} ({bytes_text(tally.size)})"


# -- a verification


def described_verification(found: Verified, forgotten: int, removed: int) -> dict[str, Any]:
    """What ``hpo cache verify --json`` prints."""
    return {
        "artifacts": found.artifacts,
        "size": found.size,
        "gone": found.gone,
        "damaged": [_described_damage(damage) for damage in found.damages],
        "forgotten": forgotten,
        "removed": removed,
    }


def _described_damage(damage: Damage) -> dict[str, Any]:
    return {
        "digest": damage.ref.digest,
        "what": "missing" if damage.missing else "corrupt",
        "message": str(damage.error),
        "size": damage.ref.size,
        "outcomes": list(damage.outcomes),
        "outputs": list(damage.holders),
        "outputs_in_all": damage.held,
        "lasting": damage.lasting,
    }


def show_verification(found: Verified) -> None:
    """What was read, and what is wrong, with who has it."""
    for damage in found.damages[:_DAMAGES]:
        what = click.style("missing" if damage.missing else "corrupt", fg="red")
        click.echo(f"{what}  {damage.ref.digest}  {bytes_text(damage.ref.size)}")
        if not damage.missing:
            click.echo(f"  {str(damage.error).partition(': ')[2].partition('. ')[0]}")
        more = f" and {damage.held - len(damage.holders)} more" if damage.held > len(damage.holders) else ""
        if damage.holders:
            click.echo(f"  output  {', '.join(damage.holders)}{more}")
        for key in damage.outcomes:
            click.echo(f"  outcome {key}")
    if len(found.damages) > _DAMAGES:
        click.echo(f"and {len(found.damages) - _DAMAGES} more: --json lists them all")
    missing = sum(damage.missing for damage in found.damages)
    damaged = f"{missing} missing, {len(found.damages) - missing} corrupt" if found.damages else "all are as written"
    read = f"{counted(found.artifacts, 'artifact')} of outcomes, runs and code read, in files and in the store"
    click.echo(f"{read} ({bytes_text(found.size)}): {damaged}")
