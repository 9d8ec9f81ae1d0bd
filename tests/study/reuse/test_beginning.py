from __future__ import annotations

from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution

from hpo_pipelines.study.reuse import Stages
from hpo_pipelines.study.reuse.beginning import next_point
from hpo_pipelines.study.reuse.cube import Cube
from hpo_pipelines.study.reuse.seconds import Prices
from hpo_pipelines.study.reuse.trials import Known

CHAIN = Stages({"one": ["a"], "two": ["b"], "three": ["c", "kind"]})
DISTRIBUTIONS: dict[str, Any] = {
    **{name: FloatDistribution(0.0, 1.0) for name in "abc"},
    "kind": CategoricalDistribution(["x", "y"]),
}


def first(count: int, seconds: dict[str, float]) -> list[dict[str, Any]]:
    cube, random = Cube(DISTRIBUTIONS), np.random.default_rng(0)
    prices = Prices(CHAIN, cube, None)
    prices.fit(np.zeros((1, 4)), [seconds])
    known: list[Known] = []
    for _ in range(count):
        params = next_point(CHAIN, cube, prices, known, count=count, random=random)
        trial = optuna.trial.create_trial(value=0.0, params=params, distributions=DISTRIBUTIONS)
        known.append(Known(trial, params))
    return [dict(each.params) for each in known]


def test_expensive_stages_get_fewer_values_but_never_few() -> None:
    points = first(10, {"one": 100.0, "two": 30.0, "three": 10.0})
    assert len({point["a"] for point in points}) == 6
    assert len({(point["a"], point["b"]) for point in points}) == 8
    assert len({tuple(point.values()) for point in points}) == 10


def test_where_the_end_is_expensive_little_is_shared() -> None:
    points = first(10, {"one": 1.0, "two": 1.0, "three": 100.0})
    assert len({point["a"] for point in points}) == 10


def test_each_kept_value_is_used_about_as_often() -> None:
    points = first(10, {"one": 1000.0, "two": 1.0, "three": 1.0})
    uses = [sum(point["a"] == value for point in points) for value in {point["a"] for point in points}]
    assert max(uses) <= 3


def test_points_are_spread() -> None:
    points = first(12, {"one": 1.0, "two": 1.0, "three": 100.0})
    values = sorted(point["c"] for point in points)
    assert values[0] < 0.25 < 0.75 < values[-1]
    assert {point["kind"] for point in points} == {"x", "y"}
