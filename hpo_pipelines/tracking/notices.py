"""What of a store's events people are told of, as the JSON that webhooks get."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo_pipelines.failure import readable
from hpo_pipelines.store import Store
from hpo_pipelines.store.chain import RETRIGGERED
from hpo_pipelines.task import Event, Task
from hpo_pipelines.types import Kind, Status

BEST = "best"
"""The event of a study that has a new best trial (``hpo_pipelines.study.announcing``)."""

_ENDS = (Status.COMPLETED, Status.FAILED, Status.ABORTED)


@dataclass(frozen=True)
class Notice:
    """One thing to be told: ``kind`` as in :data:`hpo_pipelines.webhook.EVENTS`; ``asked`` are the webhooks that its
    study names, None where it names none."""

    kind: str
    content: Mapping[str, Any]
    asked: Sequence[str] | None = None


def notice(store: Store, event: Event) -> Notice | None:
    """What ``event`` says to people; None for most events, and for those of tasks that are deleted since."""
    if event.kind == "status" and event.data["to"] not in _ENDS:
        return None
    if event.kind not in ("status", BEST):
        return None
    task = store.tasks.get_all([event.task]).get(event.task)
    if task is None or task.kind is Kind.STEP:
        return None
    if task.kind is Kind.STUDY:
        return _of_study(task, event)
    if task.parent is not None or task.study is not None or event.kind == BEST:
        return None  # a study says itself how its trials go
    status, reason = event.data["to"], event.data.get("reason")
    if str(reason).startswith(RETRIGGERED):
        return None  # its next attempt goes on
    return _noted(event, f"run.{status}", f"run {task.label} {_ended(status, reason, task)}", run=_run(store, task))


def _of_study(task: Task, event: Event) -> Notice:
    wanted = (task.params.get("asked") or {}).get("notify")
    asked = [wanted] if isinstance(wanted, str) else wanted
    study = {"id": task.id, "study": task.name, "project": task.project, "pipeline": task.pipeline}
    if event.kind == BEST:
        values = ", ".join(f"{name} = {value:.6g}" for name, value in event.data["values"].items())
        text = f"study {task.name}: trial {event.data['trial']} ({event.data['run']}) is the best so far, {values}"
        return _noted(event, "study.best", text, asked, study=study, best=dict(event.data))
    status, reason = event.data["to"], event.data.get("reason")
    study |= {"status": status, "reason": reason, "stopped_by": task.params.get("stopped_by")}
    return _noted(event, f"study.{status}", f"study {task.name} {_ended(status, reason)}", asked, study=study)


def _noted(event: Event, kind: str, text: str, asked: Sequence[str] | None = None, **more: Any) -> Notice:
    # ``text`` is what Slack, Mattermost and their like show; the id says which of two are one, should one come twice.
    return Notice(kind, {"text": text, "event": kind, "id": event.id, "at": event.at, **_plain(more)}, asked)


def _ended(status: str, reason: str | None, task: Task | None = None) -> str:
    error = (task.error if task is not None else None) or {}
    why = f"{error.get('type')}: {str(error.get('message')).partition(chr(10))[0]}" if error else reason
    return f"{status}: {why}"[:500] if why else status


def _run(store: Store, task: Task) -> dict[str, Any]:
    error = readable(task.error)
    return {
        "id": task.id,
        "run": task.label,
        "project": task.project,
        "pipeline": task.pipeline,
        "status": str(task.status),
        "reason": task.reason,
        "attempt": task.attempt,
        "params": dict(task.params),
        "metrics": store.metrics.named(task.id, store.tasks.children(task.id)),
        "tags": list(task.tags),
        "seconds": task.seconds,
        "error": None if error is None else {name: error.get(name) for name in ("type", "message")},
    }


def _plain(value: Any) -> Any:
    """``value`` as JSON that every receiver reads, which have no word for NaN and infinities."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
