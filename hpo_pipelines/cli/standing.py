"""How a study stands, as text and as JSON: what it is after, its best trials, and its trials by value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hpo_pipelines.cli.options import print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpo_pipelines.run import Run
    from hpo_pipelines.study import Study
    from hpo_pipelines.study.trial import Trial
    from hpo_pipelines.task import Task
    from hpo_pipelines.workspace import Workspace

SHOWN = 20
"""How many trials are listed at most."""


def described(study: Study) -> dict[str, Any]:
    """What ``--json`` gives of a study. ``best`` is its best trial, ``front`` those of several objectives."""
    trials = study.trials
    goals, front = study.goals, study.front_of(trials)
    one = goals.objectives[0], goals.directions[0]
    named = (list(goals.objectives), list(goals.directions)) if goals.several else one
    found = {
        "study": study.name,
        "id": study.id,
        "pipeline": study.task.pipeline,
        "status": str(study.status),
        "reason": study.reason,
        "stopped_by": study.stopped_by,
        "objective": named[0],
        "direction": named[1],
        "constraints": [str(constraint) for constraint in goals.constraints],
        "trials": len(trials),
        "completed": sum(trial.values is not None for trial in trials),
    }
    if goals.several:
        return {**found, "front": [_described_best(study, trial) for trial in front]}
    return {**found, "best": _described_best(study, front[0]) if front else None}


def best_of(study: Study) -> dict[str, Any]:
    """The best trial, or the Pareto front, as JSON. Raises StudyError when a study of one objective has none."""
    if study.goals.several:
        return {"front": [_described_best(study, trial) for trial in study.best_trials]}
    return _described_best(study, study.best_trial)


def _described_best(study: Study, trial: Trial) -> dict[str, Any]:
    from search_spaces.groups import flattened

    params = flattened(study.task.params["space"], trial.params)
    return {
        "trial": trial.number,
        "run": trial.run.label,
        **described_values(study, trial),
        **links(trial),
        "params": params,
    }


def links(trial: Trial) -> dict[str, Any]:
    """Where a trial comes from, and which it continues, as JSON; nothing for most."""
    found = {"origin": trial.origin, "continues": trial.continues}
    return {name: value for name, value in found.items() if value is not None}


def described_values(study: Study, trial: Trial) -> dict[str, Any]:
    """What a trial gave, as JSON: ``value``, or ``values`` by objective; and what of the constraints it violates."""
    goals = study.goals
    known = trial.values or (None,) * len(goals.objectives)
    found: dict[str, Any] = {"value": trial.value}
    if goals.several:
        found = {"values": dict(zip(goals.names, known, strict=True))}
    if trial.spreads is not None:
        spreads = {
            name: {"std": each.std, "ci95": each.ci95} for name, each in zip(goals.names, trial.spreads, strict=True)
        }
        found |= {"spreads": spreads} if goals.several else spreads[goals.names[0]]
    return {**found, "violations": dict(trial.violations)} if goals.constraints else found


def show_study(place: Workspace, task: Task, *, as_json: bool) -> None:
    """What ``hpo show`` prints of a study: what it is, its best trial, and its trials by value."""
    from hpo_pipelines.cli.describing import accounting_text, described_accounting, styled
    from hpo_pipelines.study import Study

    study = Study(place, task)
    sums = place.accounting(task)
    trials = study.trials
    if as_json:
        rows = [
            {
                "trial": trial.number,
                "run": trial.run.label,
                "status": str(trial.status),
                **described_values(study, trial),
                **links(trial),
            }
            for trial in trials
        ]
        planned = {"plan": study.plan_comparison().record()} if task.params.get("plan") else {}
        print_json({**described(study), "accounting": described_accounting(sums), **planned, "trials": rows})
        return
    gone = f"its driver is gone; hpo resume {study.name} goes on with it" if study.is_abandoned else ""
    said = gone or study.reason or ""
    click.echo(f"{click.style(study.name, bold=True)}  {styled(study.status)}  {said}  {study.id}")
    click.echo(f"  {_wanted_text(study)} of {task.pipeline}")
    if study.imported.wanted:
        click.echo(f"  {study.imported}")
    if sums.executions or sums.reused:
        click.echo(f"  steps: {accounting_text(sums)}")
    if any(trial.values is not None for trial in trials):
        show_best(study)
        _draw_history(study, trials)
    if task.params.get("plan"):
        from hpo_pipelines.cli.planning import show_comparison

        click.echo()
        show_comparison(study.plan_comparison())
    ranked = _ranked(study, trials)
    click.echo()
    click.echo(trials_table(study, ranked[:SHOWN]) if ranked else "no trials yet")
    if len(ranked) > SHOWN:
        click.echo(f"and {len(ranked) - SHOWN} more: hpo ls --study {study.name} -n {len(ranked)}")


def _draw_history(study: Study, trials: Sequence[Trial]) -> None:
    """A chart of what trials gave, on a terminal."""
    from hpo_pipelines.cli import charts

    if charts.wanted():
        for line in charts.history(study, trials):
            click.echo(line)


def _wanted_text(study: Study) -> str:
    goals = study.goals
    if goals.objectives == (None,) and not goals.constraints:
        return f"{goals.directions[0]} the returned number"
    return str(goals)


def _ranked(study: Study, trials: Sequence[Trial]) -> list[Trial]:
    """Feasible trials by the first objective, the front before the others; then those that violate something."""
    sign = -1 if study.direction == "maximize" else 1
    front = {trial.number for trial in study.front_of(trials)} if study.goals.several else set()

    def place(trial: Trial) -> tuple[bool, bool, bool, float, int]:
        value = sign * (trial.value or 0.0)
        return trial.values is None, not trial.is_feasible, trial.number not in front, value, trial.number

    return sorted(trials, key=place)


def trials_table(study: Study, trials: Sequence[Trial]) -> str:
    """``trials`` as aligned columns, in their order; on a terminal with a bar of the value beside it."""
    from hpo_pipelines.cli import charts
    from hpo_pipelines.cli.describing import table

    climbed = _climbed(study, trials)
    rows = [_row(study, trial, climbed.get(trial.run.id, "")) for trial in trials]
    if charts.wanted():
        bars = charts.value_bars(study, trials)
        rows = [{**row, "": bar} for row, bar in zip(rows, bars, strict=True)]
    empty = {name for name in ("of", "reached") if not any(row[name] for row in rows)}
    return table([{name: text for name, text in row.items() if name not in empty} for row in rows])


def _climbed(study: Study, trials: Sequence[Trial]) -> dict[str, str]:
    """The highest rung that each trial came to, by its run."""
    from hpo_pipelines.engine.rungs import Ladder
    from hpo_pipelines.study.fidelity import climbs_of, reached

    ladder = Ladder.of_option(study.fidelity or None)
    if ladder is None:
        return {}
    found = climbs_of(study.workspace, [trial.run.id for trial in trials], ladder)
    return {run: f"{ladder.parameter}={reached(ladder, steps)}" for run, steps in found.items() if steps}


def linked(trial: Trial) -> str:
    """Where a trial comes from, or which it continues."""
    return trial.origin or ("" if trial.continues is None else f"continues trial {trial.continues}")


def _row(study: Study, trial: Trial, climbed: str) -> dict[str, str]:
    from hpo_pipelines.cli.describing import duration, parameter, short
    from search_spaces.groups import flattened

    params = flattened(list(study.task.params["space"]), trial.params)
    return {
        "trial": str(trial.number),
        "run": trial.run.label,
        "status": str(trial.status),
        **_values(study, trial),
        "": "",
        "reached": climbed,
        "of": linked(trial),
        "took": duration(trial.run.task.seconds),
        "parameters": short(", ".join(f"{name}={parameter(value)}" for name, value in params.items())),
    }


def _values(study: Study, trial: Trial) -> dict[str, str]:
    """The columns of a trial's values, and of what it violates."""
    goals = study.goals
    names = goals.names if goals.several else ("value",)
    texts = [_value_text(trial, place) for place in range(len(names))]
    found = dict(zip(names, texts, strict=True))
    if goals.constraints:
        found["violates"] = ", ".join(key for key, amount in trial.violations.items() if amount > 0)
    return found


