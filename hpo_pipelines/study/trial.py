"""One trial of a study, as the person who started that sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo_pipelines.engine.repeats import CI95, STD, Spread
from hpo_pipelines.engine.rungs import Ladder
from hpo_pipelines.run import Run
from hpo_pipelines.store.chain import counting
from hpo_pipelines.study.fidelity import climbs
from hpo_pipelines.study.goals import feasible
from hpo_pipelines.types import Kind, Status


@dataclass(frozen=True)
class Rung:
    """The ``value`` of a trial's objective at one value of the parameter that is its ``fidelity``, by ``run``."""

    fidelity: int | float
    value: float
    run: Run


@dataclass(frozen=True)
class Trial:
    """One trial of a study: its number, what was sampled, what it gave, and its run."""

    number: int
    params: Mapping[str, Any]
    """The parameters that it began with; a run that was retriggered may have ended with others."""
    values: tuple[float, ...] | None
    """One for each objective; None unless it completed and gave them."""
    status: Status
    run: Run
    violations: Mapping[str, float] = field(default_factory=dict)
    """By how much each constraint of the study is violated, in the unit of its metric; 0 or less where it is not."""

    spreads: tuple[Spread, ...] | None = None
    """Of each value, a mean over repeats, how they spread; None for a trial that has no values, or no repeats."""

    ladder: Ladder | None = None
    """What it climbs; None without ``fidelity``."""

    origin: str | None = None
    """Where a trial that was brought in was run: ``trial 12 of churn-1``, or a run; None for the study's own."""

    continues: int | None = None
    """The number of the pruned trial that it continues."""

    @property
    def value(self) -> float | None:
        """The value of the objective; of several that of the first."""
        return None if self.values is None else self.values[0]

    @property
    def is_feasible(self) -> bool:
        """Whether it violates no constraint of the study."""
        return feasible(self.violations)

    @property
    def std(self) -> float | None:
        """The standard deviation of the value over the repeats; None without repeats."""
        return None if self.spreads is None else self.spreads[0].std

    @property
    def ci95(self) -> float | None:
        """Half the width of the 95 % interval of the value, a mean over repeats: ``value ± ci95``."""
        return None if self.spreads is None else self.spreads[0].ci95

    @property
    def repeats(self) -> list[Run]:
        """The runs inside its run, one for each seed; none without repeats."""
        return [] if self.ladder is not None else self._inside

    @property
    def rungs(self) -> list[Rung]:
        """What it gave on each rung that it came to, the lowest first; none without ``fidelity``."""
        ladder = self.ladder
        if ladder is None:
            return []
        gave = climbs(self.run.workspace, self.run.task, ladder)
        at = dict(zip(ladder.values, ladder.steps, strict=True))
        inside = {run.task.params.get(ladder.parameter): run for run in self._inside}
        return [
            Rung(value, gave[step], inside[value]) for value, step in at.items() if step in gave and value in inside
        ]

    @property
    def _inside(self) -> list[Run]:
        """The runs of the pipeline inside its run, in their order."""
        children = self.run.workspace.store.tasks.children(self.run.id)
        inner = sorted((task for task in children if task.kind is Kind.PIPELINE), key=lambda task: task.id)
        return [Run(self.run.workspace, task) for task in counting(inner) if task.pipeline == self.run.task.pipeline]


def spreads_of(names: Sequence[str], values: Sequence[float], metrics: Mapping[str, float]) -> tuple[Spread, ...]:
    """The spread of each of ``values``, from what the trial's run has reported; NaN where it has not."""
    nan = float("nan")
    return tuple(
        Spread(value, metrics.get(f"{name}.{STD}", nan), metrics.get(f"{name}.{CI95}", nan))
        for name, value in zip(names, values, strict=True)
    )
