"""A plan as a value: its steps in the order of the calls, where it ends, and what it comes to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REUSE, RUN, UNKNOWN = "reuse", "run", "unknown"
"""The verdicts. ``reuse`` and ``run`` are definite, provided that the steps before succeed; ``unknown`` is neither."""


@dataclass(frozen=True)
class PlannedStep:
    """One call of a component. ``uses`` are the positions, in the plan, of the steps it takes something from."""

    name: str
    """As in the run: ``fit``, ``fit.2``; of a run inside, ``inner/fit``."""
    component: str
    verdict: str
    reason: str
    seconds: float | None
    """How long the component takes: the median of its latest executions, None if it never ran."""
    key: str | None = None
    origin: str | None = None
    """The id of the step whose outcome would be reused."""
    uses: tuple[int, ...] = ()

    @property
    def spent(self) -> float | None:
        """The seconds that it would take in this run: none for what is reused, None where unknown."""
        return 0.0 if self.verdict == REUSE else self.seconds


@dataclass(frozen=True)
class Stop:
    """Where a plan ends before its body does: at ``place`` (``file:line``), for ``reason``."""

    reason: str
    place: str | None
    error: str | None = None
    """The exception's class, if the body raised."""


@dataclass(frozen=True)
class Totals:
    """What a plan comes to.

    ``seconds`` is expected of the steps that will run, one after the other, ``at_most`` if those of unknown verdict run
    as well; the ``critical`` ones are those of the longest chain of steps that wait for each other. ``untimed`` counts
    the steps among them whose duration is not known, which count as 0 s.
    """

    run: int
    reuse: int
    unknown: int
    seconds: float
    critical_seconds: float
    at_most: float
    critical_at_most: float
    untimed: int


@dataclass(frozen=True)
class Plan:
    """What a run of ``pipeline`` with ``params`` (encoded) would do."""

    pipeline: str
    params: Mapping[str, Any]
    steps: tuple[PlannedStep, ...]
    stop: Stop | None = None
    """None when the body was followed to its end: then there are no more steps than these."""

    @property
    def complete(self) -> bool:
        """Whether the body was followed to its end."""
        return self.stop is None

    @property
    def totals(self) -> Totals:
        """How many steps of each verdict, and how long they take."""
        counts = {verdict: sum(step.verdict == verdict for step in self.steps) for verdict in (RUN, REUSE, UNKNOWN)}
        certain = [(step.spent or 0.0) if step.verdict == RUN else 0.0 for step in self.steps]
        possible = [step.spent or 0.0 for step in self.steps]
        return Totals(
            run=counts[RUN],
            reuse=counts[REUSE],
            unknown=counts[UNKNOWN],
            seconds=sum(certain),
            critical_seconds=self._longest(certain),
            at_most=sum(possible),
            critical_at_most=self._longest(possible),
            untimed=sum(step.spent is None for step in self.steps),
        )

    def _longest(self, seconds: list[float]) -> float:
        ends: list[float] = []
        for step, own in zip(self.steps, seconds, strict=True):
            ends.append(own + max((ends[used] for used in step.uses), default=0.0))
        return max(ends, default=0.0)

    def record(self) -> dict[str, Any]:
        """Everything as JSON."""
        return {
            "pipeline": self.pipeline,
            "params": dict(self.params),
            "complete": self.complete,
            "stop": None if self.stop is None else dataclasses.asdict(self.stop),
            "steps": [{**dataclasses.asdict(step), "uses": list(step.uses)} for step in self.steps],
            "totals": dataclasses.asdict(self.totals),
        }
