"""A run that climbs a ladder: its pipeline at rising values of one parameter, as long as it is among the best.

The ladder is that of successive halving without a barrier: whether a run goes on is decided the moment its value at a
rung is known, among the runs of its study that have one there by then (Li et al., A System for Massively Parallel
Hyperparameter Tuning, MLSys 2020; the rule is the one there for stopping, by which none is kept waiting). Brackets that
begin on different rungs are Hyperband's (Li et al., JMLR 18, 2018).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo_pipelines.engine.repeats import numbers_in
from hpo_pipelines.errors import Pruned, TaskNotFound
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status

if TYPE_CHECKING:
    from hpo_pipelines.engine.controller import Controller

VALUE = "value"
"""What the returned number itself is called among the metrics of a run that climbs."""


@dataclass(frozen=True)
class Ladder:
    """``values`` of ``parameter``, rising, encoded as a run's parameters are; of each rung about 1/``eta`` go on."""

    parameter: str
    values: tuple[int | float, ...]
    eta: float
    objective: str | None
    """What is compared: ``STEP.METRIC``, a key of the returned dict, or None for the returned number."""
    direction: str = "maximize"
    brackets: int = 1
    free: bool = False
    """Whether the run climbs to the top, however it does: it was stopped before, and is continued."""

    def as_option(self) -> dict[str, Any]:
        """As it is recorded, plain JSON."""
        return {**vars(self), "values": list(self.values)}

    @classmethod
    def of_option(cls, option: Mapping[str, Any] | None) -> Ladder | None:
        """What :meth:`as_option` made; None for nothing."""
        return None if option is None else cls(**{**option, "values": tuple(option["values"])})

    @property
    def metric(self) -> str:
        """The name under which the run itself reports what is compared."""
        return self.objective or VALUE

    @property
    def top(self) -> int | float:
        return self.values[-1]

    def step(self, rung: int) -> int:
        """The step at which a rung is reported: the parameter's value, or the number of the rung where not all are
        whole numbers."""
        whole = [value for value in self.values if isinstance(value, int)]
        return whole[rung] if len(whole) == len(self.values) else rung

    @property
    def steps(self) -> tuple[int, ...]:
        """:meth:`step` of every rung."""
        return tuple(map(self.step, range(len(self.values))))

    def first(self, study: str, trial: int) -> int:
        """The rung on which a trial begins, from 0: that of its bracket, which its number decides.

        The lower it begins, the more trials a bracket has: each is to cost about the same, as Hyperband has it.
        """
        whole = len(self.values) - 1
        shares = [
            math.ceil((whole + 1) * self.eta ** (whole - first) / (whole - first + 1)) for first in range(self.brackets)
        ]
        place = zlib.crc32(f"{study}:{trial}".encode()) % sum(shares)
        for first, share in enumerate(shares):
            if place < share:
                return first
            place -= share
        raise AssertionError("the shares do not add up")

    def refusal(self, rung: int, values: Sequence[float], place: int) -> str | None:
        """Why a run goes no further than ``rung``; None if it does.

        ``values`` are those of all runs that came there, in the order in which they came, its own at ``place``: of
        equals, who came first is ahead. While there are fewer than ``eta``, the best goes on, since nobody is to wait.
        """
        mine = values[place]
        name = self.metric.rpartition(".")[2]
        where = f"pruned at {self.parameter}={self.values[rung]}"
        if math.isnan(mine):
            return f"{where}: {name} is not a number"
        sign = 1 if self.direction == "maximize" else -1
        ahead = sum(sign * other >= sign * mine for other in values[:place])
        ahead += sum(sign * other > sign * mine for other in values[place + 1 :])
        count = len(values)
        if ahead < max(1, math.floor(count / self.eta)):
            return None
        return f"{where}: {name} {mine:.6g} not in the top 1/{self.eta:g} of rung ({ahead + 1} of {count})"


def climbed(outer: Controller, ladder: Ladder, params: Mapping[str, Any]) -> Any:
    """Run the pipeline of ``outer`` inside it, at one rung after another; what it returned on the last.

    After each rung the run reports every metric of it, and the number that is compared, at :meth:`Ladder.step`. Raises
    Pruned where it is not among the best of a rung, and TaskNotFound where a rung does not give that number.
    """
    decode = outer.pipeline.parameters.decode
    first = ladder.first(outer.run.study or "", outer.run.trial or 0)
    returned = None
    for rung in range(first, len(ladder.values)):
        value = ladder.values[rung]
        returned = outer.nested(outer.pipeline, {**params, **decode({ladder.parameter: value})})
        _report(outer, ladder, rung, returned)
        # Resumed, it goes where it went: what has come since is not to unsay that.
        went_on = outer.options.journal is not None and outer.options.journal.goes_on
        alone = ladder.free or outer.run.study is None
        if value != ladder.top and not alone and not went_on:
            reason = ladder.refusal(rung, *_field(outer, ladder, rung))
            if reason is not None:
                raise Pruned(reason)
    return returned


def _report(outer: Controller, ladder: Ladder, rung: int, returned: Any) -> None:
    """Report what the run at this rung gave."""
    store = outer.engine.store
    run = _latest(store.tasks.children(outer.run.id))
    metrics = store.metrics.named(run.id, store.tasks.children(run.id))
    known = {**numbers_in(returned), **metrics}
    mine = known.get(ladder.objective or "")
    if mine is None:
        raise TaskNotFound(
            f"{outer.run.label} at {ladder.parameter}={ladder.values[rung]} has no metric or returned value called "
            f"{ladder.metric!r}; it has {', '.join(sorted(filter(None, known))) or 'none'}."
        )
    said = {**metrics, ladder.metric: mine}
    outer.report_all([(name, value, ladder.step(rung)) for name, value in said.items()])


def _latest(children: Sequence[Task]) -> Task:
    """The run inside that has just ended."""
    runs = [task for task in children if task.kind is Kind.PIPELINE and task.status is Status.COMPLETED]
    return max(runs, key=lambda task: task.id)


def _field(outer: Controller, ladder: Ladder, rung: int) -> tuple[list[float], int]:
    """The values on ``rung`` of all runs of the study that came there in this bracket, and the place of this one."""
    study, mine = str(outer.run.study), outer.run.trial or 0
    values = outer.engine.store.studies.reported(study, ladder.metric, ladder.step(rung))
    bracket = ladder.first(study, mine)
    trials = [trial for trial in values if ladder.first(study, trial) == bracket]
    return [values[trial] for trial in trials], trials.index(mine)
