"""Gaussian-process regression on numpy and scipy: Matérn 5/2, a length for each parameter, a term for each stage.

The model is that of Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006), chapters 2 and 5; its
hyper-parameters are the most probable ones (MAP). Besides the term over all parameters there may be one for each group,
a_0·M(x, x') + Σ a_g·M(x_g, x'_g), with the lengths in common: stages often add up, at least roughly. The share of the
first term never falls below :data:`FULL_SHARE`: a purely additive model is sure of itself where it has seen nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.linalg
import scipy.optimize

from hpo_pipelines.study.reuse.cube import Array

FULL_SHARE = 0.2
"""The least variance of the term over all parameters, of a standardised target, when there are others."""

_NOISE = 1e-6
_FEW = 14
"""Up to so many observations hyper-parameters are fitted anew with each."""
_LENGTHS = (-6.0, 6.0)
_SCALES = (-7.0, 4.0)
_NOISES = (-14.0, 0.0)


def matern(squared: Array) -> tuple[Array, Array]:
    """Matérn 5/2 at squared scaled distances, and its derivative by them."""
    root = np.sqrt(5.0 * squared)
    decay = np.exp(-root)
    return (1.0 + root + 5.0 * squared / 3.0) * decay, -(5.0 / 6.0) * (1.0 + root) * decay


class GaussianProcess:
    """Over points of D coordinates; coordinates under ``categorical`` are either equal or not.

    Targets are to be standardised. ``groups`` are the columns of each additive term.
    """

    def __init__(self, categorical: Array, groups: Sequence[Sequence[int]] = ()) -> None:
        self._categorical = np.asarray(categorical, dtype=bool)
        self._terms: list[list[int]] = [list(range(len(self._categorical))), *(list(group) for group in groups)]
        self._theta: Array | None = None
        self._fitted = 0
        """How many observations the hyper-parameters were fitted to."""

    @property
    def scales(self) -> Array:
        """The variance of each term, that over all parameters first."""
        return self._scales

    def fit(self, x: Array, y: Array) -> GaussianProcess:
        """Condition on targets ``y`` (n,) at ``x`` (n, D). Hyper-parameters are fitted anew as n grows by a twelfth."""
        self._x, self._y = x, y
        count = len(x)
        grown = count >= self._fitted + max(2, self._fitted // 12)
        if self._theta is None or count <= _FEW or grown or count < self._fitted:
            self._theta = self._most_probable()
            self._fitted = count
        self._condition()
        return self

    def believing(self, x: Array, most: float = math.inf) -> GaussianProcess:
        """This process as if it had seen its own mean at ``x``: there is less to learn there (the Kriging believer).

        Where the mean is above ``most``, as if it had seen that.

        Ginsbourger, Le Riche, Carraro, "Kriging is well-suited to parallelize optimization" (2010).
        """
        other = GaussianProcess(self._categorical, self._terms[1:])
        other._theta = self._theta
        other._x = np.vstack([self._x, x])
        other._y = np.concatenate([self._y, np.minimum(self.predict(x)[0], most)])
        other._condition()
        return other

    def predict(self, x: Array) -> tuple[Array, Array]:
        """The mean and the standard deviation at each of ``x`` (m, D)."""
        cross = self._kernel(x, self._x)
        solved = scipy.linalg.solve_triangular(self._lower, cross.T, lower=True, check_finite=False)
        variance = self._scales.sum() - np.sum(solved * solved, axis=0)
        return cross @ self._alpha, np.sqrt(np.maximum(variance, 1e-12))

    def slopes(self, x: Array) -> tuple[float, float, Array, Array]:
        """At one point (D,): mean, standard deviation, and the gradient of each. Choices have a gradient of 0."""
        offset = x[None, :] - self._x
        squared = self._squared(x[None, :], self._x)[0]
        offset[:, self._categorical] = 0.0
        cross = np.zeros(len(self._x))
        jacobian = np.zeros_like(squared)
        for scale, columns in zip(self._scales, self._terms, strict=True):
            value, slope = matern(squared[:, columns] @ self._weights[columns])
            cross += scale * value
            jacobian[:, columns] += (2.0 * scale * slope)[:, None] * offset[:, columns] * self._weights[columns]
        solved = scipy.linalg.cho_solve((self._lower, True), cross, check_finite=False)
        deviation = math.sqrt(max(float(self._scales.sum() - cross @ solved), 1e-12))
        return float(cross @ self._alpha), deviation, jacobian.T @ self._alpha, -(jacobian.T @ solved) / deviation

    # -- inside

    def _squared(self, one: Array, other: Array) -> Array:
        """Squared differences by coordinate: (m, n, D)."""
        difference = one[:, None, :] - other[None, :, :]
        squared = difference * difference
        squared[..., self._categorical] = squared[..., self._categorical] > 0
        return np.asarray(squared)

    def _kernel(self, one: Array, other: Array) -> Array:
        squared = self._squared(one, other)
        kernel = np.zeros(squared.shape[:2])
        for scale, columns in zip(self._scales, self._terms, strict=True):
            part = squared if len(columns) == squared.shape[2] else squared[..., columns]
            kernel += scale * matern(part @ self._weights[columns])[0]
        return kernel

    def _condition(self) -> None:
        assert self._theta is not None
        self._weights, self._scales, self._noise = self._unpacked(self._theta)
        covariance = self._kernel(self._x, self._x) + self._noise * np.eye(len(self._x))
        self._lower = scipy.linalg.cholesky(covariance, lower=True, check_finite=False)
        self._alpha = scipy.linalg.cho_solve((self._lower, True), self._y, check_finite=False)

    def _unpacked(self, theta: Array) -> tuple[Array, Array, float]:
        """Inverse squared lengths, the variance of each term, the variance of the noise."""
        dimensions, terms = len(self._categorical), len(self._terms)
        scales = np.exp(theta[dimensions : dimensions + terms])
        return np.exp(theta[:dimensions]), scales, float(np.exp(theta[-1])) + _NOISE

    def _most_probable(self) -> Array:
        dimensions, terms = len(self._categorical), len(self._terms)
        begin = np.concatenate([np.zeros(dimensions), np.full(terms, -math.log(terms)), [math.log(1e-2)]])
        starts = [begin] if self._theta is None else [self._theta]
        if self._theta is not None and len(self._x) % 5 == 0:
            starts.append(begin)  # once in a while, lest it stays in a poor optimum
        full = _SCALES if terms == 1 else (math.log(FULL_SHARE), _SCALES[1])
        bounds = [_LENGTHS] * dimensions + [full] + [_SCALES] * (terms - 1) + [_NOISES]
        squared = self._squared(self._x, self._x)
        found = [
            scipy.optimize.minimize(
                self._loss, start, (squared,), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40}
            )
            for start in starts
        ]
        return np.asarray(min(found, key=lambda each: each.fun).x)

    def _loss(self, theta: Array, squared: Array) -> tuple[float, Array]:
        """The negative log posterior, up to a constant, and its gradient."""
        weights, scales, noise = self._unpacked(theta)
        dimensions = len(weights)
        parts = [matern(squared[..., columns] @ weights[columns]) for columns in self._terms]
        covariance = noise * np.eye(len(self._y))
        for scale, (value, _) in zip(scales, parts, strict=True):
            covariance += scale * value
        try:
            lower = scipy.linalg.cholesky(covariance, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(theta)
        inverse = scipy.linalg.cho_solve((lower, True), np.eye(len(self._y)), check_finite=False)
        alpha = inverse @ self._y
        loss = 0.5 * float(self._y @ alpha) + float(np.log(np.diag(lower)).sum())
        half = 0.5 * (inverse - np.outer(alpha, alpha))
        gradient = np.zeros_like(theta)
        for term, (columns, (value, slope)) in enumerate(zip(self._terms, parts, strict=True)):
            gradient[dimensions + term] = scales[term] * np.sum(half * value)
            moved = np.tensordot(half * slope * scales[term], squared[..., columns], 2)
            gradient[columns] += weights[columns] * moved
        gradient[-1] = math.exp(theta[-1]) * np.trace(half)
        for index, (prior, by_log) in enumerate(_priors(weights, scales, noise, float(theta[-1]))):
            loss += prior
            gradient[index] += by_log
        return loss, gradient


def _priors(weights: Array, scales: Array, noise: float, log_noise: float) -> Iterator[tuple[float, float]]:
    """The negative log prior of each hyper-parameter, and its slope by the logarithm: those of Optuna's GPSampler.

    Several terms share the Gamma(2, 1) that one has.
    """
    for weight in weights:
        yield 0.1 / weight + 0.1 * weight, -0.1 / weight + 0.1 * weight
    shape = 1.0 if len(scales) == 1 else 0.5
    for scale in scales:
        yield scale - shape * math.log(scale), scale - shape
    yield 30.0 * noise - 0.1 * math.log(noise), math.exp(log_noise) * (30.0 - 0.1 / noise)
