"""The statements that change a task, each built once for the fields it sets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

from sqlalchemy import Double, bindparam, case, func, null, update
from sqlalchemy.sql.dml import ReturningUpdate

from hpo_pipelines.errors import TaskError
from hpo_pipelines.store.filters import among
from hpo_pipelines.store.records import task_changes
from hpo_pipelines.store.schema import tasks
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status

_FIXED = {
    "id", "kind", "project", "pipeline", "number", "parent", "status", "created_at", "archived_at", "attempt_of",
    "attempt",
}  # fmt: skip
_CHANGEABLE = {field.name for field in fields(Task)} - _FIXED
PREVIOUS = tasks.c.keys().index("previous")
"""Where the rows that the statements return have the status before."""
_FINISHED = tuple(status for status in Status if status.finished)


def refuse_fixed(changes: Collection[str]) -> None:
    """Raise TaskError for the first of ``changes`` that is no field, or none that changes."""
    for name in changes:
        if name not in _CHANGEABLE:
            rule = "status is moved by transition" if name == "status" else "it is no field that changes"
            raise TaskError(f"A task's {name} cannot be set: {rule}. Fields: {', '.join(sorted(_CHANGEABLE))}.")


def values_of(changes: Mapping[str, Any]) -> dict[str, Any]:
    """``changes`` as values for the statements of this module."""
    # SQLAlchemy keeps the columns' own names for itself in VALUES.
    return {f"new_{name}": value for name, value in task_changes(changes).items()}


def _set(names: tuple[str, ...]) -> dict[str, Any]:
    return {name: bindparam(f"new_{name}", type_=tasks.c[name].type) for name in names}


@lru_cache(maxsize=256)
def change(names: tuple[str, ...]) -> ReturningUpdate[Any]:
    """Set the fields ``names`` of the task ``of``, and return its row."""
    statement = update(tasks).where(tasks.c.id == bindparam("of"))
    # The id too, so that there is something to set when there are no names.
    return statement.values({"id": tasks.c.id, **_set(names)}).returning(*tasks.c)


@lru_cache(maxsize=256)
def move(
    status: Status, sources: frozenset[Status], names: tuple[str, ...], kind: Kind | None = None
) -> ReturningUpdate[Any]:
    """Check and move in one statement, so that of two who try at once one finds the task moved.

    The task ``of`` goes to ``status`` at the time ``now`` if it is among ``sources`` and, if given, of ``kind``;
    its row is returned if it did.
    """
    values: dict[str, Any] = {"previous": tasks.c.status, "status": str(status), **_times(status)}
    if not status.finished:
        # What ended the task the last time is over when it goes on.
        again = among(_FINISHED)
        values["error"] = case((again, null()), else_=tasks.c.error)
        values["reason"] = case((again, null()), else_=tasks.c.reason)
    statement = update(tasks).where(tasks.c.id == bindparam("of"), among(sources))
    if kind is not None:
        statement = statement.where(tasks.c.kind == str(kind))
    return statement.values({**values, **_set(names)}).returning(*tasks.c)


def _times(status: Status) -> dict[str, Any]:
    now = bindparam("now", type_=Double)
    if status.finished:
        return {"finished_at": now}
    again = among(_FINISHED)
    if status is Status.RUNNING:
        # A task that was queued again after a loss has been under way since its first start.
        started = case((again, now), else_=func.coalesce(tasks.c.started_at, now))
    else:
        started = case((again, null()), else_=tasks.c.started_at)
    return {"started_at": started, "finished_at": null()}
