"""How long each stage would take for given parameters, learnt from the times that it took."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from hpo_pipelines.study.reuse.cube import Array, Cube
from hpo_pipelines.study.reuse.gaussian import GaussianProcess
from hpo_pipelines.study.reuse.stages import Stages

_FEW = 8
_ALIKE = 0.02
"""Spread of log-seconds below which a stage always takes the same."""
_BEYOND = 0.5
"""How far predictions of log-seconds may leave the range that was seen, and how large their deviation may be."""
_LATEST = 100


class StageSeconds:
    """Seconds of one stage as a function of the parameters that reach it.

    Up to eight observations, or where all are alike, their median. Then a Gaussian process on log-seconds, whose mean
    is that of the log-normal. A simple model of low variance is enough (Guinet, Perrone, Archambeau,
    "Pareto-efficient acquisition functions for cost-aware Bayesian optimization", 2020), so predictions keep near the
    range that was seen: none comes near 0 s.
    """

    def __init__(self, columns: Sequence[int]) -> None:
        self._columns = list(columns)
        self._process: GaussianProcess | None = None
        self._fitted = 0

    def fit(self, x: Array, seconds: Sequence[float], categorical: Array) -> None:
        """Learn from ``seconds`` (n,) taken at ``x`` (n, D)."""
        logs = np.log(np.maximum(seconds, 1e-9))
        self._middle, self._mean, self._spread = float(np.median(logs)), float(logs.mean()), float(logs.std())
        self._low, self._high = float(logs.min()) - _BEYOND, float(logs.max()) + _BEYOND
        self._flat = len(logs) < _FEW or self._spread < _ALIKE or not self._columns
        if not self._flat:
            if self._process is None:
                self._process = GaussianProcess(categorical[self._columns])
            self._process.fit(x[:, self._columns], (logs - self._mean) / self._spread)

    def at(self, x: Array) -> Array:
        """Expected seconds at each of ``x`` (m, D)."""
        if self._flat or self._process is None:
            return np.full(len(x), math.exp(self._middle))
        mean, deviation = self._process.predict(x[:, self._columns])
        logs = np.clip(self._mean + self._spread * mean, self._low, self._high)
        return np.asarray(np.exp(logs + 0.5 * np.minimum(self._spread * deviation, _BEYOND) ** 2))

    @property
    def median(self) -> float:
        return math.exp(self._middle)


class Prices:
    """The seconds of every stage. What has never been timed costs nothing; if nothing has, all stages cost the same."""

    def __init__(self, stages: Stages, cube: Cube, overhead: float | None) -> None:
        self._stages = stages
        self._cube = cube
        self._given = overhead
        self._models: dict[str, StageSeconds] = {}

    def fit(self, x: Array, seconds: Sequence[Mapping[str, float]]) -> None:
        """Learn from trials at ``x`` (n, D), and the ``seconds`` of the stages that each computed."""
        for name in self._stages.names:
            rows = [row for row, each in enumerate(seconds) if name in each][-_LATEST:]
            if rows:
                model = self._models.setdefault(name, StageSeconds(self._cube.columns(self._stages.reaching(name))))
                model.fit(x[rows], [seconds[row][name] for row in rows], self._cube.categorical)

    def median(self, stage: str) -> float:
        if not self._models:
            return 1.0
        return self._models[stage].median if stage in self._models else 0.0

    @property
    def whole(self) -> float:
        """Median seconds of a trial that computes everything."""
        return max(sum(self.median(name) for name in self._stages.names), 1e-9)

    @property
    def overhead(self) -> float:
        """Seconds that a trial costs though nothing is left to compute: without them, a duplicate would be free."""
        return self._given if self._given is not None else 0.002 * self.whole

    def of(self, stage: str, x: Array) -> Array:
        """Expected seconds of ``stage`` at each of ``x`` (m, D)."""
        if stage in self._models:
            return self._models[stage].at(x)
        return np.full(len(x), self.median(stage))
