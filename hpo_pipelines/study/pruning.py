"""What stops a trial: Optuna's pruner, which hears the metrics that a study is pruned on.

The objective of a study that has but one is reported to Optuna's own study, where samplers see it too. Any other metric
has a *shadow*: a study in memory with that metric as its only objective. So several objectives can be pruned, which
Optuna itself refuses, and a result of one step can stop a trial before its later steps begin.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import optuna
from optuna.pruners import BasePruner, NopPruner, PercentilePruner
from optuna.trial import TrialState

from hpo_pipelines.engine.options import Watch
from hpo_pipelines.errors import StudyError
from hpo_pipelines.study.goals import DIRECTIONS, Goals

Series = Sequence[tuple[int, float]]
"""What was reported of one metric in one trial: (step, value), in the order of the reports."""

_MAXIMIZE = optuna.study.StudyDirection.MAXIMIZE


def directions(prune_on: str | Sequence[str] | None, goals: Goals, *, prunes: bool) -> dict[str, str]:
    """The metrics that the study is pruned on, each with its direction; none unless it ``prunes``.

    Each of ``prune_on`` is ``STEP.METRIC`` or ``STEP.METRIC:minimize``; without it the one objective. Raises
    StudyError where several objectives leave open which metric, or which direction.
    """
    if prune_on is None:
        if not prunes:
            return {}
        (name, *others) = goals.objectives
        if others:
            raise StudyError(
                f"a pruner compares one number, and there are {len(goals.objectives)} objectives: name the metric that "
                f"drives it, prune_on={goals.names[0]!r}."
            )
        return {} if name is None else {name: goals.directions[0]}
    found = {}
    for text in [prune_on] if isinstance(prune_on, str) else prune_on:
        name, colon, direction = text.partition(":")
        known = direction if colon else goals.direction_of(name)
        if not name or known not in DIRECTIONS:
            raise StudyError(f"prune_on={text!r}: write STEP.METRIC:maximize or STEP.METRIC:minimize.")
        found[name] = known
    if not found:
        raise StudyError("prune_on=[]: name at least one STEP.METRIC, or leave it out.")
    return found


@dataclass
class _Heard:
    """One trial as the pruner of one metric knows it."""

    trial: optuna.Trial
    steps: set[int] = field(default_factory=set)

    def says_stop(self, value: float, step: int) -> bool:
        """Whether the trial is to be pruned, after one more report; a second one of a step is not heard."""
        if step in self.steps:
            return False
        self.steps.add(step)
        self.trial.report(value, step)
        return bool(self.trial.should_prune())


class Shadow:
    """A study with one metric as its only objective, in memory."""

    def __init__(self, direction: str, pruner: BasePruner) -> None:
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self.study = optuna.create_study(
                direction=direction, pruner=pruner, sampler=optuna.samplers.RandomSampler(0)
            )
        finally:
            optuna.logging.set_verbosity(verbosity)

    def begin(self) -> _Heard:
        return _Heard(self.study.ask())

    def end(self, heard: _Heard, state: TrialState) -> None:
        """Tell that the trial has ended; one that completed without a finite report is of no use for comparing."""
        reports = self.study._storage.get_trial(heard.trial._trial_id).intermediate_values
        last = reports[max(reports)] if reports else math.nan
        if state is TrialState.COMPLETE and not math.isnan(last):
            self.study.tell(heard.trial.number, last)
        else:
            ended = TrialState.FAIL if state is TrialState.COMPLETE else state
            self.study.tell(heard.trial.number, state=ended)

    def replay(self, series: Series, state: TrialState) -> None:
        """Take in a trial of an earlier driver, so that what the pruner itself notes of it is there again."""
        heard = self.begin()
        for step, value in series:
            heard.says_stop(value, step)
        self.end(heard, state)


class Pruning:
    """Has ``pruner`` decide for the trials of a study; ``metrics`` are those of :func:`directions`.

    ``lock`` guards Optuna's own study, whose pruner it is too, unless that has several objectives.
    """

    def __init__(self, pruner: BasePruner, metrics: Mapping[str, str], goals: Goals, lock: threading.RLock) -> None:
        self._pruner = pruner
        self._own = goals.objectives[0] if not goals.several else None
        self._metrics = {} if isinstance(pruner, NopPruner) else dict(metrics)
        self._shadows = {
            name: Shadow(direction, pruner) for name, direction in self._metrics.items() if name != self._own
        }
        self._lock = lock
        self._under_way: dict[int, dict[str, _Heard]] = {}
        self._unheard = set(self._metrics)

    @property
    def metrics(self) -> Collection[str]:
        """All that is heard: metrics of steps, and their results."""
        return self._metrics.keys()

    @property
    def shadowed(self) -> Collection[str]:
        """The metrics that Optuna's own study does not keep: after a restart they are to be replayed."""
        return self._shadows.keys()

    @property
    def unheard(self) -> Collection[str]:
        """The metrics of which no trial has reported anything: misspelt, perhaps."""
        return frozenset(self._unheard)

    def replay(self, series: Mapping[str, Series], state: TrialState) -> None:
        """Take in what an ended trial of an earlier driver reported, by metric."""
        for name, shadow in self._shadows.items():
            shadow.replay(series.get(name, ()), state)
            self._unheard -= {name} & series.keys()

    def watch(self, trial: optuna.Trial) -> Watch | None:
        """What hears the reports of ``trial``, which begins; None where nothing prunes."""
        if not self._metrics:
            return None
        heard = {name: shadow.begin() for name, shadow in self._shadows.items()}
        if self._own in self._metrics:
            # What a trial reported before it was resumed.
            seen = set(trial._cached_frozen_trial.intermediate_values)
            heard[str(self._own)] = _Heard(trial, seen)
        with self._lock:
            self._under_way[trial.number] = heard
        return self._hearing(heard)

    def _hearing(self, heard: Mapping[str, _Heard]) -> Callable[[str, str, float, int], str | None]:
        def watch(component: str, metric: str, value: float, step: int) -> str | None:
            name = f"{component}.{metric}" if metric else component
            known = heard.get(name)
            if known is None:
                return None
            with self._lock:
                self._unheard.discard(name)
                if known.says_stop(value, step):
                    return f"pruned at {component} step {step}: {metric or 'result'} {value:.6g}{self._compared(known)}"
            return None

        return watch

    def _compared(self, known: _Heard) -> str:
        """What the pruner compared with, as far as it can be said in a few words."""
        pruner, study = self._pruner, known.trial.study
        if not isinstance(pruner, PercentilePruner):
            return f", by {type(pruner).__name__.removesuffix('Pruner') or type(pruner).__name__}"
        frozen = study._storage.get_trial(known.trial._trial_id)
        step, reports = frozen.last_step, list(frozen.intermediate_values.values())
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        others = [trial.intermediate_values[step] for trial in done if step in trial.intermediate_values]
        highest = study.direction is _MAXIMIZE
        if not others or all(map(math.isnan, reports)):
            return ""
        percentile = pruner._percentile
        bound = np.nanpercentile(np.array(others, dtype=float), 100 - percentile if highest else percentile)
        named = "median" if percentile == 50 else f"the best {percentile:g} % from"
        best = np.nanmax(reports) if highest else np.nanmin(reports)
        so_far = f" (best so far {best:.6g})" if best != reports[-1] else ""
        return f"{so_far} {'below' if highest else 'above'} {named} {bound:.6g}"

    def ended(self, number: int, state: TrialState) -> None:
        """A trial that was watched has ended."""
        with self._lock:
            heard = self._under_way.pop(number, {})
            for name, shadow in self._shadows.items():
                if name in heard:
                    shadow.end(heard[name], state)
