"""The trials that a sampler learns from, as it sees them while it makes a proposal."""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState


@dataclass(frozen=True)
class Known:
    """A trial with all that it is to have: a running one also what was proposed and not asked for yet."""

    trial: FrozenTrial
    params: Mapping[str, Any]

    @property
    def number(self) -> int:
        return int(self.trial.number)


class Proposals:
    """What was proposed to trials that have not asked for every parameter yet; safe to use from many threads.

    A second trial that is asked for meanwhile must not be given the same.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, dict[str, Any]] = {}

    def note(self, trial: FrozenTrial, params: Mapping[str, Any]) -> None:
        with self._lock:
            self._open[trial.number] = dict(params)

    def close(self, trial: FrozenTrial) -> None:
        with self._lock:
            self._open.pop(trial.number, None)

    def of(self, trial: FrozenTrial) -> Mapping[str, Any]:
        """The parameters of ``trial``, those included that it has been proposed."""
        with self._lock:
            proposed = self._open.get(trial.number)
        # An enqueued trial has its parameters before it asks for them.
        return {**(proposed or {}), **trial.system_attrs.get("fixed_params", {}), **trial.params}


def completed(study: optuna.Study) -> list[FrozenTrial]:
    """The trials with finite values, the oldest first."""
    found = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in found if all(map(math.isfinite, trial.values))]


def running(study: optuna.Study, proposals: Proposals, params: Collection[str], but: int) -> list[Known]:
    """The running trials, without number ``but``, that have all of ``params``."""
    found = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    known = [Known(trial, proposals.of(trial)) for trial in found if trial.number != but]
    return [each for each in known if set(params) <= each.params.keys()]


def pruned(study: optuna.Study, params: Collection[str], most: int) -> list[FrozenTrial]:
    """The newest pruned trials, at most so many, that have all of ``params``; not those told as infeasible."""
    found = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    return [each for each in found if set(params) <= each.params.keys() and violation(each) == 0.0][-most:]


def best_first(study: optuna.Study, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """``trials`` by value, feasible ones before others; of several objectives, those on the front first."""
    if len(study.directions) > 1:
        # Of trials told apart by no single number, the front comes first, the newest of it leading.
        front = {trial.number for trial in study.best_trials} if trials else set()
        return sorted(trials, key=lambda trial: (trial.number not in front, -trial.number))
    sign = -1.0 if study.direction is StudyDirection.MAXIMIZE else 1.0
    return sorted(trials, key=lambda trial: (violation(trial), sign * trial.values[0]))


def violation(trial: FrozenTrial) -> float:
    """By how much ``trial`` violates its constraints; 0 when it is feasible."""
    return float(sum(max(0.0, value) for value in trial.constraints.values()))
