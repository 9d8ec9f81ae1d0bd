"""One study on a virtual clock: only the stages that really run cost something, and equal work runs once."""

from __future__ import annotations

import heapq
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from benchmarks.samplers.problems import Problem
from hpo_pipelines.study.reuse import SECONDS, MemoGPSampler, PrefixReuseSampler

LOADING = 0.1
"""Seconds that a kept stage costs."""
MOST_TRIALS = 600

METHODS: dict[str, Callable[[Problem, int], BaseSampler]] = {
    "Random": lambda problem, seed: RandomSampler(seed=seed),
    "TPE": lambda problem, seed: TPESampler(seed=seed, n_startup_trials=10),
    "GP without memoisation (ours)": lambda problem, seed: MemoGPSampler(
        problem.stages, seed=seed, hedge=1.0, nested=False, overhead=LOADING
    ),
    "PrefixReuse(TPE)": lambda problem, seed: PrefixReuseSampler(
        TPESampler(seed=seed, n_startup_trials=10), problem.stages, seed=seed
    ),
    "MemoGP": lambda problem, seed: MemoGPSampler(problem.stages, seed=seed, overhead=LOADING, budget=problem.budget),
    "MemoGP (Gittins)": lambda problem, seed: MemoGPSampler(
        problem.stages, seed=seed, overhead=LOADING, gain="gittins"
    ),
}
"""GP without memoisation: the same process and search, plain expected improvement, blind to costs and to re-use."""


@dataclass
class Story:
    """What one study came to: after each trial the seconds spent, and the best value so far."""

    problem: str
    method: str
    seed: int
    spent: list[float] = field(default_factory=list)
    best: list[float] = field(default_factory=list)
    executions: dict[str, int] = field(default_factory=dict)
    wall: float = 0.0
    """Virtual seconds from begin to end, on the workers that there were."""
    ask_seconds: float = 0.0
    """Real seconds that the sampler took for all its proposals."""

    @property
    def trials(self) -> int:
        return len(self.best)

    @property
    def reused(self) -> float:
        """The share of stages that were not computed, since they had been."""
        return 1.0 - sum(self.executions.values()) / max(self.trials * len(self.executions), 1)


def run(problem: Problem, method: str, seed: int, budget: float | None = None) -> Story:
    """One study, one trial after the other, until ``budget`` (default: the problem's) seconds are spent."""
    return Study(problem, METHODS[method](problem, seed), Story(problem.name, method, seed)).sequential(
        budget or problem.budget
    )


class Study:
    """Drives ``sampler`` over ``problem``; what happens goes into ``story``."""

    def __init__(self, problem: Problem, sampler: BaseSampler, story: Story) -> None:
        self.problem = problem
        self.story = story
        self.story.executions = dict.fromkeys(problem.stages.names, 0)
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.optuna = optuna.create_study(direction="maximize", sampler=sampler)
        optuna.logging.set_verbosity(verbosity)
        self._ready: dict[tuple[object, ...], float] = {}
        """When the stage of each key is, or was, computed."""

    def sequential(self, budget: float) -> Story:
        """One trial after the other."""
        return self.parallel(1, budget=budget)

    def parallel(self, workers: int, *, budget: float) -> Story:
        """``workers`` trials at a time; who needs a stage that another computes waits for it: nobody computes it twice.

        Each trial's stages run one after the other, in the order of the graph.
        """
        story, now = self.story, 0.0
        flying: list[tuple[float, int, float, optuna.Trial, dict[str, float]]] = []
        spent = 0.0
        while (spent < budget and story.trials + len(flying) < MOST_TRIALS) or flying:
            while len(flying) < workers and spent < budget and story.trials + len(flying) < MOST_TRIALS:
                trial, point = self._asked()
                end, ran = self._executed(point, now)
                spent += sum(ran.values()) + LOADING * (len(self.problem.stages) - len(ran))
                heapq.heappush(flying, (end, trial.number, self.problem.value(point), trial, ran))
            now, _, value, trial, ran = heapq.heappop(flying)
            trial.set_user_attr(SECONDS, ran)
            self.optuna.tell(trial, value)
            story.spent.append(spent)
            story.best.append(max(value, story.best[-1]) if story.best else value)
        story.wall = now
        return story

    def _asked(self) -> tuple[optuna.Trial, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self.optuna.ask()
            bounds = zip(self.problem.names, self.problem.low, self.problem.high, strict=True)
            point = np.array([trial.suggest_float(name, float(low), float(high)) for name, low, high in bounds])
        self.story.ask_seconds += time.perf_counter() - began
        return trial, point

    def _executed(
        self, point: np.ndarray[tuple[int, ...], np.dtype[np.float64]], now: float
    ) -> tuple[float, dict[str, float]]:
        """When a trial that begins now ends, and the seconds of the stages that it computes itself."""
        values = dict(zip(self.problem.names, point, strict=True))
        ran: dict[str, float] = {}
        for name, seconds in zip(self.problem.stages.names, self.problem.seconds(point), strict=True):
            key = (name, *(values[each] for each in sorted(self.problem.stages.reaching(name))))
            if key in self._ready:
                now = max(now, self._ready[key]) + LOADING
                continue
            now += seconds
            self._ready[key] = now
            ran[name] = float(seconds)
            self.story.executions[name] += 1
        return now, ran
