"""``hpo study``: what a study has found, in the terminal and as a table; stopping and extending it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpo_pipelines.cli.completion import complete_study
from hpo_pipelines.cli.options import json_option, print_json, workspace
from hpo_pipelines.cli.standing import described_values, links, show_study, trials_table
from hpo_pipelines.cli.studies import best as best_command
from hpo_pipelines.cli.study_points import COMMANDS

if TYPE_CHECKING:
    import pandas as pd

    from hpo_pipelines.study import Study

_BAR = 30
"""How many characters the greatest importance has."""

FIGURES = ("history", "parallel", "importance", "pareto", "slice", "sharing")
"""Those of hpo_pipelines.study.figures, which is not imported for help and completion."""


def complete_figure(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The kinds of figures that begin so."""
    return [kind for kind in FIGURES if kind.startswith(incomplete)]


_study_argument = click.argument("name", metavar="STUDY", shell_complete=complete_study)


@click.group()
def study() -> None:
    """Look at a study, or act on it. hpo studies lists them, hpo optimize starts one, hpo resume goes on with one."""


@study.command()
@_study_argument
@json_option
def show(*, name: str, as_json: bool) -> int:
    """Show STUDY: what it is after, its best trials, and its trials by value."""
    show_study(workspace(), _called(name).task, as_json=as_json)
    return 0


study.add_command(best_command)  # the same as hpo best


@study.command()
@_study_argument
@click.option("-n", "--last", type=click.IntRange(1), help="The last so many only.")
@json_option
def trials(*, name: str, last: int | None, as_json: bool) -> int:
    """List the trials of STUDY in the order of their numbers."""
    found = _called(name)
    listed = found.trials[-last:] if last else found.trials
    if as_json:
        for trial in listed:
            said = {"trial": trial.number, "run": trial.run.label, "status": str(trial.status)}
            reason = {"reason": trial.run.task.reason, "seconds": trial.run.task.seconds}
            print_json(
                {**said, **described_values(found, trial), **links(trial), **reason, "params": dict(trial.params)}
            )
        return 0
    click.echo(trials_table(found, listed) if listed else "no trials yet")
    return 0


@study.command()
@_study_argument
@json_option
def importance(*, name: str, as_json: bool) -> int:
    """Say how much of each objective each parameter of STUDY explains (PED-ANOVA)."""
    from hpo_pipelines.cli import charts
    from hpo_pipelines.study import Analysis

    found = _called(name)
    analysis = Analysis(found)
    shares = {goal: analysis.importances_of(place) for place, goal in enumerate(found.goals.names)}
    if as_json:
        print_json({"study": found.name, "importance": shares})
        return 0
    for goal, importances in shares.items():
        click.echo(click.style(goal, bold=True))
        if not importances:
            click.echo("  too few trials, or all of one value, to say")
        greatest = max(importances.values(), default=0.0) or 1.0
        width = max(map(len, importances), default=0)
        for parameter, share in importances.items():
            drawn = f"  {charts.bar(share / greatest, _BAR)}" if charts.wanted() else ""
            click.echo(f"  {parameter.ljust(width)}  {share:6.1%}{drawn}")
    return 0


@study.command()
@_study_argument
@json_option
def reach(*, name: str, as_json: bool) -> int:
    """Say which parameters of STUDY reach which step: by following its body, and by its trials' keys."""
    from hpo_pipelines.cli.planning import show_reach

    found = _called(name).reach()
    if as_json:
        print_json(found.record())
    else:
        show_reach(found)
    return 0


@study.command()
@_study_argument
@click.option("--csv", "csv", type=click.Path(dir_okay=False, allow_dash=True), help="Write CSV; - is stdout.")
@click.option("--parquet", "parquet", type=click.Path(dir_okay=False), help="Write Parquet.")
def export(*, name: str, csv: str | None, parquet: str | None) -> int:
    """Write a table of STUDY: a row a trial, with every step's metrics, seconds and reuse."""
    if csv is None and parquet is None:
        raise click.UsageError("say where to: --csv FILE, --csv -, or --parquet FILE.")
    found = _called(name)
    frame = found.trials_dataframe()
    if csv == "-":
        click.echo(frame.to_csv(index=False), nl=False)
    elif csv is not None:
        frame.to_csv(_writable(csv), index=False)
    if parquet is not None:
        _one_type(frame).to_parquet(_writable(parquet), index=False)
    written = [path for path in (csv, parquet) if path not in (None, "-")]
    if written:
        click.echo(f"{len(frame)} trials in {' and '.join(map(str, written))}", err=True)
    return 0


@study.command()
@_study_argument
@click.argument("kind", metavar="|".join(FIGURES), shell_complete=complete_figure)
@click.option("-o", "--output", metavar="FILE.html|.json", required=True, type=click.Path(dir_okay=False))
@click.option("--objective", multiple=True, metavar="STEP.METRIC|KEY", help="Of several: which; default the first.")
def figure(*, name: str, kind: str, output: str, objective: tuple[str, ...]) -> int:
    """Write a Plotly figure of STUDY: a page for any browser, or Plotly's JSON. Needs hpo-pipelines[plots]."""
    suffix = Path(output).suffix.lower()
    if suffix not in (".html", ".json"):
        raise click.UsageError(f"{output}: a figure is written as .html, or as Plotly's .json.")
    path = _writable(output)
    found = _called(name)
    made = found.figure(kind, objective=(objective[0] if len(objective) == 1 else list(objective)) or None)
    made.write_html(path) if suffix == ".html" else made.write_json(path)
    click.echo(f"{kind} of {name} in {path}", err=True)
    return 0


@study.command()
@_study_argument
@click.option("--abort", is_flag=True, help="Abort what runs, instead of finishing it.")
def stop(*, name: str, abort: bool) -> int:
    """Stop STUDY: it asks for no more trials, and ends when those that run have; once more aborts them."""
    from hpo_pipelines.study import stop as stop_study

    found = _called(name)
    stop_study(found, abort=abort)
    aborting = found.task.params.get("stop") == "abort"
    said = "aborts what runs" if aborting else f"finishes what runs; hpo study stop {name} again aborts it"
    click.echo(f"{name} {said}; hpo resume {name} goes on with it")
    return 0


@study.command()
@_study_argument
@click.argument("trials", type=click.IntRange(1))
def extend(*, name: str, trials: int) -> int:
    """Have STUDY run TRIALS more than it was asked for."""
    from hpo_pipelines.study import extend as extend_study

    found = _called(name)
    driven = extend_study(found, trials)
    total = found.task.params["asked"].get("n_trials")
    cure = "" if driven else f"; nobody drives it: hpo resume {name} does"
    click.echo(f"{name} is asked for {total} trials{cure}")
    return 0


for _command in COMMANDS:
    study.add_command(_command)


def _one_type(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with one type in each column, as Parquet wants it: a choice between 3 and "three" is text."""
    plain = frame.copy()
    for column in frame.columns:
        kinds = {type(value) for value in frame[column].dropna()}
        if len(kinds) > 1 or kinds & {dict, list}:
            lacking = frame[column].isna()
            plain[column] = [None if none else str(value) for value, none in zip(frame[column], lacking, strict=True)]
    return plain


def _writable(path: str) -> Path:
    folder = Path(path).parent
    if not folder.is_dir():
        raise click.UsageError(f"{path}: there is no folder {folder}.")
    return Path(path)


def _called(name: str) -> Study:
    from hpo_pipelines.cli.studies import study_called

    return study_called(name)
