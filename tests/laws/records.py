"""What the store remembers of a run, in a form in which two runs compare."""

from __future__ import annotations

from typing import Any

from hpo_pipelines import Workspace
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind


def recorded(workspace: Workspace, run: str) -> dict[str, Any]:
    """The steps of a run, its reports and those of its steps, the graph, and the same of the runs inside it.

    Without what two runs of one body may differ in: times, identities, attempts, who was reused.
    """
    store = workspace.store
    children = store.tasks.children(run)
    names = {task.id: task.name for task in children}
    series: dict[str, list[tuple[str, int, float]]] = {}
    for metric in store.metrics.of([run, *names]):
        series.setdefault(names.get(metric.task, ""), []).append((metric.name, metric.step, metric.value))
    # A run inside a run has no position: it stands where it was begun, as its steps do in their order.
    inside = sorted((task for task in children if task.kind is Kind.PIPELINE), key=lambda task: task.id)
    return {
        "steps": [_step(workspace, task) for task in children if task.kind is Kind.STEP],
        "reports": series,
        "edges": sorted(
            (names[edge.source], names[edge.target], edge.kind, edge.output, edge.input)
            for edge in store.tasks.edges(run)
            if edge.source in names
        ),
        "inside": [recorded(workspace, task.id) for task in inside],
    }


def _step(workspace: Workspace, task: Task) -> tuple[Any, ...]:
    outputs = workspace.store.tasks.outputs(task.id)
    identities = {name: ref.value_digest for name, ref in outputs.items()}
    params = {name: value for name, value in task.params.items() if name != "log"}
    return task.name, task.position, task.status, params, identities
