"""What Optuna knows of a study, for pages that ask again and again: its storage is read on, never anew."""

from __future__ import annotations

import threading
import warnings

import optuna
from optuna.storages import InMemoryStorage

from hpo_pipelines.study.handle import Study
from hpo_pipelines.study.rebuilt import is_behind

_COMPLETE = (optuna.trial.TrialState.COMPLETE,)


class Analysis:
    """Values and importances of one study; safe to use from many threads."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._optuna = study.optuna_study
        self._lock = threading.Lock()
        self._importances: tuple[int, dict[str, float]] = (0, {})

    @property
    def values(self) -> dict[int, float]:
        """The value of each completed trial, by its number. For several objectives the first one's."""
        with self._lock:
            done = self._done()
        return {trial.number: trial.values[0] for trial in done}

    @property
    def importances(self) -> dict[str, float]:
        """How much of the objective each sampled parameter explains, by PED-ANOVA, highest first.

        Empty where Optuna cannot say: fewer than two completed trials, or all of one value. The method is that of
        Watanabe, Bansal, Hutter (IJCAI 2023).
        """
        with self._lock:
            done = self._done()
            if self._importances[0] != len(done):
                self._importances = len(done), _importances(self._optuna, done)
            return dict(self._importances[1])

    def _done(self) -> list[optuna.trial.FrozenTrial]:
        # What was made from our store is not told what happens; nor is the file of a study that another machine drives.
        if isinstance(self._optuna._storage, InMemoryStorage) or is_behind(self._optuna, self._study.runs):
            self._optuna = self._study.optuna_study
        done: list[optuna.trial.FrozenTrial] = self._optuna.get_trials(deepcopy=False, states=_COMPLETE)
        return done


def _importances(study: optuna.Study, done: list[optuna.trial.FrozenTrial]) -> dict[str, float]:
    if len({trial.values[0] for trial in done}) < 2:
        return {}
    target = None if len(study.directions) == 1 else lambda trial: trial.values[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            return dict(optuna.importance.get_param_importances(study, target=target))
        except (ValueError, RuntimeError):  # too few trials with all parameters, say
            return {}
