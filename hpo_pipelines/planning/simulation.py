"""The trials of a study on a virtual clock: who waits for whom, and for a free worker, until all have ended."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpo_pipelines.executors.line import Line


@dataclass(frozen=True)
class Work:
    """One call of a trial: what identifies it (None: it is computed each time), how long it takes, what it uses."""

    identity: str | None
    seconds: float
    uses: tuple[int, ...] = ()
    is_recorded: bool = False


@dataclass(frozen=True)
class Schedule:
    """How it went: seconds until all had ended, seconds of workers, and of each trial from its begin to its end."""

    wall: float
    compute: float
    trials: tuple[float, ...]


@dataclass
class _Trial:
    works: Sequence[Work]
    began: float
    left: int
    pending: list[int]
    dependents: list[list[int]] = field(default_factory=list)


class Simulation:
    """``trials`` in their order, ``n_jobs`` in flight, on ``workers`` workers that take one call each.

    A call begins when what it uses is there, joins one with its identity that waits or runs, and costs nothing where
    that is done; ``urgent`` lets those in line go first that most others have joined, as executors do.
    """

    def __init__(self, trials: Sequence[Sequence[Work]], *, n_jobs: int, workers: int, urgent: bool = True) -> None:
        self._trials = trials
        self._jobs = n_jobs
        self._free = workers
        self._urgent = urgent
        self._line: Line[tuple[int, int]] = Line()
        self._now = 0.0
        self._compute = 0.0
        self._next = 0
        self._running: dict[int, _Trial] = {}
        self._done: set[str] = set()
        self._flights: dict[str, list[tuple[int, int]]] = {}
        """Those who have joined each identity that waits or runs; its owner comes first."""
        self._ends: list[tuple[float, int, int, int]] = []
        self._took: dict[int, float] = {}

    def run(self) -> Schedule:
        """Until all have ended."""
        while self._next < len(self._trials) and len(self._running) < self._jobs:
            self._begin()
        while True:
            self._serve()
            if not self._ends:
                break
            self._now, _, trial, call = heapq.heappop(self._ends)
            self._free += 1
            self._finish(trial, call)
        took = tuple(self._took[trial] for trial in sorted(self._took))
        return Schedule(self._now, self._compute, took)

    def _begin(self) -> None:
        number, works = self._next, self._trials[self._next]
        self._next += 1
        trial = _Trial(works, self._now, len(works), [len(set(work.uses)) for work in works], [[] for _ in works])
        self._running[number] = trial
        for place, work in enumerate(works):
            for used in set(work.uses):
                trial.dependents[used].append(place)
        for place, work in enumerate(works):
            if not work.uses:
                self._launch(number, place)
        if not works:
            self._end(number)

    def _launch(self, number: int, place: int) -> None:
        work = self._trials[number][place]
        if work.is_recorded or work.identity in self._done:
            return self._over(number, place)
        if work.identity is not None and work.identity in self._flights:
            joined = self._flights[work.identity]
            joined.append((number, place))
            if self._urgent:
                self._line.urge(_id(*joined[0]), len(joined) - 1)
            return None
        if work.identity is not None:
            self._flights[work.identity] = [(number, place)]
        return self._line.add(_id(number, place), (number, place))

    def _serve(self) -> None:
        for (number, place), _ in self._line.serve(self._claim):
            seconds = self._trials[number][place].seconds
            self._compute += seconds
            heapq.heappush(self._ends, (self._now + seconds, len(self._took), number, place))

    def _claim(self, item: tuple[int, int]) -> bool | None:
        if not self._free:
            return None
        self._free -= 1
        return True

    def _finish(self, number: int, place: int) -> None:
        identity = self._trials[number][place].identity
        joined = [(number, place)]
        if identity is not None:
            self._done.add(identity)
            joined = self._flights.pop(identity)
        for each in joined:
            self._over(*each)

    def _over(self, number: int, place: int) -> None:
        trial = self._running[number]
        trial.left -= 1
        for dependent in trial.dependents[place]:
            trial.pending[dependent] -= 1
            if not trial.pending[dependent]:
                self._launch(number, dependent)
        if not trial.left and number in self._running:
            self._end(number)

    def _end(self, number: int) -> None:
        self._took[number] = self._now - self._running.pop(number).began
        if self._next < len(self._trials):
            self._begin()


def _id(number: int, place: int) -> str:
    return f"{number}.{place}"
