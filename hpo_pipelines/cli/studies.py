"""Commands about studies: ``optimize``, ``best``, ``studies``."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpo_pipelines.cli.completion import complete_study, complete_target
from hpo_pipelines.cli.limits import limit_options, limits_of, repeats
from hpo_pipelines.cli.options import (
    assignments,
    executor_option,
    found_run,
    json_option,
    parameter_option,
    print_json,
    workspace,
)
from hpo_pipelines.cli.standing import best_of, described, show, show_best
from hpo_pipelines.cli.study_points import beginning_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpo_pipelines.pipeline import Pipeline
    from hpo_pipelines.run import Run
    from hpo_pipelines.study import Study
    from hpo_pipelines.task import Task
    from hpo_pipelines.workspace import Workspace
    from search_spaces import Space


F = TypeVar("F", bound=Callable[..., Any])


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
@click.option(
    "--objective",
    multiple=True,
    metavar="STEP.METRIC|KEY",
    help="What to optimise; default: the returned number. Again for several objectives.",
)
@click.option(
    "--direction",
    multiple=True,
    type=click.Choice(["maximize", "minimize"]),
    help="Default: maximize. Again for each of several objectives.",
)
@click.option(
    "--constraint",
    "constraints",
    multiple=True,
    metavar="STEP.METRIC<=NUMBER",
    help="Trials that violate it are never best: 'fit.memory <= 8e9'. As often as wanted.",
)
@click.option("-n", "--n-trials", type=click.IntRange(1), help="Trials in all, those of earlier calls included.")
@limit_options
@click.option("-j", "--n-jobs", type=click.IntRange(1), help="Trials in flight; default: 1.")
@click.option(
    "--sampler",
    metavar="NAME[(OPTION=VALUE,…)]",
    help="tpe (default; nsgaii for several objectives), random, qmc, grid, bruteforce, nsgaiii, gp, cmaes, "
    "prefix-reuse, memo-gp; such as 'tpe(multivariate=true)'.",
)
@click.option("--pruner", help="none (default), median, percentile, successive-halving, hyperband.")
@click.option(
    "--prune-on",
    multiple=True,
    metavar="STEP.METRIC[:DIRECTION]",
    help="What the pruner hears, instead of the objective; as often as wanted.",
)
@click.option("--seed", type=int, help="Seed of the sampler.")
@click.option(
    "--repeats",
    metavar="PARAMETER=N|A,B,…",
    callback=repeats,
    help="Run each trial with N values of the parameter that is the seed, or with these; its value is the mean.",
)
@beginning_options
@click.option("--name", help="The study's name; the same name resumes it.", shell_complete=complete_study)
@click.option("--storage", metavar="URL", help="Optuna storage; default: a journal file beside the store.")
@click.option("--no-reuse", is_flag=True, help="Trials reuse no outcome, and leave none for others to reuse.")
@click.option("--allow-changes", is_flag=True, help="Resume although code or space have changed.")
@executor_option
@click.option(
    "--queue", metavar="QUEUE", help="Have agents of this queue drive the trials, instead of driving them here."
)
@click.option("--plan", "plan_only", is_flag=True, help="Say how often each step would run, and how long; run nothing.")
@click.option(
    "--notify", multiple=True, metavar="NAME", help="A webhook of the settings to be told; as often as wanted."
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
    plan_only = options.pop("plan_only")
    options["reuse"] = False if options.pop("no_reuse") else None
    base, space, wanted, blamed = study_wanted(target, space_file, params, _plain(limits_of(options)))
    if not any(wanted.get(end) for end in ("n_trials", "timeout", "plateau")) and not _ends(wanted.get("sampler")):
        raise click.UsageError("a study needs an end: give --n-trials, --timeout or --plateau.")
    from hpo_pipelines.study import optimize as start

    if plan_only:
        from hpo_pipelines.cli.planning import plan

        with blamed:
            return plan(base, space, wanted, as_json=as_json)
    with ending_politely(), blamed:
        study = start(base, space, workspace=workspace(), progress=not as_json, **wanted)
    return _told(study, as_json=as_json)


def go_on(task: Task, limits: Mapping[str, Any], *, as_json: bool) -> int:
    """What ``hpo resume STUDY`` does."""
    from hpo_pipelines.cli.streams import ending_politely
    from hpo_pipelines.study import resume

    with ending_politely():
        study = resume(workspace(), task, progress=not as_json, **limits)
    return _told(study, as_json=as_json)


def _told(study: Study, *, as_json: bool) -> int:
    if as_json:
        print_json(described(study))
    else:
        show(study)
    return _exit_code(study)


def _ends(sampler: str | Mapping[str, Any] | None) -> bool:
    """Whether a sampler ends a study by itself, since it takes every point once."""
    text = sampler if isinstance(sampler, str) else str((sampler or {}).get("name", ""))
    name = text.partition("(")[0].strip().lower().replace("-", "")
    return name in ("grid", "bruteforce")


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Options that may be given again as ``optimize`` takes them: none, a text, or a list of texts."""
    found = dict(options)
    for name in ("objective", "direction", "constraints", "prune_on", "notify"):
        texts = list(options[name])
        found[name] = (texts[0] if len(texts) == 1 else texts) if texts else None
    return found


