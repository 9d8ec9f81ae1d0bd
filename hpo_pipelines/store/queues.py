"""``store.queues``: which runs wait in which queue, in which order, and what an agent takes next.

An entry goes when its run ends (:mod:`.tasks`), so that a run whose agent went away is still the queue's. Who drives a
run is said by the lease on it, here as everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import (
    Double,
    Integer,
    bindparam,
    case,
    delete,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.sql.dml import ReturningInsert

from hpo_pipelines.store.database import Database, Transaction
from hpo_pipelines.store.filters import among
from hpo_pipelines.store.records import from_json, to_json
from hpo_pipelines.store.schema import events, insert_or, leases, queued, queues, tasks
from hpo_pipelines.store.within import within
from hpo_pipelines.types import Kind, Status

_LEASE = "run:"
"""What the name of the lease on driving a run begins with (``hpo_pipelines.engine.journal.lease_of``)."""

ORPHANED = "orphaned"
"""The kind of the event that an agent died with a run."""

_now = bindparam("now", type_=Double)
_WAITS = tasks.c.status == str(Status.QUEUED)
_RUNS = tasks.c.status == str(Status.RUNNING)
_of_run = leases.c.name == literal(_LEASE) + queued.c.task
_ORDER = (queued.c.priority.desc(), queued.c.position)
_WITH_TASK = queued.join(tasks, tasks.c.id == queued.c.task)
_COUNTS = (
    select(queued.c.queue, tasks.c.status, func.count())
    .select_from(_WITH_TASK)
    .where(among((Status.QUEUED, Status.RUNNING)))
    .group_by(queued.c.queue, tasks.c.status)
)
_ENTRY = select(queued).where(queued.c.task == bindparam("of"))
_LINE = select(queued).select_from(_WITH_TASK).where(queued.c.queue == bindparam("of"), _WAITS).order_by(*_ORDER)
_UNDER_WAY = (
    select(*queued.c, leases.c.owner, leases.c.expires_at)
    .select_from(_WITH_TASK.outerjoin(leases, _of_run))
    .where(within(queued.c.queue, "names"), _RUNS)
    .order_by(*_ORDER)
)
# What waits and whose run nobody has; locked against other agents.
_FIRST = (
    select(queued)
    .select_from(_WITH_TASK.outerjoin(leases, _of_run))
    .where(within(queued.c.queue, "names"), _WAITS, or_(leases.c.name.is_(None), leases.c.expires_at <= _now))
    .order_by(*_ORDER)
    .limit(1)
    .with_for_update(of=queued, skip_locked=True)
)
_AHEAD = (
    select(func.count())
    .select_from(_WITH_TASK)
    .where(
        queued.c.queue == bindparam("queue"),
        _WAITS,
        tuple_(-queued.c.priority, queued.c.position) < tuple_(bindparam("before"), bindparam("position")),
    )
)
_COUNT_DEATH = (
    update(queued)
    .where(queued.c.task == bindparam("of"))
    .values(claims=case((bindparam("anew", type_=Integer) == 1, 1), else_=queued.c.claims + 1))
    .returning(queued.c.claims)
)
_LAST_DEATH = select(func.max(events.c.id)).where(events.c.task == bindparam("of"), events.c.kind == ORPHANED)
_INSIDE = select(tasks.c.id).where(within(tasks.c.parent, "runs"), tasks.c.kind == str(Kind.PIPELINE))
# What a step that has ended was heard of since.
_PROGRESS = (
    select(literal(1))
    .select_from(events.join(tasks, tasks.c.id == events.c.task))
    .where(within(tasks.c.parent, "runs"), tasks.c.kind == str(Kind.STEP), among((Status.COMPLETED, Status.FAILED)))
    .where(events.c.id > bindparam("since"), or_(events.c.kind == "created", events.c.kind == "status"))
    .limit(1)
)
LEAVE = delete(queued).where(queued.c.task == bindparam("of"))
_STATES = select(queues)


@dataclass(frozen=True)
class Entry:
    """The run ``task`` in ``queue``: higher ``priority`` first, then lower ``position``.

    ``claims`` counts the agents that died with it since a step of it ended; ``options`` say how it is to be driven.
    """

    position: int
    task: str
    queue: str
    priority: int
    at: float
    claims: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class QueueState:
    """What somebody has set for a queue: a paused one gives no run to agents; ``capacity`` limits those driven."""

    name: str
    paused: bool = False
    capacity: int | None = None


def _entry(row: Sequence[Any]) -> Entry:
    position, task, queue, priority, at, claims, options = row
    return Entry(position, task, queue, priority, at, claims, from_json(options))


def _state(row: Sequence[Any]) -> QueueState:
    name, paused, capacity = row
    return QueueState(name, bool(paused), capacity)


@cache
def _enter(dialect: str) -> ReturningInsert[Any]:
    statement = insert_or(dialect, queued)
    # Who moves to another queue stands at its end.
    new = {name: statement.excluded[name] for name in ("queue", "priority", "options")}
    return statement.on_conflict_do_update(index_elements=["task"], set_=new).returning(*queued.c)


@cache
def _set(dialect: str, column: str) -> ReturningInsert[Any]:
    """Set one column, so that of two who change a queue at once neither undoes the other's."""
    statement = insert_or(dialect, queues)
    new = {column: statement.excluded[column]}
    return statement.on_conflict_do_update(index_elements=["name"], set_=new).returning(*queues.c)


