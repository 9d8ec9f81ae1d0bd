"""Which tasks: conditions over the table of tasks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, literal_column, or_

from hpo_pipelines.store.records import to_json
from hpo_pipelines.store.schema import tasks
from hpo_pipelines.types import Kind, Status

_EQUAL = ("name", "project", "pipeline", "parent", "study", "trial", "attempt_of")


@dataclass(frozen=True)
class TaskFilter:
    """Which tasks to list: those that fulfil everything that is given."""

    kind: Kind | None = None
    name: str | None = None
    project: str | None = None
    pipeline: str | None = None
    status: Status | Collection[Status] | None = None
    """One status, or any of several."""
    parent: str | None = None
    top: bool = False
    """Only tasks with no run around them: steps and nested runs are left out."""
    study: str | None = None
    trial: int | None = None
    tag: str | None = None
    archived: bool | None = None
    """Only what is archived, or only what is not."""
    attempt_of: str | None = None
    """Only the run that this one ended by asking for."""

    def conditions(self) -> list[ColumnElement[bool]]:
        """What SQL is to fulfil."""
        conditions: list[ColumnElement[bool]] = []
        if self.kind is not None:
            # Not a bound value: SQLite uses an index over some rows only if it sees that they are meant.
            conditions.append(tasks.c.kind == literal_column(f"'{Kind(self.kind)}'"))
        for name in _EQUAL:
            if getattr(self, name) is not None:
                conditions.append(tasks.c[name] == getattr(self, name))
        if self.status is not None:
            conditions.append(among(self.status))
        if self.top:
            conditions.append(tasks.c.parent.is_(None))
        if self.archived is not None:
            conditions.append(tasks.c.archived_at.is_not(None) if self.archived else tasks.c.archived_at.is_(None))
        if self.tag is not None:
            # The same again, in words that an index over some rows has.
            conditions += [tasks.c.tags != literal_column("'[]'"), _tagged(self.tag)]
        return conditions


def among(status: Status | Collection[Status]) -> ColumnElement[bool]:
    """The task's status is ``status``, or one of several."""
    allowed = [status] if isinstance(status, str) else sorted(status)
    return or_(*(tasks.c.status == str(one) for one in allowed)) if allowed else literal_column("1") == 0


def _tagged(tag: str) -> ColumnElement[bool]:
    # `,"a","b",` holds `,"a",` only as a whole tag, since JSON escapes every quote inside one. LIKE would ignore case.
    listed = "," + func.substr(tasks.c.tags, 2, func.length(tasks.c.tags) - 2) + ","
    return func.replace(listed, f",{to_json(tag)},", "") != listed
