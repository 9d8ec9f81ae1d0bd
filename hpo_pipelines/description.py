"""Runs, steps and queues as plain JSON: one description for the command line and the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo_pipelines.accounting import Accounting
from hpo_pipelines.failure import readable
from hpo_pipelines.run import Run
from hpo_pipelines.runstep import RunStep
from hpo_pipelines.settings import Settings
from hpo_pipelines.store import Store
from hpo_pipelines.types import ArtifactRef
from hpo_pipelines.waiting import agents


def described(run: Run, *, steps: bool = True) -> dict[str, Any]:
    """A run as JSON: what ``hpo show --json`` prints. ``params`` are encoded, times are seconds since the epoch."""
    task = run.task
    found: dict[str, Any] = {
        "id": task.id,
        "run": task.label,
        "project": task.project,
        "pipeline": task.pipeline,
        "status": str(task.status),
        "abandoned": run.is_abandoned,
        "reason": run.reason,
        "executor": task.executor,
        "queue": task.queue,
        "params": dict(task.params),
        "metrics": run.metrics,
        "cloned_from": task.cloned_from,
        "rerun_of": task.rerun_of,
        "attempt": task.attempt,
        "attempt_of": task.attempt_of,
        "study": task.study,
        "trial": task.trial,
        "snapshot": task.snapshot,
        "git": {name: value for name, value in task.git.items() if name != "diff"} if task.git else None,
        "tags": list(task.tags),
        "notes": task.notes,
        "created_at": task.created_at,
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "archived_at": task.archived_at,
        "seconds": task.seconds,
        "error": readable(task.error),
    }
    if steps:
        found["accounting"] = described_accounting(run.accounting)
        found["outputs"] = _outputs(run.workspace.store.tasks.outputs(task.id))
        found["steps"] = [described_step(step) for step in run.steps.values()]
    return found


def described_step(step: RunStep) -> dict[str, Any]:
    """A step as JSON."""
    task = step.task
    return {
        "id": task.id,
        "step": task.name,
        "run": task.parent,
        "component": task.component,
        "status": str(task.status),
        "reason": task.reason,
        "key": task.key,
        "reused_from": task.reused_from,
        "executor": task.executor,
        "arguments": dict(task.params),
        "metrics": step.metrics,
        "outputs": _outputs(step.workspace.store.tasks.outputs(task.id)),
        "attempts": [
            {
                "number": attempt.number,
                "status": str(attempt.status),
                "worker": attempt.worker,
                "started_at": attempt.started_at,
                "finished_at": attempt.finished_at,
                "error": readable(attempt.error),
            }
            for attempt in step.attempts
        ],
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "seconds": task.seconds,
        "error": readable(task.error),
    }


def _outputs(outputs: Mapping[str, ArtifactRef]) -> dict[str, Any]:
    return {
        name: {"digest": ref.digest, "size": ref.size, "format": ref.format, "preview": dict(ref.preview)}
        for name, ref in outputs.items()
    }


def described_accounting(sums: Accounting) -> dict[str, Any]:
    """What a run or a study has cost and saved as JSON, in seconds."""
    return {**vars(sums), "wasted_by": dict(sums.wasted_by)}


def picture(preview: Mapping[str, Any]) -> str:
    """An output's preview on one line: its value where that is short, else its type and size."""
    if "repr" in preview:
        return " ".join(str(preview["repr"]).split())
    kind = str(preview.get("type", "?"))
    if "shape" in preview:
        return f"{kind} {' x '.join(map(str, preview['shape']))}"
    sizes = [f"{name} {preview[name]}" for name in ("name", "length", "size", "error") if name in preview]
    return ", ".join([kind, *sizes])


def number(value: float) -> str:
    """A metric as text, six significant digits."""
    return f"{value:.6g}"


def parameter(value: Any) -> str:
    """An encoded parameter as a person would write it."""
    if isinstance(value, Mapping) and len(value) <= 2:
        tag, inner = next(iter(value.items()), ("", value))
        if isinstance(tag, str) and tag in ("$float", "$date", "$datetime", "$time", "$path", "$enum"):
            return str(inner)
    return repr(value)


def described_queues(store: Store, settings: Settings) -> list[dict[str, Any]]:
    """Every queue that is declared, or has runs, as JSON."""
    counts, states, listening = store.queues.counts(), store.queues.states(), agents(store)
    found = []
    for name in sorted({*settings.queues, *counts, *states}):
        waiting, running = counts.get(name, (0, 0))
        state, declared = states.get(name), settings.queues.get(name)
        found.append(
            {
                "queue": name,
                "waiting": waiting,
                "running": running,
                "paused": state is not None and state.paused,
                "capacity": None if state is None else state.capacity,
                "agents": [
                    {"name": agent.name, "runs": agent.runs, "max_runs": agent.max_runs}
                    for agent in listening
                    if name in agent.queues
                ],
                "labels": dict(declared.labels) if declared else {},
                "resources": dict(declared.resources) if declared else {},
                "declared": declared is not None,
            }
        )
    return found
