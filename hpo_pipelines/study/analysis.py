"""What Optuna knows of a study, for pages that ask again and again: its storage is read on, never anew."""

from __future__ import annotations

import threading
import warnings

import optuna

from hpo_pipelines.study.goals import feasible
from hpo_pipelines.study.handle import Study

_COMPLETE = (optuna.trial.TrialState.COMPLETE,)


class Analysis:
    """Values and importances of one study; safe to use from many threads."""

    def __init__(self, study: Study) -> None:
        self.goals = study.goals
        """The objectives, in the order of each trial's values; their directions; the constraints."""
        self._optuna = study.optuna_study
        self._lock = threading.Lock()
        self._importances: dict[int, tuple[int, dict[str, float]]] = {}

    def _done(self) -> list[optuna.trial.FrozenTrial]:
        return list(self._optuna.get_trials(deepcopy=False, states=_COMPLETE))

    @property
    def values(self) -> dict[int, float]:
        """The value of each completed trial, by its number. For several objectives the first one's."""
        return {number: values[0] for number, values in self.objectives.items()}

    @property
    def objectives(self) -> dict[int, tuple[float, ...]]:
        """One value for each objective of each completed trial, by the trial's number."""
        with self._lock:
            return {trial.number: tuple(trial.values) for trial in self._done()}

    @property
    def violations(self) -> dict[int, dict[str, float]]:
        """By how much each completed trial violates each constraint; 0 or less where it does not."""
        with self._lock:
            return {trial.number: dict(trial.constraints) for trial in self._done()}

    @property
    def best(self) -> list[int]:
        """The numbers of the feasible trials that no other is better than: of several objectives the Pareto front.

        Best first by the first objective; of one objective at most one.
        """
        with self._lock:
            done = [trial for trial in self._done() if feasible(trial.constraints)]
        return self.goals.front({trial.number: tuple(trial.values) for trial in done})

    @property
    def importances(self) -> dict[str, float]:
        """How much of the first objective each sampled parameter explains; see :meth:`importances_of`."""
        return self.importances_of(0)

    def importances_of(self, objective: int) -> dict[str, float]:
        """How much of an objective, by its place, each sampled parameter explains, by PED-ANOVA, highest first.

        Empty where Optuna cannot say: fewer than two completed trials, or all of one value. The method is that of
        Watanabe, Bansal, Hutter (IJCAI 2023).
        """
        with self._lock:
            done = self._done()
            known = self._importances.get(objective)
            if known is None or known[0] != len(done):
                known = self._importances[objective] = len(done), _importances(self._optuna, done, objective)
            return dict(known[1])


def _importances(study: optuna.Study, done: list[optuna.trial.FrozenTrial], objective: int) -> dict[str, float]:
    if len({trial.values[objective] for trial in done}) < 2:
        return {}
    # Of a study with one objective Optuna minds the direction itself; any other number it takes as one to minimize.
    sign = -1.0 if study.directions[objective] is optuna.study.StudyDirection.MAXIMIZE else 1.0
    target = None if len(study.directions) == 1 else lambda trial: sign * trial.values[objective]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "PedAnovaImportanceEvaluator computes", UserWarning)
        try:
            return dict(optuna.importance.get_param_importances(study, target=target))
        except (ValueError, RuntimeError):  # too few trials with all parameters, say
            return {}
