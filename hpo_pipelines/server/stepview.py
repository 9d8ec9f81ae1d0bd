"""What the inspector says of a run, and of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpo_pipelines.errors import HpoPipelinesError
from hpo_pipelines.failure import readable
from hpo_pipelines.reasons import Why
from hpo_pipelines.run import Run
from hpo_pipelines.runstep import RunStep
from hpo_pipelines.server.runview import RunView
from hpo_pipelines.server.site import Site
from hpo_pipelines.task import Task
from hpo_pipelines.types import ArtifactRef, Kind

_POINTS = 300
"""Of a sparkline."""


def inspected_run(view: RunView) -> dict[str, Any]:
    """What there is to say of the whole run."""
    task = view.run.task
    store = view.site.workspace.store
    base = store.tasks.get_all([task.cloned_from]).get(task.cloned_from) if task.cloned_from else None
    commit = str((task.git or {}).get("commit") or "")
    return {
        "kind": "run",
        "params": changed(task.params, None if base is None else base.params),
        "base": base,
        "commit": f"{commit[:10]}{' with changes' if (task.git or {}).get('dirty') else ''}" if commit else None,
        "metrics": view.metrics,
        "accounting": view.accounting,
        "outputs": outputs_of(view.site, task.id),
        "error": readable(task.error),
        "failed": [step for step in view.steps.values() if step.task.error],
    }


def changed(params: Mapping[str, Any], base: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Each parameter with its value, and the base's where that is another one."""
    rows = []
    for name, value in params.items():
        differs = base is not None and (name not in base or base[name] != value)
        rows.append(
            {"name": name, "value": value, "changed": differs, "was": (base or {}).get(name) if differs else None}
        )
    return rows


def inspected_step(view: RunView, name: str) -> dict[str, Any]:
    """What there is to say of one step, or of a run inside. A step that is only expected is ``planned``."""
    site = view.site
    child = next((task for task in view.children if name in (task.name, task.label)), None)
    if child is None:
        return {"kind": "planned", "name": name}
    if child.kind is Kind.PIPELINE:
        inner = Run(site.workspace, child)
        return {"kind": "inner", "name": child.label, "task": child, "metrics": inner.metrics, "params": child.params}
    step = RunStep(site.workspace, child)
    return {
        "kind": "step",
        "name": child.name,
        "task": child,
        "step": step,
        "shown": "reused" if child.reused_from and child.status == "completed" else str(child.status),
        "attempts": step.attempts,
        "inputs": inputs_of(view, child),
        "outputs": outputs_of(site, child.id),
        "metrics": sparks_of(site, child.id),
        "why": _why(view, step),
        "error": readable(child.error),
        "mlflow": site.mlflow_page(child),
    }


def _why(view: RunView, step: RunStep) -> Why | None:
    try:
        return view.why(step)
    except HpoPipelinesError:  # what it would be compared with is being deleted, say
        return None


def inputs_of(view: RunView, step: Task) -> list[dict[str, Any]]:
    """The arguments of a step: literals as they are, outputs of other steps with where they come from."""
    store = view.site.workspace.store
    edges = [edge for edge in store.tasks.edges(view.run.id) if edge.target == step.id and edge.kind == "data"]
    tasks = store.tasks.get_all([edge.source for edge in edges])
    sources: dict[str, list[str]] = {}
    for edge in edges:
        if edge.source in tasks:
            sources.setdefault(edge.input, []).append(tasks[edge.source].name)
    rows = []
    for name, value in step.params.items():
        is_output = isinstance(value, dict) and "$from" in value
        rows.append({"name": name, "value": value, "is_output": is_output, "sources": sources.get(name, [])})
    return rows


def outputs_of(site: Site, task: str) -> list[dict[str, Any]]:
    """The outputs of a task with their previews."""
    refs = site.workspace.store.tasks.outputs(task)
    return [{"name": name.removeprefix("value."), "ref": ref, "table": table_of(ref)} for name, ref in refs.items()]


def table_of(ref: ArtifactRef) -> dict[str, Any] | None:
    """The preview's rows and columns, where it has some."""
    head = ref.preview.get("head")
    if isinstance(head, Mapping) and "rows" in head:
        return {"columns": head["columns"], "index": head.get("index", []), "rows": head["rows"]}
    if isinstance(head, list) and head and isinstance(head[0], list):
        return {"columns": list(range(len(head[0]))), "index": list(range(len(head))), "rows": head}
    if isinstance(head, list) and head:
        return {"columns": list(range(len(head))), "index": [""], "rows": [head]}
    return None


def sparks_of(site: Site, task: str) -> list[dict[str, Any]]:
    """Each metric of a task: its last value and, for a series, a line in a box of 300 x 44."""
    series: dict[str, list[float]] = {}
    for metric in site.workspace.store.metrics.of([task]):
        series.setdefault(metric.name, []).append(metric.value)
    return [
        {"name": name, "last": values[-1], "count": len(values), "path": path_of(values)}
        for name, values in series.items()
    ]


def path_of(values: Sequence[float]) -> str:
    """The SVG path of a series; empty where there is no line to draw. What is not finite is left out."""
    step = max(1, len(values) // _POINTS)
    points = [(i, value) for i, value in enumerate(values) if i % step == 0 or i == len(values) - 1]
    points = [(i, value) for i, value in points if abs(value) < float("inf")]
    if len(points) < 2:
        return ""
    low, high = min(value for _, value in points), max(value for _, value in points)
    last = points[-1][0]
    places = [(i / last * 300, 41 - (value - low) / ((high - low) or 1.0) * 38) for i, value in points]
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
