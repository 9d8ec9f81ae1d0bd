"""``hpo cache``: what is kept for reuse, in hand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpo_pipelines.cli.options import json_option, print_json, workspace

if TYPE_CHECKING:
    from hpo_pipelines.artifacts import ArtifactStore
    from hpo_pipelines.cache import Damage
    from hpo_pipelines.types import ArtifactRef


@click.group()
def cache() -> None:
    """Look at what is kept for reuse, shrink it, and check it.

    What a step gave is kept under a key, and stands in for the step wherever the same work comes up again. Nothing is
    ever removed unless you ask for it here.
    """


@cache.command()
@click.option("--component", metavar="NAME", help="Only this component.")
@click.option("--keys", is_flag=True, help="List each outcome with its key, the last used first.")
@json_option
def ls(*, component: str | None, keys: bool, as_json: bool) -> int:
    """List what is kept, by component, largest first.

    SIZE is that of distinct artifacts of outcomes, in files or in the store; SAVED is, for each time that an outcome
    was reused, how long computing it took.
    """
    if keys:
        return _ls_keys(component, as_json=as_json)
    from hpo_pipelines.cache import usage
    from hpo_pipelines.cli.describing import duration, table, when
    from hpo_pipelines.cli.kept import bytes_text, counted

    place = workspace()
    found, size = usage(place.store, component)
    if as_json:
        for one in found:
            print_json(vars(one))
        return 0
    if not found:
        what = f"of component {component!r} " if component else ""
        click.echo(f"Nothing {what}is kept for reuse in {place.home}.", err=True)
        return 0
    rows = [
        {
            "component": one.component,
            "outcomes": str(one.outcomes),
            "size": bytes_text(one.size),
            "hits": str(one.hits),
            "saved": duration(one.saved),
            "last used": when(one.used_at),
        }
        for one in found
    ]
    click.echo(table(rows))
    outcomes, saved = sum(one.outcomes for one in found), sum(one.saved for one in found)
    click.echo(
        f"{counted(outcomes, 'outcome')}, {bytes_text(size)} in distinct artifacts, {duration(saved)} saved", err=True
    )
    return 0


def _ls_keys(component: str | None, *, as_json: bool) -> int:
    from hpo_pipelines.cache import outcomes
    from hpo_pipelines.cli.describing import duration, table, when
    from hpo_pipelines.cli.kept import bytes_text, step_label

    place = workspace()
    found = outcomes(place.store, component)
    if as_json:
        for one, size in found:
            print_json(
                {
                    "key": one.id,
                    "component": one.component,
                    "task": one.task,
                    "size": size,
                    "seconds": one.seconds,
                    "hits": one.hits,
                    "used_at": one.used_at,
                }
            )
        return 0
    if not found:
        click.echo(f"Nothing is kept for reuse in {place.home}.", err=True)
        return 0
    rows = [
        {
            "key": one.id[:12],
            "computed by": step_label(place, one.task),
            "size": bytes_text(size),
            "took": duration(one.seconds),
            "hits": str(one.hits),
            "last used": when(one.used_at),
        }
        for one, size in found
    ]
    click.echo(table(rows))
    return 0


@cache.command()
@click.argument("key", metavar="KEY")
@json_option
def show(*, key: str, as_json: bool) -> int:
    """Show an outcome: who computed it, the parts of its key, its outputs. The beginning of KEY is enough."""
    from hpo_pipelines.cache import outcome_called
    from hpo_pipelines.cli.kept import described_outcome, show_outcome

    place = workspace()
    entry = outcome_called(place.store, key)
    if as_json:
        print_json(described_outcome(place, entry))
    else:
        show_outcome(place, entry)
    return 0


@cache.command()
@click.argument("keys", metavar="KEY…", nargs=-1)
@click.option("--component", metavar="NAME", help="Every outcome of this component.")
@json_option
def rm(*, keys: tuple[str, ...], component: str | None, as_json: bool) -> int:
    """Forget outcomes, so that their steps run again the next time.

    Runs keep their outputs; `hpo cache gc` frees what nobody needs any more. The beginning of each KEY is enough.
    """
    from hpo_pipelines.cache import outcome_called
    from hpo_pipelines.cli.kept import counted
    from hpo_pipelines.errors import TaskNotFound

    if bool(keys) == (component is not None):
        raise click.UsageError("say what to forget: either KEY…, or --component NAME.")
    store = workspace().store
    if component is not None:
        named = store.cache.keys(component)
        if not named:
            raise TaskNotFound(
                f"no outcome of a component {component!r} is kept; `hpo cache ls` lists those there are."
            )
    else:
        named = [outcome_called(store, key).key for key in keys]
    forgotten = store.cache.forget(*dict.fromkeys(named))
    if as_json:
        print_json({"forgotten": forgotten})
    else:
        click.echo(f"forgot {counted(forgotten, 'outcome')}")
    return 0


@cache.command()
@click.option("--older", metavar="TIME", help="Forget outcomes that were not used for so long, such as 30d.")
@click.option("--keep-size", metavar="SIZE", help="Forget more, until the files have at most this size, such as 50GB.")
@click.option(
    "--runs-older", metavar="TIME", help="Delete runs, and whole studies, that ended so long ago, such as 90d."
)
@click.option(
    "--unknown/--no-unknown",
    default=None,
    help="Sweep files that no record names; by default where the artifacts lie in the workspace's own folder. Never do "
    "where another store keeps its artifacts in the same place: they would go.",
)
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
@json_option
def gc(
    *,
    older: str | None,
    keep_size: str | None,
    runs_older: str | None,
    unknown: bool | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Forget what was not used for long, least recently used first, and sweep the files that nobody needs.

    What a run returned stays as long as the run, and so do its code and, until it is over, the outputs of its steps.
    Outputs of steps of finished runs go like outcomes: by when they were last used. Only --runs-older deletes runs.
    Without --older and --keep-size, only what nobody needs at all is swept.

    Runs may go on meanwhile. Files less than an hour old, or written since the oldest run under way began, stay.
    """
    from hpo_pipelines.cache import Limits, collect
    from hpo_pipelines.cli.kept import described_collection, show_collection
    from hpo_pipelines.study.keeping import forget_in_optuna

    place = workspace()
    limits = Limits(
        older=_seconds(older),
        keep_size=_bytes(keep_size),
        runs_older=_seconds(runs_older),
        unknown=_is_own(place.home, place.artifacts) if unknown is None else unknown,
    )
    done = collect(place.store, place.artifacts, place.home, limits, dry_run=dry_run)
    if not dry_run:
        for line in forget_in_optuna(place, done.removed.studies):
            click.echo(line, err=True)
    if as_json:
        print_json(described_collection(done))
    else:
        show_collection(done)
    return 0


