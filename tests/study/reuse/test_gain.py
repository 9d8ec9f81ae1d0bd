from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from hpo_pipelines.study.reuse.gain import GittinsIndex, ImprovementPerSecond, log_h


def test_log_h_far_below_zero() -> None:
    z = np.array([3.0, 0.0, -0.9, -1.1, -5.0])
    direct = np.log(scipy.stats.norm.pdf(z) + z * scipy.stats.norm.cdf(z))
    assert log_h(z) == pytest.approx(direct, rel=1e-6)
    far = log_h(np.array([-10.0, -100.0, -1e4, -1e6]))
    assert np.isfinite(far).all()
    assert (np.diff(far) < 0).all()


def test_it_is_the_expected_improvement_per_second() -> None:
    mean, deviation, best = 0.3, 0.5, 0.4
    expected, _ = scipy.integrate.quad(
        lambda y: (y - best) * scipy.stats.norm.pdf(y, mean, deviation), best, best + 8 * deviation
    )
    score = ImprovementPerSecond(best).score(np.array([mean]), np.array([deviation]), np.array([7.0]))
    assert np.exp(score[0]) == pytest.approx(expected / 7.0)
    blind = ImprovementPerSecond(best, power=0.0).score(np.array([mean]), np.array([deviation]), np.array([7.0]))
    assert np.exp(blind[0]) == pytest.approx(expected)


def test_where_all_costs_are_alike_the_order_is_that_of_plain_improvement() -> None:
    random = np.random.default_rng(0)
    mean, deviation = random.normal(size=50), random.random(50) + 0.01
    by_cost = ImprovementPerSecond(0.5).score(mean, deviation, np.full(50, 140.0))
    blind = ImprovementPerSecond(0.5, power=0.0).score(mean, deviation, np.full(50, 140.0))
    assert np.argsort(by_cost).tolist() == np.argsort(blind).tolist()


def test_the_index_pays_for_itself() -> None:
    """E[(f - g)+] = price * seconds."""
    gain = GittinsIndex(best=-10.0, whole=100.0)
    mean, deviation, seconds = np.array([0.2, -1.0]), np.array([0.5, 2.0]), np.array([100.0, 3.0])
    for at, g in enumerate(gain.score(mean, deviation, seconds)):
        z = (mean[at] - g) / deviation[at]
        expected = deviation[at] * (scipy.stats.norm.pdf(z) + z * scipy.stats.norm.cdf(z))
        assert expected == pytest.approx(0.1 * seconds[at] / 100.0, rel=1e-3)


def test_the_price_falls_until_something_is_worth_it() -> None:
    gain = GittinsIndex(best=1.0, whole=100.0)
    scores = gain.score(np.array([0.0]), np.array([0.6]), np.array([100.0]))
    assert scores[0] > 1.0


@pytest.mark.parametrize("gain", [ImprovementPerSecond(0.4), GittinsIndex(0.4, 100.0)])
def test_slopes(gain: ImprovementPerSecond | GittinsIndex) -> None:
    mean, deviation, seconds, by = 0.1, 0.3, 20.0, 1e-4

    def score(mean: float, deviation: float) -> float:
        return float(gain.score(np.array([mean]), np.array([deviation]), np.array([seconds]))[0])

    value, by_mean, by_deviation = gain.slope(mean, deviation, seconds)
    assert value == pytest.approx(score(mean, deviation), rel=1e-6)
    assert by_mean == pytest.approx((score(mean + by, deviation) - score(mean - by, deviation)) / (2 * by), rel=1e-2)
    assert by_deviation == pytest.approx(
        (score(mean, deviation + by) - score(mean, deviation - by)) / (2 * by), rel=1e-2
    )
