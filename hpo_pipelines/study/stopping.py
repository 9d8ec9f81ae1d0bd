"""Stop rules: which limit of a study is reached, from what its trials gave so far."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from hpo_pipelines.study.goals import Goals
from hpo_pipelines.study.limits import Limits


@dataclass(frozen=True)
class Stop:
    """Why a study asks for no more trials: the ``rule``, by the name of its option, and one line for a person."""

    rule: str
    reason: str


@dataclass(frozen=True)
class Ended:
    """A trial that has ended. ``values`` are None unless it completed; ``seconds`` is what its steps took."""

    label: str
    values: Sequence[float] | None = None
    is_feasible: bool = True
    is_failed: bool = False
    seconds: float = 0.0


class StopRules:
    """Counts what trials gave, in the order in which they ended. Not safe to use from several threads at once."""

    def __init__(self, limits: Limits, goals: Goals) -> None:
        self._limits = limits
        self._goals = goals
        self._deadline = math.inf if limits.timeout is None else time.monotonic() + limits.timeout
        self._failed = 0
        self._seconds = 0.0
        self._front: dict[int, Sequence[float]] = {}
        """What no trial so far was better than, with the names of these trials."""
        self._labels: dict[int, str] = {}
        self._count = 0
        self._since = 0
        self._improved_by: str | None = None

    @property
    def seconds_left(self) -> float | None:
        """Until the time is over; None without a timeout, and after it."""
        left = self._deadline - time.monotonic()
        return None if math.isinf(left) or left <= 0 else left

    @property
    def best(self) -> list[tuple[str, Sequence[float]]]:
        """The best feasible trials so far, with their values: of one objective one, the last of the list."""
        return [(self._labels[number], values) for number, values in self._front.items()]

    def ended(self, trial: Ended) -> None:
        """Take one more trial into account."""
        self._failed += trial.is_failed
        self._seconds += trial.seconds
        self._since += 1
        if self.known(trial):
            self._since = 0
            self._improved_by = trial.label

    def known(self, trial: Ended) -> bool:
        """Take into account what a trial gave, and not that it ended; whether it is better than what is known."""
        self._count += 1
        if trial.values is not None and trial.is_feasible and self._is_better(trial.values):
            goals, values = self._goals, trial.values
            self._front = {n: each for n, each in self._front.items() if not goals.dominates(values, each)}
            self._front[self._count] = values
            self._labels[self._count] = trial.label
            return True
        return False

    def _is_better(self, values: Sequence[float]) -> bool:
        """Whether nothing so far is as good: several objectives improve where a trial comes onto the front."""
        known = self._front.values()
        return not any(tuple(each) == tuple(values) or self._goals.dominates(each, values) for each in known)

    def fired(self) -> Stop | None:
        """The first rule that says to stop now, if any does. That there are enough trials is for their asker."""
        limits = self._limits
        if limits.max_failures is not None and self._failed >= limits.max_failures:
            return Stop("max_failures", f"{self._failed} trials failed (max_failures={limits.max_failures})")
        reached = self._reached()
        if reached is not None:
            return reached
        if limits.plateau is not None and self._since >= limits.plateau:
            since = f"since {self._improved_by}" if self._improved_by else "at all"
            return Stop("plateau", f"no better value in {self._since} trials, {since} (plateau={limits.plateau})")
        if limits.max_compute is not None and self._seconds >= limits.max_compute:
            spent = f"steps took {self._seconds:.4g} s"
            return Stop("max_compute", f"{spent} (max_compute={limits.max_compute:g})")
        if time.monotonic() >= self._deadline:
            return Stop("timeout", f"timeout: {limits.timeout:g} s are over")
        return None

    def _reached(self) -> Stop | None:
        if self._limits.target is None or self._goals.several:
            return None
        sign, target = (1 if self._goals.directions[0] == "maximize" else -1), self._limits.target
        for number, (value,) in self._front.items():
            if sign * value >= sign * target:
                return Stop("target", f"{value:.6g} in {self._labels[number]} reaches the target {target:g}")
        return None
