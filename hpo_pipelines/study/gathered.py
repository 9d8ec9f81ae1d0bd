"""The trials of a study, put together from our store and from what Optuna was told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial

from hpo_pipelines.engine.rungs import Ladder
from hpo_pipelines.run import Run
from hpo_pipelines.store.chain import first
from hpo_pipelines.study.continuing import continued
from hpo_pipelines.study.imported import labels
from hpo_pipelines.study.trial import Trial, spreads_of

if TYPE_CHECKING:
    from hpo_pipelines.study.handle import Study

_COMPLETE = (optuna.trial.TrialState.COMPLETE,)


def trials_of(study: Study) -> list[Trial]:
    """Every trial that has a run, those that were brought in first, in the order of their numbers."""
    complete = study.optuna_study.get_trials(deepcopy=False, states=_COMPLETE)
    told = {trial.number: trial for trial in complete}
    return [*_imported(study, told), *_own(study, told)]


def _imported(study: Study, told: dict[int, FrozenTrial]) -> Iterator[Trial]:
    found = [(number, run) for number, run in study.imported.found(study.workspace) if run is not None]
    origins = labels(study.workspace, [run.task for _, run in found])
    for (number, run), origin in zip(found, origins, strict=True):
        values, violations = _given(told.get(number))
        sampled = first(study.workspace.store.tasks, run.task).params
        yield Trial(number, sampled, values, run.status, run, violations, origin=origin)


def _own(study: Study, told: dict[int, FrozenTrial]) -> Iterator[Trial]:
    runs, names, params = study.runs, study.goals.names, study.task.params
    reported = _reported(study, runs) if study.repeats else {}
    ladder, continues = Ladder.of_option(params.get("fidelity")), continued(params)
    for run in runs:
        number = run.task.trial or 0
        values, violations = _given(told.get(number))
        spreads = spreads_of(names, values, reported[run.id]) if values and run.id in reported else None
        yield Trial(
            number,
            first(study.workspace.store.tasks, run.task).params,
            values,
            run.status,
            run,
            violations,
            spreads,
            ladder=ladder,
            continues=continues.get(number),
        )


def _given(trial: FrozenTrial | None) -> tuple[tuple[float, ...] | None, dict[str, float]]:
    return (None, {}) if trial is None else (tuple(trial.values), dict(trial.constraints))


def _reported(study: Study, runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """What the runs themselves, not their steps, have reported last."""
    found: dict[str, dict[str, float]] = {run.id: {} for run in runs}
    for (task, name), value in study.workspace.store.metrics.latest(list(found)).items():
        found[task][name] = value
    return found
