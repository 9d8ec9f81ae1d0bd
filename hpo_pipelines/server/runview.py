"""One run as one request looks at it: what several parts of its page show is read once, and is the same in all."""

from __future__ import annotations

from functools import cached_property

from hpo_pipelines.accounting import Accounting, accounting_of
from hpo_pipelines.reasons import Why
from hpo_pipelines.run import Run
from hpo_pipelines.runstep import RunStep
from hpo_pipelines.server.graph import Graph, graph_of
from hpo_pipelines.server.site import Site
from hpo_pipelines.store.metrics import named_values
from hpo_pipelines.task import Attempt, Task
from hpo_pipelines.types import Kind


class RunView:
    """``run`` with what was read of it: for the length of one request, not longer."""

    def __init__(self, site: Site, run: Run) -> None:
        self.site = site
        self.run = run
        self._reasons: dict[str, Why] = {}

    @cached_property
    def children(self) -> list[Task]:
        """Its steps and the runs inside it, by position."""
        return self.site.workspace.store.tasks.children(self.run.id)

    @cached_property
    def steps(self) -> dict[str, RunStep]:
        """Its steps by name, in the order of their calls."""
        return {task.name: RunStep(self.site.workspace, task) for task in self.children if task.component is not None}

    @cached_property
    def attempts(self) -> dict[str, list[Attempt]]:
        """Those of its steps, by the steps' ids."""
        steps = [task.id for task in self.children if task.kind is Kind.STEP]
        return self.site.workspace.store.tasks.attempts_of(steps)

    @cached_property
    def graph(self) -> Graph:
        """Its steps and edges, and what is expected yet."""
        return graph_of(self.site.workspace.store, self.run.task, self.children, self.attempts)

    @cached_property
    def latest(self) -> dict[tuple[str, str], float]:
        """The last value of each metric, of itself and of its steps, by task and name."""
        return self.site.workspace.store.metrics.latest([self.run.id, *(task.id for task in self.children)])

    @property
    def metrics(self) -> dict[str, float]:
        """As :attr:`Run.metrics`."""
        return named_values(self.run.id, self.children, self.latest)

    @cached_property
    def accounting(self) -> Accounting:
        """What its steps took, wasted, and saved by reuse."""
        return accounting_of(self.site.workspace.store, self.run.task, self.children, self.attempts)

    def why(self, step: RunStep) -> Why:
        """Why ``step`` ran, or was reused. Raises TaskNotFound when it is no longer there."""
        if step.id not in self._reasons:
            self._reasons[step.id] = step.why()
        return self._reasons[step.id]
