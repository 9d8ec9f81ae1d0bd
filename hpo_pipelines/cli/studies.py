"""Commands about studies: ``optimize``, ``best``, ``studies``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from hpo_pipelines.cli.completion import complete_study, complete_target
from hpo_pipelines.cli.options import (
    assignments,
    executor_option,
    found_run,
    json_option,
    parameter_option,
    print_json,
    workspace,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpo_pipelines.pipeline import Pipeline
    from hpo_pipelines.run import Run
    from hpo_pipelines.study import Study
    from hpo_pipelines.task import Task
    from hpo_pipelines.workspace import Workspace
    from search_spaces import Space


@click.command()
@click.argument(
    "target", metavar="STUDY.yaml|MODULE:PIPELINE|FILE.py:PIPELINE|RUN", required=False, shell_complete=complete_target
)
@click.option(
    "--space",
    "space_file",
    type=click.Path(),
    help="Search space: YAML, TOML or JSON, or a name of the gallery (hpo space ls).",
)
@parameter_option("Add to the space: 'lr=loguniform(1e-5,1e-1)', 'n=int(1,10)', 'm=choice(a,b)', 'seed=7'.")
@click.option("--objective", metavar="STEP.METRIC|KEY", help="What to optimise; default: the returned number.")
@click.option("--direction", type=click.Choice(["maximize", "minimize"]), help="Default: maximize.")
@click.option("-n", "--n-trials", type=click.IntRange(1), help="Trials in all, those of earlier calls included.")
@click.option("--timeout", metavar="TIME", help="Stop asking after this long, such as 2h.")
@click.option("-j", "--n-jobs", type=click.IntRange(1), help="Trials in flight; default: 1.")
@click.option(
    "--sampler",
    metavar="NAME[(OPTION=VALUE,…)]",
    help="tpe (default), random, qmc, grid, bruteforce, nsgaii, nsgaiii, gp, cmaes; such as 'tpe(multivariate=true)'.",
)
@click.option("--pruner", help="none (default), median, percentile, successive-halving, hyperband.")
@click.option("--seed", type=int, help="Seed of the sampler.")
@click.option("--name", help="The study's name; the same name resumes it.", shell_complete=complete_study)
@click.option("--max-failures", type=click.IntRange(1), help="Stop after so many failed trials.")
@click.option("--storage", metavar="URL", help="Optuna storage; default: a journal file beside the store.")
@click.option("--no-reuse", is_flag=True, help="Trials reuse no outcome, and leave none for others to reuse.")
@click.option("--allow-changes", is_flag=True, help="Resume although code or space have changed.")
@executor_option
@click.option(
    "--queue", metavar="QUEUE", help="Have agents of this queue drive the trials, instead of driving them here."
)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of STUDY.yaml, for editors, and end.")
@json_option
def optimize(
    *, target: str | None, space_file: str | None, params: tuple[str, ...], schema: bool, as_json: bool, **options: Any
) -> int:
    """Tune a pipeline, or clones of a recorded RUN, over a search space; or what STUDY.yaml says of all this.

    Options given here go before those of the file, and -P is laid over its space.
    Ctrl-C once: running trials finish and the study can be resumed; twice: they are aborted.
    """
    from hpo_pipelines.cli.streams import ending_politely

    if schema:
        from hpo_pipelines.study.file import schema as schema_of_files

        click.echo(json.dumps(schema_of_files(), indent=2))
        return 0
    if target is None:
        raise click.UsageError("name what is tuned: STUDY.yaml, MODULE:PIPELINE, FILE.py:PIPELINE or RUN.")
    options["reuse"] = False if options.pop("no_reuse") else None
    base, space, wanted = _wanted(target, space_file, params, _timed(options))
    if wanted.get("n_trials") is None and wanted.get("timeout") is None and not _ends(wanted.get("sampler")):
        raise click.UsageError("a study needs an end: give --n-trials, --timeout, or both.")
    from hpo_pipelines.study import optimize as start

    with ending_politely():
        study = start(base, space, workspace=workspace(), progress=not as_json, **wanted)
    return _told(study, as_json=as_json)


def go_on(task: Task, n_trials: int | None, *, as_json: bool) -> int:
    """What ``hpo resume STUDY`` does."""
    from hpo_pipelines.cli.streams import ending_politely
    from hpo_pipelines.study import resume

    with ending_politely():
        study = resume(workspace(), task, n_trials=n_trials, progress=not as_json)
    return _told(study, as_json=as_json)


def _told(study: Study, *, as_json: bool) -> int:
    if as_json:
        print_json(_described(study))
    else:
        _show(study)
    return _exit_code(study)


def _ends(sampler: str | Mapping[str, Any] | None) -> bool:
    """Whether a sampler ends a study by itself, since it takes every point once."""
    text = sampler if isinstance(sampler, str) else str((sampler or {}).get("name", ""))
    name = text.partition("(")[0].strip().lower().replace("-", "")
    return name in ("grid", "bruteforce")


def _timed(options: dict[str, Any]) -> dict[str, Any]:
    """``--timeout 90`` is 90 seconds, as it is in Python."""
    text = options["timeout"]
    return {**options, "timeout": float(text)} if text is not None and text.replace(".", "", 1).isdigit() else options


def _exit_code(study: Study) -> int:
    """0 for a study that ended as asked and has a value; 130 when interrupted; else that of a failed run."""
    from hpo_pipelines.cli import INTERRUPTED
    from hpo_pipelines.errors import StepFailed, outcome_of
    from hpo_pipelines.types import Status

    if study.status is Status.ABORTED:
        return INTERRUPTED
    if study.status is Status.COMPLETED and any(trial.value is not None for trial in study.trials):
        return 0
    return outcome_of(StepFailed()).exit_code


@click.command()
@click.argument("name", metavar="STUDY", shell_complete=complete_study)
@json_option
def best(*, name: str, as_json: bool) -> int:
    """Show the best trial of STUDY."""
    study = _called(name)
    if as_json:
        print_json({"study": study.name, **_best(study)})
    else:
        _show_best(study)
    return 0


@click.command()
@json_option
def studies(*, as_json: bool) -> int:
    """List studies, newest first."""
    from hpo_pipelines.cli.describing import short, table, when
    from hpo_pipelines.store import TaskFilter
    from hpo_pipelines.study import Study
    from hpo_pipelines.types import Kind

    place = workspace()
    found = [Study(place, task) for task in place.store.tasks.list(TaskFilter(kind=Kind.STUDY), limit=None)]
    if as_json:
        for study in found:
            print_json(_described(study))
        return 0
    if not found:
        click.echo(_none_yet(place), err=True)
        return 0
    rows = [
        {
            "study": study.name,
            "pipeline": study.task.pipeline or "",
            "status": f"{study.status}, abandoned" if study.is_abandoned else str(study.status),
            "objective": f"{study.direction} {study.objective or 'value'}",
            "created": when(study.task.created_at),
            "reason": short(study.reason or ""),
        }
        for study in found
    ]
    click.echo(table(rows))
    return 0


def show_study(place: Workspace, task: Task, *, as_json: bool) -> None:
    """What ``hpo show`` prints of a study: what it is, its best trial, and its trials by value."""
    from hpo_pipelines.cli.describing import accounting_text, described_accounting, styled, table
    from hpo_pipelines.study import Study

    study = Study(place, task)
    sums = place.accounting(task)
    trials = study.trials
    if as_json:
        rows = [
            {"trial": trial.number, "run": trial.run.label, "status": str(trial.status), "value": trial.value}
            for trial in trials
        ]
        print_json({**_described(study), "accounting": described_accounting(sums), "trials": rows})
        return
    gone = f"its driver is gone; hpo resume {study.name} goes on with it" if study.is_abandoned else ""
    said = gone or study.reason or ""
    click.echo(f"{click.style(study.name, bold=True)}  {styled(study.status)}  {said}  {study.id}")
    click.echo(f"  {study.direction} {study.objective or 'the returned number'} of {task.pipeline}")
    if sums.executions or sums.reused:
        click.echo(f"  steps: {accounting_text(sums)}")
    if any(trial.value is not None for trial in trials):
        _show_best(study)
    sign = -1 if study.direction == "maximize" else 1
    ranked = sorted(trials, key=lambda trial: (trial.value is None, sign * (trial.value or 0.0), trial.number))
    click.echo()
    sampled = list(task.params["space"])
    click.echo(table([_trial_row(trial, sampled) for trial in ranked[:20]]) if ranked else "no trials yet")
    if len(ranked) > 20:
        click.echo(f"and {len(ranked) - 20} more: hpo ls --study {study.name} -n {len(ranked)}")


def _trial_row(trial: Any, sampled: list[str]) -> dict[str, str]:
    from hpo_pipelines.cli.describing import duration, parameter, short
    from search_spaces.groups import flattened

    params = flattened(sampled, trial.params)
    return {
        "trial": str(trial.number),
        "run": trial.run.label,
        "status": str(trial.status),
        "value": "" if trial.value is None else f"{trial.value:.6g}",
        "took": duration(trial.run.task.seconds),
        "parameters": short(", ".join(f"{name}={parameter(value)}" for name, value in params.items())),
    }


def _wanted(
    target: str, space_file: str | None, params: tuple[str, ...], options: dict[str, Any]
) -> tuple[Pipeline[..., Any] | Run, Space, dict[str, Any]]:
    """What is tuned, over which space, and how: from the command line, and from the study file if there is one."""
    from hpo_pipelines.study.file import StudyFile, is_study_file

    given = {name: value for name, value in options.items() if value is not None}
    if not is_study_file(target):
        space = _space(space_file, params)
        return _target(target), space, given
    file = StudyFile.load(target)
    if space_file is not None:
        raise click.UsageError(f"{target} has its space; -P is laid over it, --space is not.")
    space = file.space.override(dict(_space(None, params))) if params else file.space
    return _target(str(file.pipeline or file.run)), space, {**file.options, **given}


def _target(target: str) -> Pipeline[..., Any] | Run:
    if "#" in target or (":" not in target and not target.endswith(".py")):
        return found_run(target)
    from hpo_pipelines.cli.targets import pipeline_called

    return pipeline_called(target)


def _space(file: str | None, params: tuple[str, ...]) -> Space:
    from hpo_pipelines.errors import SpaceError
    from search_spaces import Space, load, parse_assignment
    from search_spaces.errors import SpaceError as PlainSpaceError

    assignments(params)  # says what is no NAME=VALUE, or there twice
    if file is None and not params:
        raise click.UsageError("a study needs a space: give --space FILE, -P NAME=DISTRIBUTION, or both.")
    try:
        added = dict(parse_assignment(text) for text in params)
        return load(file).override(added) if file else Space(added)
    except PlainSpaceError as error:
        raise SpaceError(str(error)) from None
    except OSError as error:
        raise SpaceError(f"--space {file}: it cannot be read ({error.strerror}).") from None


def _called(name: str) -> Study:
    from hpo_pipelines.errors import StudyError
    from hpo_pipelines.study import Study

    place = workspace()
    try:
        return Study.called(place, name)
    except StudyError as error:
        if _has_studies(place):
            raise
        raise StudyError(f"{error}\n{_none_yet(place)}") from None


def _has_studies(place: Workspace) -> bool:
    from hpo_pipelines.store import TaskFilter
    from hpo_pipelines.types import Kind

    return bool(place.store.tasks.list(TaskFilter(kind=Kind.STUDY), limit=1))


def _none_yet(place: Workspace) -> str:
    return f"No studies yet in {place.place}: hpo optimize FILE.py:PIPELINE --space FILE -n 30 starts one."


def _best(study: Study) -> dict[str, Any]:
    from search_spaces.groups import flattened

    trial = study.best_trial
    params = flattened(study.task.params["space"], trial.params)
    return {"trial": trial.number, "run": trial.run.label, "value": trial.value, "params": params}


def _described(study: Study) -> dict[str, Any]:
    trials = study.trials
    completed = sum(trial.value is not None for trial in trials)
    return {
        "study": study.name,
        "id": study.id,
        "pipeline": study.task.pipeline,
        "status": str(study.status),
        "reason": study.reason,
        "objective": study.objective,
        "direction": study.direction,
        "trials": len(trials),
        "completed": completed,
        "best": _best(study) if completed else None,
    }


def _show(study: Study) -> None:
    from hpo_pipelines.cli.describing import styled

    found = _described(study)
    click.echo(f"study {study.name}  {styled(study.status)}  {study.reason or ''}")
    if found["best"]:
        _show_best(study)
    else:
        why = "; ".join(dict.fromkeys(filter(None, map(_why_not, study.runs))))
        click.echo(f"no trial gave a value: {why or 'none was run'}", err=True)
    click.echo(f"look further: hpo show {study.name}; hpo ls --study {study.name}; hpo mlflow", err=True)


def _why_not(run: Run) -> str | None:
    """Why a trial has no value: no such objective, or what failed."""
    error = run.error
    return run.notes or (f"{error.get('type')}: {error.get('message')}" if error else run.reason)


def _show_best(study: Study) -> None:
    from hpo_pipelines.cli.describing import parameter

    top = _best(study)
    name = study.objective or "value"
    click.echo(f"best {name} = {top['value']:.6g} in {top['run']} (trial {top['trial']})")
    for key, value in top["params"].items():
        click.echo(f"  {key} = {parameter(value)}")
