"""What Optuna knows of a study, for pages that ask again and again: its storage is read on, never anew."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from functools import cached_property

import optuna
from optuna.storages import InMemoryStorage

from hpo_pipelines.study.goals import feasible
from hpo_pipelines.study.handle import Study
from hpo_pipelines.study.rebuilt import is_behind
from hpo_pipelines.study.results import JournalResults
from hpo_pipelines.study.sampling import journal_path

_COMPLETE = (optuna.trial.TrialState.COMPLETE,)


class Analysis:
    """Values and importances of one study; safe to use from many threads."""

    def __init__(self, study: Study) -> None:
        self.goals = study.goals
        """The objectives, in the order of each trial's values; their directions; the constraints."""
        self._study = study
        self._brought = len(study.imported.runs)
        self._lock = threading.Lock()
        self._importances: dict[int, tuple[int, dict[str, float]]] = {}

    @cached_property
    def _journal(self) -> JournalResults | None:
        """What this machine's file says of the study, where Optuna keeps it in one."""
        if self._study.task.params.get("storage") is not None:
            return None
        return JournalResults(journal_path(self._study.workspace.home, self._study.id))

    @cached_property
    def _optuna(self) -> optuna.Study:
        return self._study.optuna_study

    def _values(self, runs: int) -> Mapping[int, tuple[float, ...]]:
        if self._journal is not None:
            values = self._journal.values()
            if self._journal.trials >= runs + self._brought:
                return values
        return {trial.number: tuple(trial.values) for trial in self._done()}

    @property
    def values(self) -> dict[int, tuple[float, ...]]:
        """The values of each completed trial, one for each objective, by its number."""
        return self.values_among(sum(self._study.workspace.store.studies.counts(self._study.id).values()))

    def values_among(self, runs: int) -> dict[int, tuple[float, ...]]:
        """:attr:`values` for who has counted the runs of the trials, and found so many ``runs``, before this call.

        A trial is in this machine's file before its run is in our store; fewer there than ``runs`` say that another
        machine drives the study.
        """
        with self._lock:
            return dict(self._values(runs))

    @property
    def violations(self) -> dict[int, dict[str, float]]:
        """By how much each completed trial violates each constraint; 0 or less where it does not."""
        if not self.goals.constraints:
            return {number: {} for number in self.values}
        with self._lock:
            return {trial.number: dict(trial.constraints) for trial in self._done()}

    @property
    def infeasible(self) -> frozenset[int]:
        """The completed trials that violate a constraint of the study: they have values, and are never best."""
        if not self.goals.constraints:
            return frozenset()
        return frozenset(number for number, each in self.violations.items() if not feasible(each))

    @property
    def best(self) -> list[int]:
        """The numbers of the feasible trials that no other is better than: of several objectives the Pareto front.

        Best first by the first objective; of one objective at most one.
        """
        infeasible = self.infeasible
        return self.goals.front({number: each for number, each in self.values.items() if number not in infeasible})

    @property
    def importances(self) -> dict[str, float]:
        """How much of the first objective each sampled parameter explains; see :meth:`importances_of`."""
        return self.importances_of(0)

    def importances_of(self, objective: int) -> dict[str, float]:
        """How much of an objective, by its place, each sampled parameter explains, by PED-ANOVA, highest first.

        Empty where Optuna cannot say: fewer than two completed trials, or all of one value. Computed anew when more
        have completed: seconds for thousands of trials. The method is that of Watanabe, Bansal, Hutter (IJCAI 2023).
        """
        done = len(self.values)
        with self._lock:
            known = self._importances.get(objective)
            if known is None or known[0] != done:
                trials = self._done()  # which may make Optuna's side anew
                known = self._importances[objective] = done, _importances(self._optuna, trials, objective)
            return dict(known[1])

    def _done(self) -> list[optuna.trial.FrozenTrial]:
        # What was made from our store is not told what happens; nor is the file of a study that another machine drives.
        if isinstance(self._optuna._storage, InMemoryStorage) or is_behind(self._optuna, self._study.runs):
            self._optuna = self._study.optuna_study
        done: list[optuna.trial.FrozenTrial] = self._optuna.get_trials(deepcopy=False, states=_COMPLETE)
        return done


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
