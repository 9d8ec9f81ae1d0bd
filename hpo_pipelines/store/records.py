"""Between the frozen records of :mod:`hpo_pipelines.task` and the rows of the tables.

Rows come from ``select(table)`` in the order of the table's columns, which is the order of the record's fields.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpo_pipelines.task import Attempt, CacheEntry, Event, Metric, Snapshot, Task
from hpo_pipelines.types import ArtifactRef, Kind, Status

Row = Sequence[Any]


def _mapping(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON: {value!r}")


# One encoder for all: json.dumps with any option builds a new one per call. ASCII, so that every string, lone
# surrogates and NUL included, goes through UTF-8 and PostgreSQL.
to_json = json.JSONEncoder(separators=(",", ":"), default=_mapping).encode
from_json = json.JSONDecoder().decode

_STATUS = {str(status): status for status in Status}
_KIND = {str(kind): kind for kind in Kind}


def plain(text: str) -> str:
    """``text`` without what a database refuses in text: NUL (PostgreSQL) and lone surrogates (UTF-8)."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "backslashreplace").decode("utf-8")


def _maybe_json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else to_json(value)


def task_row(task: Task) -> dict[str, Any]:
    """The columns of ``tasks`` for ``task``; ``previous`` is empty."""
    row = dict(vars(task))
    row["kind"] = str(task.kind)
    row["status"] = str(task.status)
    row["name"] = plain(task.name)
    row["params"] = to_json(task.params)
    row["error"] = _maybe_json(task.error)
    row["git"] = _maybe_json(task.git)
    row["tags"] = to_json(task.tags)
    row["notes"] = plain(task.notes)
    row["reason"] = None if task.reason is None else plain(task.reason)
    row["previous"] = None
    return row


_ENCODE: dict[str, Callable[[Any], str | None]] = {
    "params": to_json,
    "error": _maybe_json,
    "git": _maybe_json,
    "tags": lambda tags: to_json(tuple(tags)),
    "name": plain,
    "notes": plain,
    "reason": lambda reason: None if reason is None else plain(reason),
}


def task_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of ``tasks`` for some of a task's fields."""
    return {name: _ENCODE[name](value) if name in _ENCODE else value for name, value in changes.items()}


def task_of(row: Row) -> Task:
    """The task in a whole row of ``tasks``."""
    (ident, kind, name, project, status, pipeline, number, parent, component, position, params, *rest) = row
    (snapshot, cloned_from, rerun_of, study, trial, executor, queue, key, reused_from, *last) = rest
    (reason, error, git, tags, notes, created_at, started_at, finished_at, _previous, *added) = last
    (archived_at, attempt_of, attempt) = added
    # A frozen dataclass sets each field by a call of its own, which takes longer than all else that reading does.
    task = Task.__new__(Task)
    vars(task).update(
        id=ident,
        kind=_KIND[kind],
        name=name,
        project=project,
        status=_STATUS[status],
        pipeline=pipeline,
        number=number,
        parent=parent,
        component=component,
        position=position,
        params=from_json(params),
        snapshot=snapshot,
        cloned_from=cloned_from,
        rerun_of=rerun_of,
        study=study,
        trial=trial,
        executor=executor,
        queue=queue,
        key=key,
        reused_from=reused_from,
        reason=reason,
        error=None if error is None else from_json(error),
        git=None if git is None else from_json(git),
        tags=tuple(from_json(tags)),
        notes=notes,
        created_at=created_at,
        started_at=started_at,
        finished_at=finished_at,
        archived_at=archived_at,
        attempt_of=attempt_of,
        attempt=attempt,
    )
    return task


def attempt_row(attempt: Attempt) -> dict[str, Any]:
    return {
        "task": attempt.task,
        "number": attempt.number,
        "status": str(attempt.status),
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "error": _maybe_json(attempt.error),
        "worker": plain(attempt.worker),
        "console": plain(attempt.console),
    }


def attempt_of(row: Row) -> Attempt:
    task, number, status, started_at, finished_at, error, worker, console = row
    failure = None if error is None else from_json(error)
    return Attempt(task, number, _STATUS[status], started_at, finished_at, failure, worker, console)


def artifact_row(ref: ArtifactRef) -> dict[str, Any]:
    return {
        "digest": ref.digest,
        "value_digest": ref.value_digest,
        "format": ref.format,
        "size": ref.size,
        "preview": to_json(ref.preview),
        "inline": ref.inline,
    }


def artifact_of(row: Row) -> ArtifactRef:
    digest, value_digest, format_, size, preview, inline = row
    return ArtifactRef(digest, value_digest, format_, size, from_json(preview), inline)


def metric_row(metric: Metric) -> dict[str, Any]:
    return {
        "task": metric.task,
        "name": plain(metric.name),
        "value": None if math.isnan(metric.value) else float(metric.value),
        "step": metric.step,
        "at": metric.at,
    }


def metric_value(value: float | None) -> float:
    return math.nan if value is None else value


def metric_of(row: Row) -> Metric:
    _id, task, name, value, step, at = row
    return Metric(task, name, metric_value(value), step, at)


def cache_row(entry: CacheEntry) -> dict[str, Any]:
    return {
        "key": entry.key,
        "task": entry.task,
        "component": entry.component,
        "outputs": to_json({name: (ref.digest, ref.value_digest) for name, ref in entry.outputs.items()}),
        "parts": to_json(entry.parts),
        "seconds": entry.seconds,
        "created_at": entry.created_at,
        "hits": entry.hits,
        "hit_at": entry.hit_at,
    }


def cache_of(row: Row, artifacts: Mapping[tuple[str, str], ArtifactRef]) -> CacheEntry:
    """The entry in a row of ``cache``; ``artifacts`` holds those it names, by digest and value digest."""
    key, task, component, outputs, parts, seconds, created_at, hits, hit_at = row
    refs = {name: artifacts[digests] for name, digests in cache_outputs(outputs).items()}
    return CacheEntry(key, task, component, refs, from_json(parts), seconds, created_at, hits, hit_at)


def cache_outputs(outputs: str) -> dict[str, tuple[str, str]]:
    """The digest and value digest of each output, of the ``outputs`` column of ``cache``."""
    return {name: (digest, value_digest) for name, (digest, value_digest) in from_json(outputs).items()}


def snapshot_row(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "digest": snapshot.digest,
        "entry": plain(snapshot.entry),
        "content_digest": snapshot.content.digest,
        "content_value_digest": snapshot.content.value_digest,
        "python": snapshot.python,
        "packages": to_json(snapshot.packages),
        "created_at": snapshot.created_at,
    }


def snapshot_of(row: Row, content: ArtifactRef) -> Snapshot:
    digest, entry, _content, _content_value, python, packages, created_at = row
    return Snapshot(digest, entry, content, python, from_json(packages), created_at)


def event_of(row: Row) -> Event:
    ident, at, task, kind, data = row
    return Event(ident, at, task, kind, from_json(data))
