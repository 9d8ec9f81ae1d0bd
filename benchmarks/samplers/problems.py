"""Synthetic pipelines of three stages (and one with branches): a value to maximise, and the seconds of each stage.

Functions are summed over stages in the five pipelines that the authors of EEIPU used (arXiv 2411.03731), written anew
from their formulas, with their boxes and their three kinds of stage costs; not so in the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo_pipelines.study.reuse import Stage, Stages

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """What is maximised, and the seconds of each stage, at a point of ``x0``, ``x1``…; ``budget`` in seconds."""

    name: str
    stages: Stages
    low: Array
    high: Array
    value: Callable[[Array], float]
    seconds: Callable[[Array], Sequence[float]]
    budget: float

    @property
    def names(self) -> list[str]:
        return [f"x{index}" for index in range(len(self.low))]


# -- functions, higher is better

_HARTMANN_WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
_HARTMANN_3 = (
    np.array([[3.0, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]]),
    1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]),
)
_HARTMANN_6 = (
    np.array(
        [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
    ),
    1e-4
    * np.array(
        [
            [1312, 1696, 5569, 124, 8283, 5886],
            [2329, 4135, 8307, 3736, 1004, 9991],
            [2348, 1451, 3522, 2883, 3047, 6650],
            [4047, 8828, 8732, 5743, 1091, 381],
        ]
    ),
)


def hartmann(x: Array) -> float:
    """In three or six dimensions; the maximum is 3.862 or 3.322."""
    widths, places = _HARTMANN_3 if len(x) == 3 else _HARTMANN_6
    return float(_HARTMANN_WEIGHTS @ np.exp(-np.sum(widths * (x - places) ** 2, axis=1)))


def branin(x: Array) -> float:
    """Of the first two, like :func:`beale`."""
    bowl = x[1] - 5.1 / (4 * np.pi**2) * x[0] ** 2 + 5 / np.pi * x[0] - 6
    return float(-(bowl**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x[0]) + 10))


def michalewicz(x: Array) -> float:
    index = np.arange(1, len(x) + 1)
    return float(np.sum(np.sin(x) * np.sin(index * x**2 / np.pi) ** 20))


def beale(x: Array) -> float:
    a, b = x[:2]  # where a stage has a third parameter, it changes nothing
    return float(-((1.5 - a + a * b) ** 2 + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2))


def rosenbrock(x: Array) -> float:
    return float(-np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (x[:-1] - 1) ** 2))


def levy(x: Array) -> float:
    w = 1 + (x - 1) / 4
    middle = np.sum((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2))
    return float(-(np.sin(np.pi * w[0]) ** 2 + middle + (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)))


def ackley(x: Array) -> float:
    peak = -20 * np.exp(-0.2 * np.sqrt(np.mean(x**2))) - np.exp(np.mean(np.cos(2 * np.pi * x)))
    return float(-(peak + 20 + np.e))


def cascade(x: Array) -> float:
    """Each stage transforms what the last gave; the maximum is 1."""
    first = np.sin(3 * x[0]) * (1 - x[1]) + x[1] ** 2
    second = np.exp(-8 * (first - x[2]) ** 2) * (0.6 + 0.4 * np.cos(6 * (x[3] - 0.3)))
    return float(second * np.exp(-6 * (x[4] - first * 0.8) ** 2) * (1 - 0.5 * (x[5] - 0.7) ** 2))


def joined(x: Array) -> float:
    """Two branches, of two parameters each, and what joins them."""
    left, right = np.exp(-4 * np.sum((x[:2] - 0.7) ** 2)), np.exp(-4 * np.sum((x[2:4] - 0.3) ** 2))
    return float(left * right * np.exp(-3 * (x[4] - left) ** 2 - 3 * (x[5] - right) ** 2))


# -- the five pipelines of EEIPU

_BOX: Mapping[Callable[[Array], float], tuple[float, float]] = {
    branin: (0.0, 10.0),
    michalewicz: (0.0, 5.0),
    beale: (-2.0, 2.0),
    rosenbrock: (0.0, 5.0),
    levy: (0.0, 5.0),
    ackley: (-3.0, 3.0),
    hartmann: (-2.0, 2.0),
}


def _rise(x: float, slope: float) -> float:
    return 1 / (1 + math.exp(-slope * x))


_SECONDS: Mapping[tuple[int, int], Callable[[Array], float]] = {
    (2, 1): lambda x: 20 * math.cos(x[0]) + 50 + 100 * _rise(x[1], 5) + 10,
    (2, 2): lambda x: 5 * (10 * math.cos(x[0]) + 20) - (25 * math.sin(x[1]) + 10),
    (2, 3): lambda x: 25 * _rise(x[0], 3) + 50 + x[1] ** 3 + 50,
    (3, 1): lambda x: 20 * _rise(x[0], 4) + 50 + 30 * math.sin(x[1]) + 40 + 5 * math.cos(x[2]) + 30,
    (3, 2): lambda x: 20 * math.sin(x[0]) + 50 + 15 * _rise(x[2], 8) + 5,
    (3, 3): lambda x: 22 * _rise(x[0], 3) + 15 + 5 * math.sin(x[1]) + 10 + 20 * math.cos(x[2]) + 25,
}
_ROWS = ((0, 1), (2, 3, 4), (5, 6, 7))


def _summed(name: str, functions: Sequence[Callable[[Array], float]], kinds: str, budget: float) -> Problem:
    timed = [_SECONDS[len(rows), int(kind)] for rows, kind in zip(_ROWS, kinds, strict=True)]

    def value(x: Array) -> float:
        return sum(function(x[list(rows)]) for function, rows in zip(functions, _ROWS, strict=True))

    def seconds(x: Array) -> list[float]:
        return [one(x[list(rows)]) for one, rows in zip(timed, _ROWS, strict=True)]

    boxes = [_BOX[function] for function, rows in zip(functions, _ROWS, strict=True) for _ in rows]
    low, high = np.array(boxes).T
    return Problem(name, _chain(_ROWS), low, high, value, seconds, budget)


# -- the others: mean stage costs as given, each x0.6 to x1.6 by the stage's first parameter

_COSTS = {"up": (100.0, 30.0, 10.0), "flat": (50.0, 50.0, 50.0), "down": (10.0, 30.0, 100.0)}
_PAIRS = ((0, 1), (2, 3), (4, 5))


def _paired(
    name: str, value: Callable[[Array], float], costs: Sequence[float], box: tuple[float, float] = (0.0, 1.0)
) -> Problem:
    low, high = np.full(6, box[0]), np.full(6, box[1])

    def seconds(x: Array) -> list[float]:
        unit = (x - low) / (high - low)
        return [cost * (0.6 + unit[rows[0]]) for cost, rows in zip(costs, _PAIRS, strict=True)]

    stages = _chain(_PAIRS) if not name.startswith("dag") else _branched()
    return Problem(name, stages, low, high, value, seconds, 25.0 * sum(costs))


def _chain(rows: Sequence[Sequence[int]]) -> Stages:
    stages = [
        Stage(f"s{at}", tuple(f"x{row}" for row in each), (f"s{at - 1}",) if at else ()) for at, each in enumerate(rows)
    ]
    return Stages(stages)


def _branched() -> Stages:
    return Stages([Stage("s0", ("x0", "x1")), Stage("s1", ("x2", "x3")), Stage("s2", ("x4", "x5"), ("s0", "s1"))])


def problems() -> dict[str, Problem]:
    """Every problem of the suite by name."""
    made = [
        *(_paired(f"hart6:{kind}", hartmann, costs) for kind, costs in _COSTS.items()),
        *(_paired(f"casc:{kind}", cascade, costs) for kind, costs in _COSTS.items()),
        *(_paired(f"ack6:{kind}", ackley, costs, (-2.0, 3.0)) for kind, costs in _COSTS.items()),
        _paired("dag", joined, (100.0, 100.0, 10.0)),
        _summed("beale2_hartmann3_beale2", (beale, hartmann, beale), "132", 8103.0),
        _summed("branin2_ackley3_hartmann3", (branin, ackley, hartmann), "132", 8845.0),
        _summed("branin2_hartmann3_rosenbrock2", (branin, hartmann, rosenbrock), "332", 13255.0),
        _summed("levy2_hartmann3_branin2", (levy, hartmann, branin), "332", 8722.0),
        _summed("michale2_hartmann3_branin2", (michalewicz, hartmann, branin), "132", 9052.0),
    ]
    return {problem.name: problem for problem in made}
