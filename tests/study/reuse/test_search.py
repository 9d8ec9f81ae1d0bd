from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hpo_pipelines.study.reuse import Stages
from hpo_pipelines.study.reuse.cube import Cube
from hpo_pipelines.study.reuse.gain import Gain, ImprovementPerSecond
from hpo_pipelines.study.reuse.gaussian import GaussianProcess
from hpo_pipelines.study.reuse.offers import Offer
from hpo_pipelines.study.reuse.search import Search
from hpo_pipelines.study.reuse.seconds import Prices

SPACE: dict[str, BaseDistribution] = {
    "a": FloatDistribution(0.0, 1.0),
    "n": IntDistribution(1, 9),
    "kind": CategoricalDistribution(["x", "y", "z"]),
}
CUBE = Cube(SPACE)
CHAIN = Stages({"load": ["a"], "fit": ["n", "kind"]})
FRESH = Offer(frozenset())


def value_of(params: Mapping[str, Any]) -> float:
    return -((params["a"] - 0.6) ** 2) - (params["n"] - 7) ** 2 / 64 + (params["kind"] == "y")


def search(gain: Gain | None = None, allows: Callable[[Mapping[str, Any]], bool] = lambda params: True) -> Search:
    random = np.random.default_rng(0)
    points = CUBE.sample(40, random)
    values = np.array([value_of(CUBE.params(point)) for point in points])
    values = (values - values.mean()) / values.std()
    prices = Prices(CHAIN, CUBE, overhead=0.5)
    prices.fit(points, [{"load": 100.0, "fit": 10.0}] * len(points))
    return Search(
        CUBE,
        GaussianProcess(CUBE.categorical).fit(points, values),
        gain or ImprovementPerSecond(float(values.max()), power=0.0),
        prices,
        names=CHAIN.names,
        incumbents=points[np.argsort(-values)[:5]],
        wait=0.5,
        allows=allows,
        random=random,
    )


def test_seconds_are_those_of_what_is_left() -> None:
    found, point = search(), CUBE.sample(1, np.random.default_rng(1))
    assert found.seconds(point, FRESH) == pytest.approx([110.5])
    assert found.seconds(point, Offer(frozenset({"load"}), {"a": 0.1})) == pytest.approx([10.5])
    flying = Offer(frozenset({"load"}), {"a": 0.1}, under_way=frozenset({"load"}))
    assert found.seconds(point, flying) == pytest.approx([60.5])
    everything = Offer(frozenset(CHAIN.names), {"a": 0.1, "n": 3, "kind": "x"})
    assert found.seconds(point, everything) == pytest.approx([0.5])  # never free


def test_it_finds_the_best_over_ranges_steps_and_choices() -> None:
    found = search(ImprovementPerSecond(0.0, power=0.0))
    best = found.params(found.ranked([FRESH])[0])
    assert best["kind"] == "y"
    assert abs(best["n"] - 7) <= 1
    assert best["a"] == pytest.approx(0.6, abs=0.15)


def test_what_is_kept_is_worth_more_where_it_saves_much() -> None:
    kept = Offer(frozenset({"load"}), {"a": 0.58})
    blind, by_cost = (search(ImprovementPerSecond(-0.5, power)) for power in (0.0, 1.0))
    assert by_cost.ranked([FRESH, kept])[0].offer is kept
    assert any(candidate.offer is FRESH for candidate in blind.ranked([FRESH, kept]))


def test_kept_values_are_not_sent_through_the_box() -> None:
    kept = Offer(frozenset({"load"}), {"a": 0.1 + 0.2})
    found = search(ImprovementPerSecond(-0.5))
    for candidate in found.ranked([FRESH, kept]):
        if candidate.offer is kept:
            assert found.params(candidate)["a"].hex() == (0.1 + 0.2).hex()


def test_only_what_is_allowed_is_found() -> None:
    def allows(params: Mapping[str, Any]) -> bool:
        return bool(params["kind"] != "y" and params["a"] < 0.5)

    found = search(ImprovementPerSecond(0.0, power=0.0), allows)
    ranked = [found.params(candidate) for candidate in found.ranked([FRESH])]
    assert ranked
    assert all(map(allows, ranked))


def test_where_everything_is_kept_there_is_one_candidate() -> None:
    kept = Offer(frozenset({"load"}), {"a": 0.5, "n": 3, "kind": "x"})
    found = search(ImprovementPerSecond(-5.0))
    own = [candidate for candidate in found.ranked([FRESH, kept]) if candidate.offer is kept]
    assert [found.params(candidate) for candidate in own] == [{"a": 0.5, "n": 3, "kind": "x"}]
