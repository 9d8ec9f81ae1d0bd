"""How much a candidate promises for what is left to pay for it: two scores over a Gaussian process's predictions."""

from __future__ import annotations

import functools
import math
from typing import Protocol

import numpy as np
import scipy.special

from hpo_pipelines.study.reuse.cube import Array

_LOG_ROOT_2PI = 0.5 * math.log(2.0 * math.pi)
_LOG_ROOT_HALF_PI = 0.5 * math.log(0.5 * math.pi)
_LEAST_PRICE = math.log(1e-9)


class Gain(Protocol):
    """Higher is better. ``seconds`` are those left to compute of each candidate."""

    def score(self, mean: Array, deviation: Array, seconds: Array) -> Array:
        """The score of each candidate, from its predicted mean and standard deviation."""

    def slope(self, mean: float, deviation: float, seconds: float) -> tuple[float, float, float]:
        """The score of one, and its derivatives by mean and deviation, at fixed seconds."""


def log_h(z: Array) -> Array:
    """log(φ(z) + z·Φ(z)) without loss far below 0.

    Ament, Daulton, Eriksson, Balandat, Bakshy, "Unexpected improvements to expected improvement" (NeurIPS 2023), §A.
    """
    z = np.asarray(z, dtype=float)
    found = np.empty_like(z)
    near, far = z > -1.0, z <= -1e5
    found[near] = np.log(np.exp(-0.5 * z[near] ** 2 - _LOG_ROOT_2PI) + z[near] * scipy.special.ndtr(z[near]))
    found[far] = -0.5 * z[far] ** 2 - _LOG_ROOT_2PI - 2.0 * np.log(-z[far])
    middle = ~near & ~far
    minus = -z[middle]
    ratio = np.exp(np.log(scipy.special.erfcx(minus / math.sqrt(2.0)) * minus) + _LOG_ROOT_HALF_PI)
    found[middle] = -0.5 * minus**2 - _LOG_ROOT_2PI + np.log1p(-np.minimum(ratio, 1.0 - 1e-16))
    return found


class ImprovementPerSecond:
    """log EI(x; best) − power·log seconds(x): expected improvement per remaining second.

    With ``power`` 0 it is plain expected improvement, blind to cost.
    """

    def __init__(self, best: float, power: float = 1.0) -> None:
        self._best = best
        self._power = power

    def score(self, mean: Array, deviation: Array, seconds: Array) -> Array:
        gain = log_h((mean - self._best) / deviation) + np.log(deviation)
        return np.asarray(gain - self._power * np.log(seconds) if self._power else gain)

    def slope(self, mean: float, deviation: float, seconds: float) -> tuple[float, float, float]:
        scaled = (mean - self._best) / deviation
        log_value = float(log_h(np.array([scaled]))[0])
        # d log h / dz = Φ(z) / h(z)
        rise = math.exp(min(float(scipy.special.log_ndtr(scaled)) - log_value, 700.0))
        value = log_value + math.log(deviation) - self._power * math.log(seconds)
        return value, rise / deviation, (1.0 - rise * scaled) / deviation


class GittinsIndex:
    """The g for which E[(f(x) − g)₊] = price·seconds(x): what a candidate is worth when opening it must pay for itself.

    Xie, Astudillo, Frazier, Scully, Terenin, "Cost-aware Bayesian optimization via the Pandora's box Gittins index"
    (NeurIPS 2024). ``seconds`` are taken relative to ``whole``, those of a whole trial; the price is the largest of
    0.1·2⁻ᵏ at which some candidate is worth more than ``best``.
    """

    def __init__(self, best: float, whole: float) -> None:
        self._best = best
        self._log_whole = math.log(whole)
        self._log_price = math.log(0.1)

    def score(self, mean: Array, deviation: Array, seconds: Array) -> Array:
        log_seconds = np.log(seconds) - self._log_whole
        found = self._index(mean, deviation, log_seconds)
        while found.max() <= self._best and self._log_price > _LEAST_PRICE:
            self._log_price -= math.log(2.0)
            found = self._index(mean, deviation, log_seconds)
        return found

    def slope(self, mean: float, deviation: float, seconds: float) -> tuple[float, float, float]:
        log_seconds = np.array([math.log(seconds) - self._log_whole])
        index = float(self._index(np.array([mean]), np.array([deviation]), log_seconds)[0])
        scaled = (mean - index) / deviation
        rise = math.exp(-0.5 * scaled * scaled - _LOG_ROOT_2PI - float(scipy.special.log_ndtr(scaled)))
        return index, 1.0, rise

    def _index(self, mean: Array, deviation: Array, log_seconds: Array) -> Array:
        grid, values = _inverse()
        return np.asarray(mean - deviation * np.interp(self._log_price + log_seconds - np.log(deviation), values, grid))


@functools.cache
def _inverse() -> tuple[Array, Array]:
    """z and log h(z), which rises with it: read the other way round, the inverse of log h."""
    grid = np.linspace(-38.0, 12.0, 20_001)
    return grid, log_h(grid)
