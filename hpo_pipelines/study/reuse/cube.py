"""A search space as a box that a Gaussian process can be put over: [0, 1] for ranges, the index for choices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Array = NDArray[np.float64]

_FINE = 1000
"""Ranges of more values than this are searched as if they were continuous."""


class Cube:
    """Points are rows of D numbers, one for each parameter in ``names``.

    A choice is its index. A range with steps has a cell for each value, and a point lies in its cell's middle; on a
    logarithmic range equal ratios are equally far apart.
    """

    def __init__(self, space: Mapping[str, BaseDistribution]) -> None:
        self.names = list(space)
        self.dimensions = len(self.names)
        self._distributions = list(space.values())
        self.column = {name: column for column, name in enumerate(self.names)}
        self.categorical = np.array([isinstance(d, CategoricalDistribution) for d in self._distributions], dtype=bool)
        self.cells = np.array([_cells(d) for d in self._distributions], dtype=int)
        """How many values each parameter has; 0 where it is continuous."""
        self.continuous = ~self.categorical & (self.cells == 0)

    def columns(self, names: Sequence[str] | frozenset[str]) -> list[int]:
        """The columns of those of ``names`` that are here, in order."""
        return sorted(self.column[name] for name in names if name in self.column)

    def point(self, params: Mapping[str, Any]) -> Array:
        """Where ``params``, which has every name, lies: shape (D,)."""
        return np.array([self.coordinate(name, params) for name in self.names])

    def points(self, params: Sequence[Mapping[str, Any]]) -> Array:
        """Shape (n, D)."""
        return np.array([self.point(each) for each in params]).reshape(len(params), self.dimensions)

    def params(self, point: Array) -> dict[str, Any]:
        """The values at a point, each in its distribution."""
        return {name: self._value(column, float(point[column])) for column, name in enumerate(self.names)}

    def snapped(self, points: Array) -> Array:
        """``points``, of any shape (…, D), moved to the nearest that stand for values."""
        snapped = np.array(points, dtype=float)
        for column in range(self.dimensions):
            values, cells = snapped[..., column], self.cells[column]
            if self.categorical[column]:
                snapped[..., column] = np.clip(np.round(values), 0, cells - 1)
            elif cells:
                snapped[..., column] = (np.clip(np.floor(values * cells), 0, cells - 1) + 0.5) / cells
            else:
                snapped[..., column] = np.clip(values, 0.0, 1.0)
        return snapped

    def sample(self, count: int, random: np.random.Generator) -> Array:
        """``count`` points drawn evenly: shape (count, D)."""
        drawn = random.random((count, self.dimensions))
        drawn[:, self.categorical] = np.floor(drawn[:, self.categorical] * self.cells[self.categorical])
        return self.snapped(drawn)

    def values(self, column: int) -> Array:
        """Every coordinate of a discrete parameter."""
        cells = int(self.cells[column])
        return np.arange(cells, dtype=float) if self.categorical[column] else (np.arange(cells) + 0.5) / cells

    def coordinate(self, name: str, params: Mapping[str, Any]) -> float:
        """Where the value of ``name`` in ``params`` lies."""
        column, value = self.column[name], params[name]
        distribution = self._distributions[column]
        if isinstance(distribution, CategoricalDistribution):
            return float(distribution.to_internal_repr(value))
        low, high = _bounds(distribution)
        if self.cells[column]:
            return float(((value - distribution.low) / _step(distribution) + 0.5) / self.cells[column])
        if distribution.log:
            return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
        return float((value - low) / (high - low))

    def _value(self, column: int, coordinate: float) -> Any:
        distribution = self._distributions[column]
        if isinstance(distribution, CategoricalDistribution):
            return distribution.to_external_repr(round(coordinate))
        low, high = _bounds(distribution)
        if cells := int(self.cells[column]):
            value = distribution.low + min(int(coordinate * cells), cells - 1) * _step(distribution)
        elif coordinate in (0.0, 1.0):
            value = distribution.high if coordinate else distribution.low  # a logarithm and back may miss it
        elif distribution.log:
            value = math.exp(math.log(low) + coordinate * (math.log(high) - math.log(low)))
        else:
            value = low + coordinate * (high - low)
        if isinstance(distribution, IntDistribution):
            return int(min(max(_on_grid(value, distribution), distribution.low), distribution.high))
        return float(min(max(value, distribution.low), distribution.high))


def _bounds(distribution: Any) -> tuple[float, float]:
    """Between which numbers a range is laid out: whole numbers get half a step more on either side."""
    if isinstance(distribution, IntDistribution):
        return distribution.low - 0.5 * distribution.step, distribution.high + 0.5 * distribution.step
    return distribution.low, distribution.high


def _step(distribution: Any) -> float:
    return float(distribution.step or 1)


def _on_grid(value: float, distribution: IntDistribution) -> int:
    return int(distribution.low + round((value - distribution.low) / distribution.step) * distribution.step)


def _cells(distribution: BaseDistribution) -> int:
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if distribution.log or (isinstance(distribution, FloatDistribution) and distribution.step is None):
        return 0
    cells = round((distribution.high - distribution.low) / _step(distribution)) + 1
    return cells if cells <= _FINE or isinstance(distribution, FloatDistribution) else 0
