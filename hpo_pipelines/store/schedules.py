"""``store.schedules``: what is to be started by the clock, or by what happens; each firing is recorded with its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.dml import Update

from hpo_pipelines.errors import ScheduleError
from hpo_pipelines.store.database import Database
from hpo_pipelines.store.records import from_json, plain, to_json
from hpo_pipelines.store.schema import schedules

_ALL = select(schedules).order_by(schedules.c.name)
_ONE = select(schedules).where(schedules.c.name == bindparam("of"))
_LOCK = _ONE.with_for_update(skip_locked=True)
_ADD = insert(schedules)
_REMOVE = delete(schedules).where(schedules.c.name == bindparam("of"))
_JSON = ("trigger", "target", "options", "seen")


@dataclass(frozen=True)
class Schedule:
    """``target`` is started whenever ``trigger`` says; times are seconds since the epoch, by the database's clock.

    ``next_at`` is when the clock says so next, ``cursor`` the last event that was looked at for a trigger that waits
    for events, ``seen`` the last runs that it fired for. ``last_task`` is what was started last, at ``last_at``, and
    ``said`` what there was to say then.
    """

    name: str
    trigger: Mapping[str, Any]
    target: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    paused: bool = False
    next_at: float | None = None
    cursor: int = 0
    seen: tuple[str, ...] = ()
    fired: int = 0
    last_at: float | None = None
    last_task: str | None = None
    said: str | None = None
    created_at: float = 0.0


_FIELDS = tuple(each.name for each in fields(Schedule))


def _row(values: Mapping[str, Any]) -> dict[str, Any]:
    row = {**values, **{name: to_json(values[name]) for name in _JSON if name in values}}
    if "paused" in row:
        row["paused"] = int(row["paused"])
    if row.get("said") is not None:
        row["said"] = plain(row["said"])
    return row


def _schedule(row: Any) -> Schedule:
    values = dict(zip(_FIELDS, row, strict=True))
    plain_values = {name: from_json(values[name]) for name in _JSON}
    return Schedule(**{**values, **plain_values, "paused": bool(values["paused"]), "seen": tuple(plain_values["seen"])})


@lru_cache(maxsize=64)
def _change(names: tuple[str, ...]) -> Update:
    statement = update(schedules).where(schedules.c.name == bindparam("of"))
    return statement.values({name: bindparam(f"new_{name}", type_=schedules.c[name].type) for name in names})


class Schedules:
    """The schedules of a store. Every method may raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, schedule: Schedule) -> Schedule:
        """Keep ``schedule``, dated. Raises ScheduleError if there is one of that name."""
        with self._database.transaction() as transaction:
            dated = {**vars(schedule), "created_at": schedule.created_at or transaction.now}
            if transaction.rows(_ONE, {"of": schedule.name}):
                raise _taken(schedule.name)
            try:
                transaction.write(_ADD, [_row(dated)])
            except IntegrityError as error:  # another was quicker by a moment
                transaction.failed = True
                raise _taken(schedule.name) from error
            transaction.event(schedule.name, "schedule", {"added": True})
            return Schedule(**dated)

    def all(self) -> list[Schedule]:
        """Every schedule, by name."""
        return [_schedule(row) for row in self._database.rows(_ALL, {})]

    def get(self, name: str) -> Schedule:
        """The schedule ``name``. Raises ScheduleError, which lists those there are."""
        for row in self._database.rows(_ONE, {"of": name}):
            return _schedule(row)
        known = ", ".join(each.name for each in self.all()) or "none"
        raise ScheduleError(f"there is no schedule {name!r}; there are: {known}.")

    def lock(self, name: str) -> Schedule | None:
        """The schedule ``name``, kept from others until the transaction ends; None if another has it, or it is gone."""
        with self._database.transaction() as transaction:
            for row in transaction.rows(_LOCK, {"of": name}):
                return _schedule(row)
        return None

    def update(self, name: str, **changes: Any) -> Schedule:
        """Change fields of the schedule ``name``; as it is then. Raises ScheduleError if there is none."""
        with self._database.transaction() as transaction:
            new = {f"new_{key}": value for key, value in _row(changes).items()}
            transaction.count(_change(tuple(changes)), {"of": name, **new})
            changed = self.get(name)
            transaction.event(name, "schedule", {"changed": sorted(changes)})
            return changed

    def remove(self, name: str) -> None:
        """Forget the schedule ``name``; what it has started stays. Raises ScheduleError if there is none."""
        with self._database.transaction() as transaction:
            self.get(name)
            transaction.count(_REMOVE, {"of": name})
            transaction.event(name, "schedule", {"removed": True})


def _taken(name: str) -> ScheduleError:
    return ScheduleError(f"there is a schedule {name!r} already: remove it (`hpo schedule rm {name}`), or give a name.")
