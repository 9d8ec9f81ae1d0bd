from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hpo_pipelines.study.reuse.cube import Cube

SPACE: dict[str, BaseDistribution] = {
    "plain": FloatDistribution(-2.0, 3.0),
    "log": FloatDistribution(1e-5, 1e-1, log=True),
    "stepped": FloatDistribution(0.1, 0.7, step=0.2),
    "whole": IntDistribution(3, 9),
    "by_five": IntDistribution(5, 50, step=5),
    "many": IntDistribution(1, 100_000),
    "log_whole": IntDistribution(1, 1024, log=True),
    "kind": CategoricalDistribution(["a", "b", None, 4]),
}
CUBE = Cube(SPACE)
points = st.lists(st.floats(0.0, 1.0), min_size=len(SPACE), max_size=len(SPACE))


@given(points)
def test_every_point_stands_for_values_of_the_space(coordinates: list[float]) -> None:
    point = np.array(coordinates)
    point[CUBE.column["kind"]] = round(3 * point[CUBE.column["kind"]])
    params = CUBE.params(CUBE.snapped(point))
    for name, distribution in SPACE.items():
        assert distribution._contains(distribution.to_internal_repr(params[name])), (name, params[name])
        assert type(params[name]) is {IntDistribution: int, FloatDistribution: float}.get(
            type(distribution), type(params[name])
        )


@given(points)
def test_there_and_back_is_the_same_but_for_rounding(coordinates: list[float]) -> None:
    point = np.array(coordinates)
    point[CUBE.column["kind"]] = round(3 * point[CUBE.column["kind"]])
    params = CUBE.params(CUBE.snapped(point))
    again = CUBE.params(CUBE.point(params))
    for name, value in params.items():
        close = np.isclose(again[name], value, rtol=1e-9) if isinstance(value, float) else again[name] == value
        assert close, (name, value, again[name])


def test_discrete_values_lie_in_the_middle_of_their_cells() -> None:
    assert CUBE.values(CUBE.column["stepped"]).tolist() == [0.125, 0.375, 0.625, 0.875]
    assert CUBE.values(CUBE.column["kind"]).tolist() == [0, 1, 2, 3]
    assert CUBE.continuous.tolist() == [True, True, False, False, False, True, True, False]
    snapped = CUBE.snapped(np.full(8, 0.3))
    assert snapped[CUBE.column["stepped"]] == 0.375


def test_drawn_points_cover_every_choice() -> None:
    drawn = CUBE.sample(200, np.random.default_rng(0))
    assert set(drawn[:, CUBE.column["kind"]]) == {0.0, 1.0, 2.0, 3.0}
    found: Any = {CUBE.params(point)["whole"] for point in drawn}
    assert found == set(range(3, 10))


def test_the_ends_of_a_range_are_its_ends() -> None:
    for end, values in ((0.0, (-2.0, 1e-5, 1)), (1.0, (3.0, 1e-1, 1024))):
        params = CUBE.params(CUBE.snapped(np.full(8, end)))
        assert (params["plain"], params["log"], params["log_whole"]) == values
