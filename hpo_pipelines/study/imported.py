"""The trials that a study began with: they were run elsewhere, in another study or in none.

They have its first numbers. What is recorded is the list of their runs; their values are read from these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_pipelines.engine.rungs import Ladder
from hpo_pipelines.run import Run
from hpo_pipelines.store.chain import first
from hpo_pipelines.study import sampling
from hpo_pipelines.study.fidelity import climbs
from hpo_pipelines.study.goals import Goals
from hpo_pipelines.study.outcome import Outcome, outcome_of
from hpo_pipelines.study.reports import series
from hpo_pipelines.task import Task
from hpo_pipelines.types import Status
from hpo_pipelines.workspace import Workspace
from search_spaces import Fixed, Space
from search_spaces.groups import flattened

_KEY = "imported"


@dataclass(frozen=True)
class Imported:
    """``runs`` by their ids, which are the trials 0, 1, … of a study."""

    runs: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many others were looked at and not taken, by the reason."""
    wanted: Mapping[str, Any] = field(default_factory=dict)
    """``from_study`` and ``from_runs``, as they were given."""

    @classmethod
    def recorded(cls, params: Mapping[str, Any]) -> Imported:
        """Those of a study that is recorded with ``params``."""
        found = params.get(_KEY) or {}
        return cls(tuple(found.get("runs", ())), found.get("left_out", {}), found.get("wanted", {}))

    def as_params(self) -> dict[str, Any]:
        """As they are recorded with the study."""
        return {_KEY: {**vars(self), "runs": list(self.runs)}} if self.wanted else {}

    def __str__(self) -> str:
        """``12 trials brought in, 3 left out: 2 outside the space, 1 failed``."""
        count = len(self.runs)
        why = ", ".join(f"{number} {reason}" for reason, number in self.left_out.items())
        out = f", {sum(self.left_out.values())} left out: {why}" if why else ""
        return f"{count} trial{'s' * (count != 1)} brought in{out}"

    def found(self, workspace: Workspace) -> Iterator[tuple[int, Run | None]]:
        """Each with its number; None for a run that has been deleted since."""
        known = workspace.store.tasks.get_all(self.runs)
        for number, run in enumerate(self.runs):
            yield number, Run(workspace, known[run]) if run in known else None


def labels(workspace: Workspace, runs: Sequence[Task]) -> list[str]:
    """Where trials that were brought in come from: ``trial 12 of churn-1``, or ``churn#48`` of no study."""
    studies = workspace.store.tasks.get_all(sorted({run.study for run in runs if run.study is not None}))
    return [f"trial {run.trial} of {studies[run.study].name}" if run.study in studies else run.label for run in runs]


@dataclass(frozen=True)
class Pinned:
    """What the trials of a study are measured by: which of another's can be its own."""

    space: Space
    goals: Goals
    ladder: Ladder | None = None

    def lacking(self, params: Mapping[str, Any]) -> str | None:
        """Why a run's parameters are no point of the space; None if they are."""
        given = flattened(self.space, params)
        for name, item in self.space.items():
            if isinstance(item, Fixed) and not item.when and not (name in given and item.contains(given[name])):
                return f"with another {name}"
        return "outside the space" if sampling.enqueued(self.space, params) is None else None

    def trial(self, run: Run) -> FrozenTrial | None:
        """``run`` as a finished trial of Optuna's; None outside the space, or where it gave nothing to compare."""
        drawn = sampling.enqueued(self.space, first(run.workspace.store.tasks, run.task).params)
        if drawn is None:
            return None
        outcome = outcome_of(run.workspace, run.task, self.goals)
        reports = self._reports(run)
        if outcome.values is None and (run.status is not Status.PRUNED or not reports):
            return None
        return self._made(run, drawn, outcome, reports)

    def _made(self, run: Run, drawn: dict[str, Any], outcome: Outcome, reports: dict[int, float]) -> FrozenTrial:
        drawing = optuna.trial.FixedTrial(drawn)
        sampling.suggest(drawing, self.space)
        # As Optuna itself keeps what a sampler draws: 1 in a range of floats is 1.0.
        params = {
            name: one.to_external_repr(one.to_internal_repr(drawing.params[name]))
            for name, one in drawing.distributions.items()
        }
        return optuna.trial.create_trial(
            state=TrialState.PRUNED if outcome.values is None else TrialState.COMPLETE,
            values=outcome.values,
            params=params,
            distributions=drawing.distributions,
            user_attrs={sampling.ORIGIN: run.id},
            intermediate_values=reports,
            constraints=dict(outcome.violations) or None,
        )

    def _reports(self, run: Run) -> dict[int, float]:
        """What the run reported of the objective on the way, by step; of several objectives nothing."""
        if self.ladder is not None:
            return climbs(run.workspace, run.task, self.ladder)
        (name, *others) = self.goals.objectives
        if name is None or others:
            return {}
        return dict(series(run.workspace.store, run.task).get(name, ()))


def bring(study: optuna.Study, runs: Sequence[Run | None], pinned: Pinned) -> None:
    """Have ``study`` begin with the trials that these are; those that it has are not added again."""
    for run in runs[len(study.get_trials(deepcopy=False)) :]:
        known = None if run is None else pinned.trial(run)
        # Its place is kept, or the numbers after it would be others.
        gone = optuna.trial.create_trial(state=TrialState.FAIL, user_attrs={sampling.ORIGIN: None})
        study.add_trial(gone if known is None else known)