def _value_text(trial: Trial, place: int) -> str:
    """One value of a trial; of a mean over repeats with its 95 % interval: ``0.913 ± 0.012``."""
    if trial.values is None:
        return ""
    spread = "" if trial.spreads is None else f" ± {trial.spreads[place].ci95:.2g}"
    return f"{trial.values[place]:.6g}{spread}"


def show(study: Study) -> None:
    """What ``hpo optimize`` prints when the study has ended."""
    from hpo_pipelines.cli.describing import styled

    click.echo(f"study {study.name}  {styled(study.status)}  {study.reason or ''}")
    if study.imported.wanted:
        click.echo(str(study.imported), err=True)
    if any(trial.values is not None for trial in study.trials):
        show_best(study)
    else:
        why = "; ".join(dict.fromkeys(filter(None, map(_why_not, study.runs))))
        click.echo(f"no trial gave a value: {why or 'none was run'}", err=True)
    server = study.workspace.settings.server
    pages = f"{server}/studies/{study.id}" if server else "hpo mlflow"
    click.echo(f"look further: hpo show {study.name}; hpo ls --study {study.name}; {pages}", err=True)


def _why_not(run: Run) -> str | None:
    """Why a trial has no value: no such objective, or what failed."""
    error = run.error
    return run.notes or (f"{error.get('type')}: {error.get('message')}" if error else run.reason)


def show_best(study: Study) -> None:
    """The best trial with its parameters, or the Pareto front as a table; that there is none where none is feasible."""
    from hpo_pipelines.cli import charts
    from hpo_pipelines.cli.describing import parameter
    from hpo_pipelines.errors import StudyError

    if study.goals.several:
        front = study.best_trials
        count = f"{len(front)} trial{'s' * (len(front) != 1)}"
        click.echo(f"{count} on the Pareto front ({study.goals})")
        if front:
            click.echo(trials_table(study, front))
        return
    try:
        trial = study.best_trial
    except StudyError as error:
        click.echo(str(error), err=True)
        return
    value = _value_text(trial, 0)
    link = linked(trial)
    origin = "" if link in ("", trial.run.label) else f", that is {link}" if trial.origin else f", {link}"
    click.echo(f"best {study.goals.names[0]} = {value} in {trial.run.label} (trial {trial.number}{origin})")
    params = _described_best(study, trial)["params"]
    texts = {key: f"{key} = {parameter(value)}" for key, value in params.items()}
    drawn = charts.ranges(study.space, params) if charts.wanted() else {}
    width = max((len(texts[key]) for key in drawn), default=0)
    for key, text in texts.items():
        click.echo(f"  {text.ljust(width)}  {drawn[key]}" if key in drawn else f"  {text}")