def _exit_code(study: Study) -> int:
    """0 for a study that ended as asked and has a value; 130 when interrupted; else that of a failed run."""
    from hpo_pipelines.cli import INTERRUPTED
    from hpo_pipelines.errors import StepFailed, outcome_of
    from hpo_pipelines.types import Status

    if study.status is Status.ABORTED:
        return INTERRUPTED
    if study.status is Status.COMPLETED and any(trial.values is not None for trial in study.trials):
        return 0
    return outcome_of(StepFailed).exit_code


def best_options(command: F) -> F:
    """``--promote``, ``--register``, ``--output``, ``--trial`` and ``--json``."""
    for option in reversed(_BEST_OPTIONS):
        command = option(command)
    return command


_BEST_OPTIONS = (
    click.option("--promote", is_flag=True, help="Clone it as a run of its own, tagged promoted; all is reused."),
    click.option("--register", metavar="MODEL", help="Register its model in MLflow under this name; with --promote."),
    click.option("--output", metavar="STEP.OUTPUT|KEY", help="The model, where no step logged one into MLflow."),
    click.option("--trial", type=click.IntRange(0), help="Promote this trial instead of the best."),
    json_option,
)


@click.command()
@click.argument("name", metavar="STUDY", shell_complete=complete_study)
@best_options
def best(
    *, name: str, promote: bool, register: str | None, output: str | None, trial: int | None, as_json: bool
) -> int:
    """Show the best trial of STUDY; of several objectives those that no other dominates, its Pareto front.

    With --promote it becomes a run of its own, which --register puts into MLflow's registry.
    """
    if not promote and (register, output, trial) != (None, None, None):
        raise click.UsageError("--register, --output and --trial say what is promoted: give --promote, too.")
    study = study_called(name)
    if promote:
        return _promoted(study, trial, register, output, as_json=as_json)
    found = best_of(study)
    if as_json:
        print_json({"study": study.name, **found})
    else:
        show_best(study)
    return 0


def _promoted(study: Study, trial: int | None, register: str | None, output: str | None, *, as_json: bool) -> int:
    from hpo_pipelines.cli.streams import ending_politely

    with ending_politely():
        run = study.promote(trial, register=register, output=output)
    model = next((tag.removeprefix("model=") for tag in reversed(run.tags) if tag.startswith("model=")), None)
    if as_json:
        print_json({"study": study.name, "run": run.label, "id": run.id, "model": model and f"models:/{model}"})
    else:
        made = "" if model is None else f"; its model is models:/{model}"
        click.echo(f"{run.label} is promoted{made}")
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
            print_json(described(study))
        return 0
    if not found:
        click.echo(_none_yet(place), err=True)
        return 0
    rows = [
        {
            "study": study.name,
            "pipeline": study.task.pipeline or "",
            "status": f"{study.status}, abandoned" if study.is_abandoned else str(study.status),
            "objective": str(study.goals),
            "created": when(study.task.created_at),
            "reason": short(study.reason or ""),
        }
        for study in found
    ]
    click.echo(table(rows))
    return 0


def study_wanted(
    target: str, space_file: str | None, params: tuple[str, ...], options: dict[str, Any]
) -> tuple[Pipeline[..., Any] | Run, Space, dict[str, Any], AbstractContextManager[None]]:
    """What is tuned, over which space, and how: from the command line, and from the study file if there is one.

    Errors about what stands in that file say where, in the context that comes last.
    """
    from hpo_pipelines.study.file import StudyFile, is_study_file

    given = {name: value for name, value in options.items() if value is not None}
    if not is_study_file(target):
        space = _space(space_file, params)
        return _target(target), space, given, nullcontext()
    file = StudyFile.load(target)
    if space_file is not None:
        raise click.UsageError(f"{target} has its space; -P is laid over it, --space is not.")
    space = file.space.override(dict(_space(None, params))) if params else file.space
    written = dict(file.options)
    if "objective" in given and not isinstance(written.get("direction", ""), str):
        del written["direction"]  # those of the objectives that are not wanted
    with file.blamed("run" if file.pipeline is None else "pipeline"):
        base = _target(str(file.pipeline or file.run))
    return base, space, {**written, **given}, file.blamed(*(name for name in written if name not in given))


def _target(target: str) -> Pipeline[..., Any] | Run:
    from hpo_pipelines.cli.targets import CHAIN_FILES, pipeline_called

    if "#" in target or (":" not in target and not target.endswith((".py", *CHAIN_FILES))):
        return found_run(target)

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


def study_called(name: str) -> Study:
    """The study with this name. Raises StudyError, which says how one is begun where there is none."""
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
