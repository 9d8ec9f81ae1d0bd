"""Finds the candidates with the highest score, among fresh ones and among those that keep something."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize

from hpo_pipelines.study.reuse.cube import Array, Cube
from hpo_pipelines.study.reuse.gain import Gain
from hpo_pipelines.study.reuse.gaussian import GaussianProcess
from hpo_pipelines.study.reuse.offers import Offer
from hpo_pipelines.study.reuse.seconds import Prices

FRESH = 512
NEAR = ((96, 0.1), (64, 0.02))
"""How many points are drawn around the best trials, and how far from them."""
PER_OFFER = 24
REFINED = 4
_MOST_VALUES = 64


@dataclass(frozen=True)
class Candidate:
    """A point, what it keeps, and its score."""

    score: float
    point: Array
    offer: Offer


class Search:
    """Over the box of ``cube``, by ``gain`` on the predictions of ``process`` and on remaining seconds.

    ``incumbents`` (k, D) are the best points known. ``wait`` is what a second of waiting for a stage under way counts.
    Only what ``allows`` says yes to is found.
    """

    def __init__(
        self,
        cube: Cube,
        process: GaussianProcess,
        gain: Gain,
        prices: Prices,
        *,
        names: Sequence[str],
        incumbents: Array,
        wait: float,
        allows: Callable[[Mapping[str, Any]], bool],
        random: np.random.Generator,
    ) -> None:
        self._cube = cube
        self._process = process
        self._gain = gain
        self._prices = prices
        self._names = names
        self._incumbents = incumbents
        self._wait = wait
        self._allows = allows
        self._random = random

    def ranked(self, offers: Sequence[Offer]) -> list[Candidate]:
        """The best candidates, the best first; the first of ``offers`` keeps nothing, and is always among them."""
        parts = [self._drawn(FRESH, NEAR)]
        parts += [self._pinned(offer) for offer in offers[1:]]
        points = np.vstack(parts)
        owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        mean, deviation = self._process.predict(points)
        scores = self._gain.score(mean, deviation, self._seconds(points, [offers[int(index)] for index in owner]))
        best = (Candidate(float(scores[row]), points[row], offers[int(owner[row])]) for row in np.argsort(-scores))
        found = [self._refined(candidate) for candidate in self._picked(best, offers[0])]
        return sorted(found, key=lambda candidate: -candidate.score)

    def params(self, candidate: Candidate) -> dict[str, Any]:
        """The values that a candidate stands for: the kept ones are the other trial's own.

        Through the box and back they would be other floats.
        """
        return {**self._cube.params(candidate.point), **candidate.offer.values}

    def _is_allowed(self, candidate: Candidate) -> bool:
        return self._allows(self.params(candidate))

    def seconds(self, points: Array, offer: Offer) -> Array:
        """The seconds that are left to compute of each of ``points`` when what ``offer`` says is kept."""
        return self._seconds(points, [offer] * len(points))

    def _seconds(self, points: Array, offers: Sequence[Offer]) -> Array:
        left = np.full(len(points), self._prices.overhead)
        weights = {
            id(offer): [
                (self._wait if name in offer.under_way else 0.0) if name in offer.settled else 1.0
                for name in self._names
            ]
            for offer in {id(offer): offer for offer in offers}.values()
        }
        shares = np.array([weights[id(offer)] for offer in offers])
        for column, name in enumerate(self._names):
            left += shares[:, column] * self._prices.of(name, points)
        return left

    def _drawn(self, fresh: int, near: Sequence[tuple[int, float]]) -> Array:
        return np.vstack([self._cube.sample(fresh, self._random), *(self._around(count, by) for count, by in near)])

    def _around(self, count: int, by: float) -> Array:
        """Points that differ from one of the incumbents in some coordinates."""
        points = self._incumbents[self._random.integers(len(self._incumbents), size=count)].copy()
        moved = self._random.random(points.shape) < max(2.0 / self._cube.dimensions, 0.3)
        choice = self._cube.categorical
        points = np.where(moved & ~choice, points + by * self._random.standard_normal(points.shape), points)
        redrawn = moved & choice & (self._random.random(points.shape) < 0.5)
        return self._cube.snapped(np.where(redrawn, self._cube.sample(count, self._random), points))

    def _pinned(self, offer: Offer) -> Array:
        columns = self._cube.columns(frozenset(offer.values))
        if len(columns) == self._cube.dimensions:
            points = np.empty((1, self._cube.dimensions))
        else:
            points = self._drawn(PER_OFFER // 2, ((PER_OFFER // 4, 0.1), (PER_OFFER // 4, 0.02)))
        points[:, columns] = [self._cube.coordinate(self._cube.names[each], offer.values) for each in columns]
        return points

    def _picked(self, best_first: Iterable[Candidate], fresh: Offer) -> list[Candidate]:
        """Where to start from: the best, at most two of an offer; of the fresh ones up to three, at least one."""
        picked: list[Candidate] = []
        counts: dict[int, int] = {}
        for candidate in best_first:
            mine = counts.get(id(candidate.offer), 0)
            is_fresh = candidate.offer is fresh
            wanted = len(picked) < REFINED or (is_fresh and not mine)
            if wanted and mine < (3 if is_fresh else 2) and self._is_allowed(candidate):
                picked.append(candidate)
                counts[id(candidate.offer)] = mine + 1
            if len(picked) >= REFINED and counts.get(id(fresh)):
                break
        return picked

    def _refined(self, candidate: Candidate) -> Candidate:
        """Climb from ``candidate`` along its free coordinates: value by value the discrete, then the continuous."""
        pinned = set(self._cube.columns(frozenset(candidate.offer.values)))
        free = [column for column in range(self._cube.dimensions) if column not in pinned]
        for column in free:
            if not self._cube.continuous[column]:
                candidate = self._best_value(candidate, column)
        smooth = [column for column in free if self._cube.continuous[column]]
        return self._climbed(candidate, smooth) if smooth else candidate

    def _best_value(self, candidate: Candidate, column: int) -> Candidate:
        values = self._cube.values(column)
        if len(values) > _MOST_VALUES:
            values = self._random.choice(values, _MOST_VALUES, replace=False)
        points = np.repeat(candidate.point[None, :], len(values), axis=0)
        points[:, column] = values
        scores = self._scores(points, candidate.offer)
        best = int(np.argmax(scores))
        moved = Candidate(float(scores[best]), points[best], candidate.offer)
        return moved if moved.score > candidate.score and self._is_allowed(moved) else candidate

    def _climbed(self, candidate: Candidate, columns: list[int]) -> Candidate:
        # Remaining seconds change little on the way: they are held, and looked at again at the end.
        seconds = float(self.seconds(candidate.point[None, :], candidate.offer)[0])
        point = candidate.point.copy()

        def downhill(coordinates: Array) -> tuple[float, Array]:
            point[columns] = coordinates
            mean, deviation, mean_slope, deviation_slope = self._process.slopes(point)
            value, by_mean, by_deviation = self._gain.slope(mean, deviation, seconds)
            return -value, -(by_mean * mean_slope + by_deviation * deviation_slope)[columns]

        bounds = [(0.0, 1.0)] * len(columns)
        found = scipy.optimize.minimize(
            downhill, point[columns].copy(), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 15}
        )
        point[columns] = found.x
        moved = Candidate(float(self._scores(point[None, :], candidate.offer)[0]), point, candidate.offer)
        return moved if moved.score > candidate.score and self._is_allowed(moved) else candidate

    def _scores(self, points: Array, offer: Offer) -> Array:
        mean, deviation = self._process.predict(points)
        return self._gain.score(mean, deviation, self.seconds(points, offer))
