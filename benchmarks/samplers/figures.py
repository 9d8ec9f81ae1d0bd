"""Figures over the seeds of one problem: medians, each with a bootstrap interval, and who wins how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.samplers.clock import Story

RESAMPLES = 2000
PARTS = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Interval:
    """A median, and the middle 95 % of medians of as many seeds drawn again."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_number(self.median)} [{_number(self.low)}, {_number(self.high)}]"


def interval(values: Sequence[float]) -> Interval:
    """The median of ``values``, of which some may be infinite (a target that was never reached)."""
    array = np.sort(np.asarray(values, dtype=float))
    drawn = np.random.default_rng(0).integers(len(array), size=(RESAMPLES, len(array)))
    # Not interpolated: between a number and infinity there is nothing.
    medians = np.quantile(array[drawn], 0.5, axis=1, method="lower")
    low, high = np.quantile(medians, [0.025, 0.975], method="nearest")
    return Interval(float(np.quantile(array, 0.5, method="lower")), float(low), float(high))


def best_at(story: Story, seconds: float) -> float:
    """The best value of the trials that ended within ``seconds`` of compute; of the first if none did."""
    within = [best for best, spent in zip(story.best, story.spent, strict=True) if spent <= seconds]
    return within[-1] if within else story.best[0]


def cost_to(story: Story, target: float) -> float:
    """Seconds of compute until ``target`` was reached; infinite if it never was."""
    return next((spent for best, spent in zip(story.best, story.spent, strict=True) if best >= target), float("inf"))


def table(stories: Mapping[str, Sequence[Story]], budget: float, reference: str = "TPE") -> list[dict[str, str]]:
    """A row for each method: quality at parts of the budget, cost to ``reference``'s median final value, re-use.

    Methods have the same seeds in the same order; wins are counted seed by seed, on final values.
    """
    theirs = [best_at(story, budget) for story in stories[reference]]
    target = float(np.median(theirs))
    rows = []
    for method, each in stories.items():
        row = {"method": method, "seeds": str(len(each))}
        for part in PARTS:
            row[f"best at {_part(part)}"] = str(interval([best_at(story, part * budget) for story in each]))
        reached = [cost_to(story, target) / budget for story in each]
        wins = sum(best_at(story, budget) > other for story, other in zip(each, theirs, strict=True))
        row |= {
            f"cost to {reference}'s median": str(interval(reached)),
            "reached by": f"{np.mean(np.isfinite(reached)):.0%}",
            f"wins over {reference}": f"{wins}/{len(each)}",
            "trials": f"{np.median([story.trials for story in each]):.0f}",
            "stages reused": f"{np.median([story.reused for story in each]):.0%}",
            "s per ask": f"{np.median([story.ask_seconds / story.trials for story in each]):.3f}",
        }
        rows.append(row)
    return rows


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """``rows`` as a table."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _part(part: float) -> str:
    return "B" if part == 1.0 else f"B/{round(1 / part)}"


def _number(value: float) -> str:
    return "never" if np.isinf(value) else f"{value:.3g}"
