"""``hpo rm``, ``hpo archive``, ``hpo restore``: delete runs and studies, or have them listed no more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from hpo_pipelines.cli.completion import complete_run
from hpo_pipelines.cli.options import json_option, print_json, workspace

if TYPE_CHECKING:
    from hpo_pipelines.study.keeping import Deletion


@click.command()
@click.argument("references", metavar="RUN|STUDY…", nargs=-1, required=True, shell_complete=complete_run)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
def rm(*, references: tuple[str, ...], yes: bool, as_json: bool) -> int:
    """Delete runs and studies: a run with its steps, metrics and consoles, a study with its trials.

    Refused are what is under way, a single trial, and a run whose clones are a study's trials. What other runs have
    reused stays reusable; `hpo cache gc` frees the files that nobody needs any more. In MLflow they are deleted, too;
    `mlflow gc` frees what it keeps of them.
    """
    from hpo_pipelines.study.keeping import delete, removal

    place = workspace()
    wanted = list(dict.fromkeys(place.store.tasks.find(reference).id for reference in references))
    if not yes:
        _ask(removal(place, *wanted), can_ask=not as_json)
    done = delete(place, *wanted)
    for line in done.left:
        click.echo(line, err=True)
    if as_json:
        print_json({name: value for name, value in vars(done).items() if name != "left"})
    else:
        click.echo(f"deleted {_text(done)}")
    return 0


def _ask(removed: Deletion, *, can_ask: bool) -> None:
    if not can_ask or not sys.stdin.isatty():
        raise click.UsageError(f"this deletes {_text(removed)}: say --yes where nobody can be asked.")
    click.confirm(f"delete {_text(removed)}?", abort=True, err=True)


def _text(removed: Deletion) -> str:
    """``study lr, churn#1 and 3 more runs, 12 steps``"""
    from hpo_pipelines.cli.kept import counted

    labels = removed.runs
    parts = [f"study {name}" for name in removed.studies]
    parts += labels if len(labels) <= 4 else [*labels[:3], f"{len(labels) - 3} more runs"]
    return ", ".join([*parts, counted(removed.steps, "step")])


@click.command()
@click.argument("references", metavar="RUN|STUDY…", nargs=-1, required=True, shell_complete=complete_run)
@json_option
def archive(*, references: tuple[str, ...], as_json: bool) -> int:
    """List runs and studies no more, unless `hpo ls --archived` asks; a study with its trials.

    Nothing else changes: they are found by name, and what they computed is reused. MLflow hides them as deleted.
    """
    return _keep(references, "archived", as_json=as_json)


@click.command()
@click.argument("references", metavar="RUN|STUDY…", nargs=-1, required=True, shell_complete=complete_run)
@json_option
def restore(*, references: tuple[str, ...], as_json: bool) -> int:
    """List archived runs and studies again."""
    return _keep(references, "restored", as_json=as_json)


def _keep(references: tuple[str, ...], word: str, *, as_json: bool) -> int:
    from hpo_pipelines.cli.kept import counted
    from hpo_pipelines.study import keeping
    from hpo_pipelines.types import Kind

    place = workspace()
    wanted = list(dict.fromkeys(place.store.tasks.find(reference).id for reference in references))
    changed = (keeping.archive if word == "archived" else keeping.restore)(place, *wanted)
    runs = [task.label for task in changed if task.kind is Kind.PIPELINE]
    studies = [task.label for task in changed if task.kind is Kind.STUDY]
    if as_json:
        print_json({"studies": studies, "runs": runs})
    else:
        said = (
            ", ".join([*(f"study {name}" for name in studies), *runs]) if len(runs) <= 4 else counted(len(runs), "run")
        )
        click.echo(f"{word} {said or 'nothing: it was already'}")
    return 0
