"""What Optuna knows of a study, for pages that ask again and again: its storage is read on, never anew."""

from __future__ import annotations

import threading
import warnings
from functools import cached_property

import optuna

from hpo_pipelines.study.handle import Study
from hpo_pipelines.study.results import JournalResults, OptunaResults, Results
from hpo_pipelines.study.sampling import journal_path

_COMPLETE = (optuna.trial.TrialState.COMPLETE,)


class Analysis:
    """Values and importances of one study; safe to use from many threads."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._lock = threading.Lock()
        self._importances: tuple[int, dict[str, float]] = (-1, {})

    @property
    def values(self) -> dict[int, tuple[float, ...]]:
        """The values of each completed trial, one for each objective, by its number."""
        with self._lock:
            return dict(self._results.values())

    @property
    def importances(self) -> dict[str, float]:
        """How much of the first objective each sampled parameter explains, by PED-ANOVA, highest first.

        Empty where Optuna cannot say: fewer than two completed trials, or all of one value. Computed anew when more
        have completed: seconds for thousands of trials. The method is that of Watanabe, Bansal, Hutter (IJCAI 2023).
        """
        with self._lock:
            done = len(self._results.values())
            if self._importances[0] != done:
                self._importances = done, _importances(self._optuna) if done > 1 else {}
            return dict(self._importances[1])

    @cached_property
    def _results(self) -> Results:
        if self._study.task.params.get("storage") is None:
            return JournalResults(journal_path(self._study.workspace.home, self._study.id))
        return OptunaResults(self._optuna)

    @cached_property
    def _optuna(self) -> optuna.Study:
        return self._study.optuna_study


def _importances(study: optuna.Study) -> dict[str, float]:
    done = study.get_trials(deepcopy=False, states=_COMPLETE)
    if len({trial.values[0] for trial in done}) < 2:
        return {}
    target = None if len(study.directions) == 1 else lambda trial: trial.values[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            return dict(optuna.importance.get_param_importances(study, target=target))
        except (ValueError, RuntimeError):  # too few trials with all parameters, say
            return {}