class Queues:
    """The queues of a store. Every method may raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enter(
        self,
        task: str,
        queue: str,
        *,
        priority: int = 0,
        options: Mapping[str, Any] | None = None,
        position: int | None = None,
    ) -> Entry:
        """Have the run ``task`` wait in ``queue``; one that waits already gets this queue, priority and options.

        It stands behind those of its priority, or at the ``position`` that one which has left had.
        """
        with self._database.transaction() as transaction:
            values = {
                "task": task,
                "queue": queue,
                "priority": priority,
                "at": transaction.now,
                "claims": 0,
                "options": to_json(options or {}),
                **({} if position is None else {"position": position}),
            }
            statement = _enter(transaction.connection.dialect.name)
            entry = _entry(transaction.rows(statement, values)[0])
            transaction.event(task, "enqueued", {"queue": queue, "priority": priority})
            return entry

    def leave(self, task: str) -> None:
        """The run ``task``, which has not ended, is in no queue any more; nothing if it was in none."""
        with self._database.transaction() as transaction:
            transaction.count(LEAVE, {"of": task})

    def first(self, names: Sequence[str]) -> Entry | None:
        """What is next in the queues ``names``: it waits, its queue is neither paused nor full, and nobody has it.

        Inside a transaction it is kept from other agents until the end of that.
        """
        with self._database.transaction() as transaction:
            open_ = self._open(names)
            if not open_:
                return None
            for row in transaction.rows(_FIRST, {"names": open_, "now": transaction.now}):
                return _entry(row)
        return None

    def _open(self, names: Sequence[str]) -> list[str]:
        states = self.states()
        closed = {name for name in names if name in states and states[name].paused}
        limited = {name for name in names if name in states and states[name].capacity is not None}
        if limited:
            running = self.counts()
            closed |= {name for name in limited if running.get(name, (0, 0))[1] >= (states[name].capacity or 0)}
        return [name for name in names if name not in closed]

    def under_way(self, names: Collection[str]) -> list[tuple[Entry, str | None]]:
        """The entries of ``names`` whose runs are recorded as running, each with who drives it, None for nobody."""
        with self._database.read() as connection:
            now = self._database.dialect.now(connection)
            rows = self._database.rows(_UNDER_WAY, {"names": names})
        return [(_entry(row), owner if owner is not None and until > now else None) for *row, owner, until in rows]

    def orphaned(self, task: str) -> int:
        """Count one more agent that took ``task`` and died; how many there were since a step of it ended last."""
        with self._database.transaction() as transaction:
            anew = int(self._has_moved(transaction, task))
            rows = transaction.rows(_COUNT_DEATH, {"of": task, "anew": anew})
            if not rows:
                return 0
            deaths = int(rows[0][0])
            transaction.event(task, ORPHANED, {"deaths": deaths})
            return deaths

    def _has_moved(self, transaction: Transaction, task: str) -> bool:
        """Whether a step of ``task``, or of a run inside it, has ended since an agent died with it last."""
        ((last,),) = transaction.rows(_LAST_DEATH, {"of": task})
        level = [task]
        while level:
            if transaction.rows(_PROGRESS, {"runs": level, "since": last or 0}):
                return True
            level = [run for (run,) in transaction.rows(_INSIDE, {"runs": level})]
        return False

    def entry(self, task: str) -> Entry | None:
        """The place of the run ``task`` in its queue, None if it is in none."""
        for row in self._database.rows(_ENTRY, {"of": task}):
            return _entry(row)
        return None

    def ahead(self, entry: Entry) -> int:
        """How many runs wait in front of ``entry`` in its queue."""
        values = {"queue": entry.queue, "before": -entry.priority, "position": entry.position}
        ((count,),) = self._database.rows(_AHEAD, values)
        return int(count)

    def line(self, queue: str) -> list[Entry]:
        """What waits in ``queue``, next first."""
        return [_entry(row) for row in self._database.rows(_LINE, {"of": queue})]

    def counts(self) -> dict[str, tuple[int, int]]:
        """For each queue that has any: how many of its runs wait, and how many are under way."""
        found: dict[str, tuple[int, int]] = {}
        for name, status, count in self._database.rows(_COUNTS, {}):
            waiting, running = found.get(name, (0, 0))
            found[name] = (count, running) if status == Status.QUEUED else (waiting, count)
        return found

    def states(self) -> dict[str, QueueState]:
        """What is set for queues, by name; those of which nothing is set are left out."""
        return {row[0]: _state(row) for row in self._database.rows(_STATES, {})}

    def pause(self, name: str, paused: bool = True) -> QueueState:
        """Pause a queue, or open it again; how it is set now. Agents hear of it at once."""
        return self._change("paused", {"name": name, "paused": int(paused), "capacity": None})

    def limit(self, name: str, capacity: int | None) -> QueueState:
        """Let at most ``capacity`` runs of a queue be driven, any number with ``None``; how it is set now."""
        return self._change("capacity", {"name": name, "paused": 0, "capacity": capacity})

    def _change(self, column: str, values: Mapping[str, Any]) -> QueueState:
        with self._database.transaction() as transaction:
            state = _state(transaction.rows(_set(transaction.connection.dialect.name, column), values)[0])
            transaction.event(state.name, "queue", {"paused": state.paused, "capacity": state.capacity})
            return state
