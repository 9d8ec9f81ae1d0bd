"""Which tasks: conditions over the table of tasks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Text, bindparam, func, literal_column, or_

from hpo_pipelines.store.records import to_json
from hpo_pipelines.store.schema import tasks
from hpo_pipelines.store.within import within
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

    @property
    def statuses(self) -> tuple[str, ...]:
        """Those of :attr:`status`, whether it is one or several."""
        given = self.status or ()
        return (str(given),) if isinstance(given, str) else tuple(sorted({str(status) for status in given}))

    @property
    def shape(self) -> Shape:
        """What its SQL depends on."""
        given = tuple(name for name in _EQUAL if getattr(self, name) is not None)
        single = None if self.status is None else len(self.statuses) == 1
        return Shape(self.kind, given, single, self.top, self.archived, self.tag is not None)

    @property
    def values(self) -> dict[str, Any]:
        """What is bound in its SQL."""
        found = {name: getattr(self, name) for name in _EQUAL if getattr(self, name) is not None}
        if self.status is not None:
            found |= {"status": self.statuses[0]} if len(self.statuses) == 1 else {"statuses": list(self.statuses)}
        # `,"a","b",` holds `,"a",` only as a whole tag, since JSON escapes every quote inside one.
        return found if self.tag is None else {**found, "tag": f",{to_json(self.tag)},"}


@dataclass(frozen=True)
class Shape:
    """What the SQL of a filter depends on, while its values are bound: one statement for all filters of a shape."""

    kind: Kind | None
    equal: tuple[str, ...]
    """The columns that have one value each."""
    single: bool | None
    """Whether it has one status, for which an index has the order too, or any of several."""
    top: bool
    archived: bool | None
    tagged: bool

    def conditions(self) -> list[ColumnElement[bool]]:
        """What SQL is to fulfil."""
        conditions: list[ColumnElement[bool]] = []
        if self.kind is not None:
            # Not a bound value: SQLite uses an index over some rows only if it sees that they are meant.
            conditions.append(tasks.c.kind == literal_column(f"'{Kind(self.kind)}'"))
        conditions += [tasks.c[name] == bindparam(name) for name in self.equal]
        if self.single:
            conditions.append(tasks.c.status == bindparam("status"))
        elif self.single is not None:
            conditions.append(within(tasks.c.status, "statuses"))
        if self.top:
            conditions.append(tasks.c.parent.is_(None))
        if self.archived is not None:
            conditions.append(tasks.c.archived_at.is_not(None) if self.archived else tasks.c.archived_at.is_(None))
        if self.tagged:
            # The same again, in words that an index over some rows has. LIKE would ignore case.
            listed = "," + func.substr(tasks.c.tags, 2, func.length(tasks.c.tags) - 2) + ","
            without = func.replace(listed, bindparam("tag", type_=Text), "")
            conditions += [tasks.c.tags != literal_column("'[]'"), without != listed]
        return conditions


def among(status: Status | Collection[Status]) -> ColumnElement[bool]:
    """The task's status is ``status``, or one of several."""
    allowed = [status] if isinstance(status, str) else sorted(status)
    return or_(*(tasks.c.status == str(one) for one in allowed)) if allowed else literal_column("1") == 0
