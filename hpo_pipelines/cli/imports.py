"""``hpo import``: runs of one's past, so that studies can begin with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from hpo_pipelines.cli.completion import complete_target
from hpo_pipelines.cli.options import assignments, json_option, print_json, workspace

if TYPE_CHECKING:
    from hpo_pipelines.task import PastRun

_param_option = click.option(
    "--param", "params", multiple=True, metavar="OURS=THEIRS", help="The parameter OURS was called THEIRS."
)
_target_argument = click.argument("target", metavar="MODULE:PIPELINE|FILE.py:PIPELINE", shell_complete=complete_target)


@click.group(name="import")
def import_() -> None:
    """Record runs that something else has made as runs of a pipeline, so that studies can begin with them:
    hpo optimize --from-runs tag:imported."""


@import_.command()
@click.argument("experiment")
@_target_argument
@click.option("--uri", metavar="URI", help="MLflow's tracking server; default: the one of this workspace.")
@click.option("--filter", "filter", default="", metavar="TEXT", help='MLflow\'s own: "metrics.auc > 0.5".')
@_param_option
@click.option(
    "--metric", "metrics", multiple=True, metavar="OURS=THEIRS", help="fit.auc, a key of what is returned, or value."
)
@json_option
def mlflow(
    *,
    experiment: str,
    target: str,
    uri: str | None,
    filter: str,
    params: tuple[str, ...],
    metrics: tuple[str, ...],
    as_json: bool,
) -> int:
    """Import the runs of EXPERIMENT that have ended."""
    from hpo_pipelines.errors import ConfigError
    from hpo_pipelines.tracking.past import runs_of

    place = uri or workspace().settings.tracking_uri
    if not place:
        raise ConfigError("there is no MLflow here: give --uri.")
    return _import(runs_of(place, experiment, filter), target, params, metrics, as_json=as_json)


@import_.command()
@click.argument("storage", metavar="STORAGE")
@click.argument("study")
@_target_argument
@_param_option
@click.option(
    "--metric", "metrics", multiple=True, metavar="OURS=THEIRS", help="fit.auc=value says what the objective was."
)
@json_option
def optuna(
    *, storage: str, study: str, target: str, params: tuple[str, ...], metrics: tuple[str, ...], as_json: bool
) -> int:
    """Import the trials of an Optuna STUDY; STORAGE is its URL (sqlite:///past.db), or the file of a journal."""
    from hpo_pipelines.study.past import trials_of

    return _import(trials_of(storage, study), target, params, metrics, as_json=as_json)


def _import(
    found: Iterable[PastRun], target: str, params: tuple[str, ...], metrics: tuple[str, ...], *, as_json: bool
) -> int:
    from hpo_pipelines.cli.targets import pipeline_called
    from hpo_pipelines.past import Names, record

    names = Names(assignments(params), assignments(metrics))
    imports = record(workspace(), pipeline_called(target), found, names)
    if as_json:
        runs = [run.label for run in imports.runs]
        about = {"left_out": dict(imports.left_out), "defaulted": imports.defaulted, "dropped": imports.dropped}
        print_json({"runs": runs, "known": imports.known, **about})
    else:
        click.echo(str(imports))
    return 0
