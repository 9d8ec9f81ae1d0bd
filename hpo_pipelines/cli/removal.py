"""``hpo rm``: delete runs and studies."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hpo_pipelines.cli.completion import complete_run
from hpo_pipelines.cli.options import json_option, print_json, workspace

if TYPE_CHECKING:
    from hpo_pipelines.store import Removed
    from hpo_pipelines.task import Task
    from hpo_pipelines.workspace import Workspace


@click.command()
@click.argument("references", metavar="RUN|STUDY…", nargs=-1, required=True, shell_complete=complete_run)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
def rm(*, references: tuple[str, ...], yes: bool, as_json: bool) -> int:
    """Delete runs and studies: a run with its steps, metrics and consoles, a study with its trials.

    Refused are what is under way, a single trial, and a run whose clones are a study's trials. What other runs have
    reused stays reusable; `hpo cache gc` frees the files that nobody needs any more. What MLflow shows stays there.
    """
    from hpo_pipelines.cache import delete_runs

    place = workspace()
    wanted = list(dict.fromkeys(place.store.tasks.find(reference).id for reference in references))
    if not yes:
        _ask(place.store.tasks.removal(*wanted), can_ask=not as_json)
    removed = delete_runs(place.store, place.home, *wanted)
    forget_in_optuna(place, removed.studies)
    if as_json:
        print_json(
            {
                "studies": [study.name for study in removed.studies],
                "runs": [run.label for run in removed.runs],
                "steps": len(removed.steps),
                "outcomes": list(removed.outcomes),
            }
        )
    else:
        click.echo(f"deleted {_text(removed)}")
    return 0


def _ask(removed: Removed, *, can_ask: bool) -> None:
    if not can_ask or not sys.stdin.isatty():
        raise click.UsageError(f"this deletes {_text(removed)}: say --yes where nobody can be asked.")
    click.confirm(f"delete {_text(removed)}?", abort=True, err=True)


def _text(removed: Removed) -> str:
    """``study lr, churn#1 and 3 more runs, 12 steps``"""
    from hpo_pipelines.cli.kept import counted

    labels = [run.label for run in removed.runs]
    parts = [f"study {study.name}" for study in removed.studies]
    parts += labels if len(labels) <= 4 else [*labels[:3], f"{len(labels) - 3} more runs"]
    return ", ".join([*parts, counted(len(removed.steps), "step")])


def forget_in_optuna(place: Workspace, studies: Sequence[Task]) -> None:
    """Delete ``studies`` in the Optuna storages that they name, or a new one of their name would go on from there."""
    for study in studies:
        url = study.params.get("storage")
        if url is None:
            continue  # its journal went with it
        from hpo_pipelines.study.sampling import storage

        try:
            optuna = storage(str(url), place.home, study.id)
            optuna.delete_study(optuna.get_study_id_from_name(study.name))
        except Exception as error:  # noqa: BLE001 - of any driver; our own records are gone, and that is what was asked
            click.echo(f"study {study.name} stays in its Optuna storage, which says: {error}", err=True)
