"""What a study is expected to need, as a value, and what it then needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """A number that is expected, and between which it came out in simulated studies."""

    low: float
    expected: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Range:
        """Of what came out each time."""
        return cls(min(values), sum(values) / len(values), max(values))

    @property
    def is_certain(self) -> bool:
        return self.low == self.high

    def __str__(self) -> str:
        return f"{self.expected:g}" if self.is_certain else f"{self.expected:.0f} ({self.low:g}–{self.high:g})"


@dataclass(frozen=True)
class PlannedStep:
    """One step of the pipeline over all trials.

    ``calls`` are those of the trials; the others of them than the ``executions`` are reused. ``each`` is how many
    seconds one execution takes, the median of its component's latest, None if it never ran; ``seconds`` are those of
    the executions together.
    """

    step: str
    component: str
    calls: Range
    executions: Range
    each: float | None

    @property
    def seconds(self) -> Range | None:
        if self.each is None:
            return None
        return Range(*(count * self.each for count in dataclasses.astuple(self.executions)))


@dataclass(frozen=True)
class StudyPlan:
    """What a study of ``n_trials`` is expected to execute, and how long it takes with ``n_jobs`` trials in flight.

    ``exact`` where every trial is known (grid, bruteforce) and was followed to its end: then no more is executed than
    this; else each number is the mean over ``rounds`` simulated studies with random samples, with its range.
    ``seconds`` are of compute, ``wall`` until the end on ``workers`` workers; ``untimed`` steps, which never ran, count
    as none of them. ``stops`` says where bodies could not be followed further, or raise, and in what share of the
    trials: what they call after the former comes on top.
    """

    pipeline: str
    n_trials: int
    n_jobs: int
    workers: int
    sampler: str
    exact: bool
    rounds: int
    steps: tuple[PlannedStep, ...]
    seconds: Range
    wall: Range
    stops: Mapping[str, float]

    @property
    def untimed(self) -> tuple[str, ...]:
        """The steps whose duration is not known."""
        return tuple(step.step for step in self.steps if step.each is None)

    def record(self) -> dict[str, Any]:
        """Everything as JSON."""
        found = dataclasses.asdict(self)
        for row, step in zip(found["steps"], self.steps, strict=True):
            row["seconds"] = None if step.seconds is None else dataclasses.asdict(step.seconds)
        return {**found, "steps": list(found["steps"]), "stops": dict(self.stops), "untimed": list(self.untimed)}

    @classmethod
    def recorded(cls, record: Mapping[str, Any]) -> StudyPlan:
        """What :meth:`record` wrote."""
        steps = tuple(
            PlannedStep(row["step"], row["component"], Range(**row["calls"]), Range(**row["executions"]), row["each"])
            for row in record["steps"]
        )
        plain = ("pipeline", "n_trials", "n_jobs", "workers", "sampler", "exact", "rounds")
        kept: dict[str, Any] = {name: record[name] for name in plain}
        kept |= {"seconds": Range(**record["seconds"]), "wall": Range(**record["wall"])}
        return cls(**kept, steps=steps, stops=dict(record["stops"]))


@dataclass(frozen=True)
class ComparedStep:
    """One step as it was planned, None where it was not, and as it went; ``each`` are mean seconds of an execution."""

    step: str
    planned: PlannedStep | None
    executions: int
    reused: int
    seconds: float

    @property
    def each(self) -> float | None:
        return self.seconds / self.executions if self.executions else None


@dataclass(frozen=True)
class PlanComparison:
    """A study's plan against what has happened: ``trials`` begun, ``seconds`` of compute, ``wall`` seconds."""

    plan: StudyPlan
    steps: tuple[ComparedStep, ...]
    trials: int
    wall: float | None

    @property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.steps)

    def record(self) -> dict[str, Any]:
        """Everything as JSON."""
        rows = []
        for step in self.steps:
            planned = step.planned
            rows.append(
                {
                    "step": step.step,
                    "planned": None if planned is None else dataclasses.asdict(planned.executions),
                    "planned_calls": None if planned is None else dataclasses.asdict(planned.calls),
                    "planned_each": None if planned is None else planned.each,
                    "executions": step.executions,
                    "reused": step.reused,
                    "seconds": step.seconds,
                    "each": step.each,
                }
            )
        totals = {"trials": self.trials, "seconds": self.seconds, "wall": self.wall}
        return {"plan": self.plan.record(), "steps": rows, **totals}
