from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import FloatDistribution

from hpo_pipelines.study.reuse import Stages
from hpo_pipelines.study.reuse.cube import Cube
from hpo_pipelines.study.reuse.seconds import Prices, StageSeconds

PLAIN = np.zeros(2, dtype=bool)


def test_few_times_or_equal_ones_are_their_median() -> None:
    model = StageSeconds([0])
    model.fit(np.random.default_rng(0).random((3, 2)), [5.0, 7.0, 90.0], PLAIN)
    assert model.at(np.zeros((2, 2))) == pytest.approx([7.0, 7.0])
    model.fit(np.random.default_rng(0).random((20, 2)), [4.0] * 20, PLAIN)
    assert model.at(np.zeros((1, 2))) == pytest.approx([4.0])


def test_it_learns_how_seconds_follow_a_parameter() -> None:
    x = np.random.default_rng(0).random((30, 2))
    model = StageSeconds([0])
    model.fit(x, (100 * (0.2 + x[:, 0])).tolist(), PLAIN)
    assert model.at(np.array([[0.1, 0.5], [0.9, 0.5]])) == pytest.approx([30.0, 110.0], rel=0.15)


def test_predictions_stay_near_what_was_seen() -> None:
    """A stage that gets cheaper and cheaper is not believed to cost nothing where nobody looked."""
    x = np.column_stack([np.linspace(0.0, 0.3, 20), np.zeros(20)])
    model = StageSeconds([0])
    model.fit(x, np.exp(6 - 30 * x[:, 0]).tolist(), PLAIN)
    low, high = np.exp(6 - 9.0), np.exp(6.0)
    beyond = model.at(np.column_stack([np.linspace(0.0, 1.0, 50), np.zeros(50)]))
    assert beyond.min() >= low * np.exp(-0.5) * 0.99
    assert beyond.max() <= high * np.exp(0.5 + 0.125) * 1.01


def test_prices_of_stages() -> None:
    cube = Cube({"a": FloatDistribution(0, 1), "b": FloatDistribution(0, 1)})
    prices = Prices(Stages({"one": ["a"], "two": ["b"]}), cube, None)
    assert [prices.median("one"), prices.median("two"), prices.whole] == [1.0, 1.0, 2.0]  # nothing is known
    prices.fit(np.random.default_rng(0).random((3, 2)), [{"one": 30.0, "two": 10.0}, {"two": 10.0}, {}])
    assert [prices.median("one"), prices.median("two"), prices.whole] == pytest.approx([30.0, 10.0, 40.0])
    assert prices.overhead == pytest.approx(0.08)
    assert Prices(Stages({"one": ["a"]}), cube, 2.0).overhead == 2.0
