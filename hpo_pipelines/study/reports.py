"""What the steps of a run that another process drives report, and give, read from the store as it comes in."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from hpo_pipelines.engine.options import results
from hpo_pipelines.store import Store
from hpo_pipelines.task import Metric, Task
from hpo_pipelines.types import Kind, Status
from hpo_pipelines.workspace import Workspace

Report = tuple[str, str, float, int]
"""(component, metric, value, step), as :data:`hpo_pipelines.engine.options.Watch` takes it."""


class Reports:
    """Those of ``run`` and the runs inside it, with the ``wanted`` results of steps."""

    def __init__(self, workspace: Workspace, run: str, wanted: Collection[str]) -> None:
        self._workspace = workspace
        self._store = workspace.store
        self._run = run
        self._wanted = wanted
        self._heard: int | None = None
        """The last event that was looked at."""
        self._inside: dict[str, bool] = {run: True}
        """Of each task that an event was about, whether it belongs to the run."""
        self._steps: dict[str, Task] = {}
        self._given: set[str] = set()

    def fresh(self) -> Iterator[Report]:
        """What has come since the last look; the first time, all there is."""
        if self._heard is None:
            self._heard = self._store.events.last()
            below = [task for task in self._store.tasks.below([self._run]) if task.kind is Kind.STEP]
            self._steps |= {task.id: task for task in below}
            self._inside |= {task.id: True for task in below}
            yield from self._told(self._store.metrics.of([task.id for task in below]))
            for task in below:
                yield from self._results(task.id)
            return
        for event in self._store.events.after(self._heard):
            self._heard = event.id
            if not self._is_inside(event.task):
                continue
            if event.kind == "metrics":
                first, last = event.data["first"], event.data["last"]
                yield from self._told(self._store.metrics.between(event.task, first, last))
            else:
                yield from self._results(event.task)

    def _told(self, metrics: list[Metric]) -> Iterator[Report]:
        for metric in metrics:
            step = self._steps.get(metric.task)
            if step is not None and step.component is not None:
                yield step.component, metric.name, metric.value, metric.step

    def _is_inside(self, task_id: str) -> bool:
        if task_id not in self._inside:
            found = self._store.tasks.get_all([task_id]).get(task_id)
            self._inside[task_id] = found is not None and found.parent is not None and self._is_inside(found.parent)
            if found is not None and found.kind is Kind.STEP:
                self._steps[task_id] = found
        return self._inside[task_id]

    def _results(self, task_id: str) -> Iterator[Report]:
        """What the step has given, once, when it has completed."""
        step = self._steps.get(task_id)
        if step is None or task_id in self._given or not self._is_wanted(str(step.component)):
            return
        if self._store.tasks.status(task_id) is Status.COMPLETED:
            self._given.add(task_id)
            _, code = self._workspace.code(self._store.tasks.get(self._run))
            outputs = self._store.tasks.outputs(task_id)
            load = self._workspace.artifacts.get
            for name, value in results(str(step.component), outputs, self._wanted, lambda ref: load(ref, code=code)):
                yield str(step.component), name, value, 0

    def _is_wanted(self, component: str) -> bool:
        return any(name == component or name.startswith(f"{component}.") for name in self._wanted)


def series(store: Store, run: Task) -> dict[str, list[tuple[int, float]]]:
    """What the steps of ``run``, and of runs inside it, reported, by ``STEP.METRIC``: (step, value) as they came."""
    steps = {task.id: task for task in store.tasks.below([run.id]) if task.kind is Kind.STEP}
    found: dict[str, list[tuple[int, float]]] = {}
    for metric in store.metrics.of(list(steps)):
        found.setdefault(f"{steps[metric.task].component}.{metric.name}", []).append((metric.step, metric.value))
    return found
