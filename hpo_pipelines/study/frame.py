"""The trials of a study as a table: parameters, values, every step's metrics, how long it took and what was reused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpo_pipelines.engine.rungs import Ladder
from hpo_pipelines.store.metrics import named_values
from hpo_pipelines.study.fidelity import climbs_of, reached
from hpo_pipelines.study.goals import Goals
from hpo_pipelines.study.trial import Trial
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind

if TYPE_CHECKING:
    import pandas as pd

    from hpo_pipelines.study.handle import Study

_AT_ONCE = 500
"""How many trials are read in one go: bounds the ids that one query names."""


def trials_frame(study: Study) -> pd.DataFrame:
    """One row a trial; see :meth:`Study.trials_dataframe`."""
    import pandas as pd

    trials, repeats = study.trials, bool(study.repeats)
    attempts = any(trial.run.attempt > 1 for trial in trials)
    links = [name for name in ("origin", "continues") if any(getattr(trial, name) is not None for trial in trials)]
    rows = []
    for start in range(0, len(trials), _AT_ONCE):
        some = trials[start : start + _AT_ONCE]
        climbed = _reached(study, some)
        for trial, work in zip(some, _work(study, some), strict=True):
            linked = {name: getattr(trial, name) for name in links}
            rows.append(
                {
                    **_row(trial, study.goals, work, repeats=repeats, attempts=attempts),
                    **climbed[trial.run.id],
                    **linked,
                }
            )
    return pd.DataFrame(rows)


def _reached(study: Study, trials: Sequence[Trial]) -> dict[str, dict[str, Any]]:
    """How high each trial climbed, by its run; nothing without ``fidelity``."""
    ladder = Ladder.of_option(study.fidelity or None)
    runs = [trial.run.id for trial in trials]
    if ladder is None:
        return {run: {} for run in runs}
    climbed = climbs_of(study.workspace, runs, ladder)
    return {run: {"fidelity": reached(ladder, climbed[run])} for run in runs}


def _row(trial: Trial, goals: Goals, work: Mapping[str, Any], *, repeats: bool, attempts: bool) -> dict[str, Any]:
    return {
        "number": trial.number,
        "run": trial.run.label,
        "status": str(trial.status),
        "reason": trial.run.task.reason,
        **_values(trial, goals, repeats=repeats),
        **{f"params.{name}": value for name, value in trial.params.items()},
        **work,
        "seconds": trial.run.task.seconds,
        **({"attempts": trial.run.attempt} if attempts else {}),
    }


def _values(trial: Trial, goals: Goals, *, repeats: bool) -> dict[str, Any]:
    values = trial.values or (None,) * len(goals.objectives)
    named = dict(zip(goals.names, values, strict=True))
    columns: dict[str, Any] = {"value": values[0]}
    if goals.several:
        columns = {f"values.{name}": value for name, value in named.items()}
    for place, column in enumerate(list(columns) if repeats else []):
        spread = None if trial.spreads is None else trial.spreads[place]
        columns[f"{column}.std"] = None if spread is None else spread.std
        columns[f"{column}.ci95"] = None if spread is None else spread.ci95
    return {**columns, "feasible": trial.is_feasible} if goals.constraints else columns


def _work(study: Study, trials: Sequence[Trial]) -> Iterator[dict[str, Any]]:
    """Of each trial its metrics, and of each component the seconds executed and how many of its calls were reused."""
    store = study.workspace.store
    below = store.tasks.below([trial.run.id for trial in trials])
    tops = {trial.run.id: trial.run.id for trial in trials}
    inside: dict[str, list[Task]] = {top: [] for top in tops}
    for task in below:  # level by level
        tops[task.id] = top = tops[str(task.parent)]
        inside[top].append(task)
    latest = store.metrics.latest([*inside, *(task.id for task in below if task.kind is Kind.STEP)])
    by_run: dict[str, dict[tuple[str, str], float]] = {top: {} for top in inside}
    for (task_id, name), value in latest.items():
        by_run[tops[task_id]][task_id, name] = value
    for top, tasks in inside.items():
        steps = [task for task in tasks if task.kind is Kind.STEP]
        own = [step for step in steps if step.parent == top]
        metrics = named_values(top, own, by_run[top])
        yield {**{f"metrics.{name}": value for name, value in metrics.items()}, **_steps(steps)}


def _steps(steps: Sequence[Task]) -> dict[str, Any]:
    found: dict[str, Any] = {"steps": len(steps), "steps_reused": sum(step.reused_from is not None for step in steps)}
    for step in steps:
        seconds, reused = f"seconds.{step.component}", f"reused.{step.component}"
        found.setdefault(seconds, 0.0)
        found.setdefault(reused, 0)
        if step.reused_from is not None:
            found[reused] += 1
        else:
            found[seconds] += step.seconds or 0.0
    return found
