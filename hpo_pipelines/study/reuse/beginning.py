"""The first trials of a study, spread evenly over the space, and sharing expensive stages a little."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpo_pipelines.study.reuse.cube import Array, Cube
from hpo_pipelines.study.reuse.seconds import Prices
from hpo_pipelines.study.reuse.stages import Stages
from hpo_pipelines.study.reuse.trials import Known

SHARED = 0.4
"""At most so much of the first stage's executions is saved.

The rule of two-stage sampling alone, √(cheapest / dearest), doubles early progress on one problem of ours, and locks
the search into what the few first stages allow, for good.
"""
_DRAWS = 64


def next_point(
    stages: Stages, cube: Cube, prices: Prices, before: Sequence[Known], *, count: int, random: np.random.Generator
) -> dict[str, Any]:
    """The next of ``count`` first points, as far as can be from those ``before``.

    The deeper a stage, the more values it gets. Once the first stages have their number of different values, the least
    used of these is taken again: a tree of trials, whose shape follows the stages' seconds (Cochran, "Sampling
    Techniques", 1977, chapter 10).
    """
    params = cube.params(_farthest(cube, cube.points([known.params for known in before]), random))
    after = {
        name: sum(prices.median(other) for other in stages.names if name in stages.closure(other))
        for name in stages.names
    }
    cheapest = min(after.values())
    for kept in reversed(stages.reuse_sets(cube.names)):
        pinned = sorted(stages.params(kept) & set(cube.names))
        trials: dict[tuple[Any, ...], list[Known]] = {}
        for known in before:
            trials.setdefault(tuple(known.params[name] for name in pinned), []).append(known)
        dearest = max(after[name] for name in kept)
        root = math.sqrt(cheapest / dearest) if dearest > 0 else 1.0
        least = 1.0 - SHARED * (len(stages) - len(kept)) / max(len(stages) - 1, 1)
        if len(trials) >= max(2, math.ceil(count * max(root, least))):
            source = min(trials.values(), key=lambda alike: (len(alike), random.random()))[0]
            return {**params, **{name: source.params[name] for name in pinned}}
    return params


def _farthest(cube: Cube, points: Array, random: np.random.Generator) -> Array:
    """The one of some drawn points that is farthest, in its farthest coordinate, from the nearest of ``points``."""
    drawn = cube.sample(_DRAWS, random)
    if not len(points):
        return np.asarray(drawn[0])
    difference = np.abs(drawn[:, None, :] - points[None, :, :])
    difference[..., cube.categorical] = 2.0 * (difference[..., cube.categorical] > 0)
    return np.asarray(drawn[int(np.argmax(difference.max(axis=2).min(axis=1)))])
