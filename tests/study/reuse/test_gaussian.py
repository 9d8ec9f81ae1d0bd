from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

from hpo_pipelines.study.reuse.cube import Array
from hpo_pipelines.study.reuse.gaussian import FULL_SHARE, GaussianProcess

PLAIN = np.zeros(4, dtype=bool)
GROUPS = [[0, 1], [2, 3]]


def observed(count: int = 25, seed: int = 0) -> tuple[Array, Array]:
    x = np.random.default_rng(seed).random((count, 4))
    y = np.sin(5 * x[:, 0]) + x[:, 1] * x[:, 2] - x[:, 3] ** 2
    return x, (y - y.mean()) / y.std()


@pytest.mark.parametrize("groups", [[], GROUPS])
def test_it_predicts_what_it_saw_and_is_unsure_elsewhere(groups: list[list[int]]) -> None:
    x, y = observed()
    process = GaussianProcess(PLAIN, groups).fit(x, y)
    mean, deviation = process.predict(x)
    assert np.abs(mean - y).max() < 0.3
    new, truth = observed(50, seed=1)
    there, unsure = process.predict(new)
    assert np.corrcoef(there, truth)[0, 1] > 0.8
    assert unsure.mean() > 2 * deviation.mean()


@pytest.mark.parametrize("groups", [[], GROUPS])
def test_slopes_are_those_of_the_predictions(groups: list[list[int]]) -> None:
    process = GaussianProcess(PLAIN, groups).fit(*observed())
    point = np.array([0.3, 0.6, 0.2, 0.8])
    mean, deviation, by_mean, by_deviation = process.slopes(point)
    means, deviations = process.predict(point[None, :])
    assert (mean, deviation) == pytest.approx((means[0], deviations[0]))
    for index, found in enumerate((by_mean, by_deviation)):
        numeric = scipy.optimize.approx_fprime(point, lambda at, i=index: process.predict(at[None, :])[i][0], 1e-6)
        assert found == pytest.approx(numeric, abs=1e-3)


@pytest.mark.parametrize("groups", [[], GROUPS])
def test_the_gradient_of_the_posterior(groups: list[list[int]]) -> None:
    process = GaussianProcess(PLAIN, groups).fit(*observed())
    squared = process._squared(process._x, process._x)
    terms = 1 + len(groups)
    theta = np.concatenate([[0.1, -0.4, 0.8, 0.2], np.full(terms, -0.5), [-4.0]])
    numeric = scipy.optimize.approx_fprime(theta, lambda at: process._loss(at, squared)[0], 1e-6)
    assert process._loss(theta, squared)[1] == pytest.approx(numeric, rel=1e-3, abs=1e-3)


def test_a_purely_additive_target_leaves_the_whole_term_its_share() -> None:
    x, _ = observed(40)
    y = np.sin(6 * x[:, 0]) + np.cos(6 * x[:, 2])
    process = GaussianProcess(PLAIN, GROUPS).fit(x, (y - y.mean()) / y.std())
    assert process.scales[0] >= FULL_SHARE * 0.999
    # Far from all that it saw it is as unsure as that term makes it.
    _, deviation = process.predict(np.array([[0.0, 1.0, 1.0, 0.0]]) * 8 - 4)
    assert deviation[0] ** 2 >= FULL_SHARE * 0.9


def test_choices_are_equal_or_not() -> None:
    categorical = np.array([True, False])
    x = np.array([[0.0, 0.1], [0.0, 0.9], [2.0, 0.1], [2.0, 0.9], [0.0, 0.5], [2.0, 0.5]])
    process = GaussianProcess(categorical).fit(x, np.array([1.0, 1.1, -1.0, -1.1, 1.0, -1.0]))
    mean, _ = process.predict(np.array([[0.0, 0.3], [2.0, 0.3], [1.0, 0.3], [3.0, 0.3]]))
    assert mean[0] > 0.5 > -0.5 > mean[1]
    assert mean[2] == pytest.approx(mean[3])  # two choices never seen: neither is between the others


def test_what_it_believes_is_no_better_than_said() -> None:
    process = GaussianProcess(np.zeros(1, bool), []).fit(np.array([[0.0], [0.5], [1.0]]), np.array([-1.0, 1.0, -1.0]))
    point = np.array([[0.52]])
    assert process.predict(point)[0] > 0.5
    assert process.believing(point, 0.0).predict(point)[0] < 0.3


def test_where_it_believes_itself_there_is_less_to_learn() -> None:
    process = GaussianProcess(PLAIN).fit(*observed())
    point = np.full((1, 4), 0.45)
    before, unsure = process.predict(point)
    after, sure = process.believing(point).predict(point)
    assert after[0] == pytest.approx(before[0], abs=0.05)
    assert sure[0] < 0.5 * unsure[0]
