"""Tells of trials that have ended: the functions that ``optimize`` was given, and with an event whoever follows those.

A trial is told to Optuna and counted before anybody is told of it here, so nothing that is done then can lose it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from hpo_pipelines.errors import StudyError
from hpo_pipelines.run import Run
from hpo_pipelines.store.chain import first
from hpo_pipelines.study.handle import Study
from hpo_pipelines.study.outcome import Outcome
from hpo_pipelines.study.trial import Trial
from hpo_pipelines.task import Task

log = logging.getLogger(__name__)

BEST = "best"
"""The kind of the event that a study has a new best trial; of several objectives one on its Pareto front."""

OnTrial = Callable[[Trial], object]


def checked(name: str, given: object) -> None:
    """Raise StudyError if ``given`` cannot be called with a trial."""
    if given is not None and not callable(given):
        raise StudyError(f"{name}={given!r}: it is a function that takes a Trial.")


class Announcing:
    """``on_trial`` hears of each trial that ends while this drives ``study``, ``on_best`` of each that is a new best.

    They are called one at a time, in the order in which the trials ended. What they raise is logged, and told to
    ``say``; the study goes on.
    """

    def __init__(
        self,
        study: Study,
        on_trial: OnTrial | None = None,
        on_best: OnTrial | None = None,
        *,
        say: Callable[[str], None],
    ) -> None:
        self._study = study
        self._on_trial = on_trial
        self._on_best = on_best
        self._say = say
        self._waiting: deque[tuple[Trial, bool]] = deque()
        self._calling = threading.Lock()

    def ended(self, number: int, run: Task, outcome: Outcome, best: Sequence[tuple[str, Sequence[float]]]) -> None:
        """Trial ``number`` has ended; ``best`` are the labels and values of the best since. One thread at a time."""
        is_best = any(label == run.label for label, _ in best)
        if is_best:
            self._record(number, run, outcome.values or ())
        if self._on_trial is not None or self._on_best is not None:
            place = self._study.workspace
            sampled = first(place.store.tasks, run).params
            trial = Trial(number, sampled, outcome.values, run.status, Run(place, run), outcome.violations)
            self._waiting.append((trial, is_best))

    def catch_up(self, best: Sequence[tuple[str, Sequence[float]]]) -> None:
        """Record the best trial of earlier drivers, if the last of them came to its end before it did."""
        if not best:
            return
        label, values = best[-1]
        store = self._study.workspace.store
        told = [event for event in store.events.story(self._study.id) if event.kind == BEST]
        if not told or told[-1].data["run"] != label:
            run = next((run.task for run in self._study.runs if run.label == label), None)
            if run is not None:
                self._record(run.trial or 0, run, values)

    def call(self) -> None:
        """Call the functions for the trials that were noted; whoever else is at it is waited for."""
        with self._calling:
            while self._waiting:
                trial, is_best = self._waiting.popleft()
                self._told("on_trial", self._on_trial, trial)
                if is_best:
                    self._told("on_best", self._on_best, trial)

    def _told(self, name: str, function: OnTrial | None, trial: Trial) -> None:
        if function is None:
            return
        try:
            function(trial)
        except Exception as error:
            log.warning("%s raised for trial %d of %s", name, trial.number, self._study.name, exc_info=True)
            self._say(f"{name} raised {type(error).__name__} for trial {trial.number}: {error}")

    def _record(self, number: int, run: Task, values: Sequence[float]) -> None:
        said: dict[str, Any] = {"trial": number, "run": run.label, "id": run.id}
        said["values"] = dict(zip(self._study.goals.names, values, strict=True))
        self._study.workspace.store.events.append(self._study.id, BEST, said)