@cache.command()
@click.option(
    "--repair", "repairing", is_flag=True, help="Forget outcomes that are damaged, so that their steps run again."
)
@json_option
def verify(*, repairing: bool, as_json: bool) -> int:
    """Read the bytes of every artifact, and compare them with its digest.

    Exits with the code of ArtifactCorrupt, or ArtifactMissing, when something is damaged. With --repair, damaged
    outcomes are forgotten and damaged files removed; what runs returned can only be made again by running them.
    """
    from hpo_pipelines.cache import repair
    from hpo_pipelines.cache import verify as check
    from hpo_pipelines.cli.kept import counted, described_verification, show_verification

    place = workspace()
    with _progress(sum(place.store.holdings.sizes().values()), shown=not as_json) as seen:
        found = check(place.store, place.artifacts, seen=seen)
    forgotten, removed = repair(place.store, place.artifacts, found.damages) if repairing else (0, 0)
    if as_json:
        print_json(described_verification(found, forgotten, removed))
    else:
        show_verification(found)
        if repairing and found.damages:
            click.echo(f"forgot {counted(forgotten, 'outcome')}, removed {counted(removed, 'damaged file')}", err=True)
    return _exit_code([damage for damage in found.damages if damage.lasting or not repairing])


def _exit_code(damages: list[Damage]) -> int:
    """0 without any; else that of the worst: corrupt is worse than missing."""
    from hpo_pipelines.errors import outcome_of

    errors = sorted((damage.error for damage in damages), key=lambda error: outcome_of(error).exit_code)
    return outcome_of(errors[0]).exit_code if errors else 0


@contextmanager
def _progress(size: int, *, shown: bool) -> Iterator[Callable[[ArtifactRef], None]]:
    """Called with each artifact that was read; a bar on a terminal, over ``size`` bytes in all."""
    if not shown or not sys.stderr.isatty():
        yield lambda ref: None
        return
    with click.progressbar(length=size, label="reading", file=sys.stderr) as bar:
        yield lambda ref: bar.update(ref.size)


def _is_own(home: Path, artifacts: ArtifactStore) -> bool:
    """Whether the artifacts lie in the workspace's own folder, where nobody else keeps any."""
    return "://" not in artifacts.url and Path(artifacts.url).is_relative_to(home)


def _seconds(text: str | None) -> float | None:
    from hpo_pipelines.types import duration

    return None if text is None else duration(_quantity(text))


def _bytes(text: str | None) -> int | None:
    from hpo_pipelines.types import size

    return None if text is None else size(_quantity(text))


def _quantity(text: str) -> int | str:
    """A plain number is one of seconds, or bytes, as it is in Python."""
    return int(text) if text.isdigit() else text
