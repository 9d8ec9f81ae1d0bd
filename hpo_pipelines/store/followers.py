"""``store.followers``: how far each follower of the events has come, and what it made of each task elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects import postgresql

from hpo_pipelines.store import leases
from hpo_pipelines.store.database import Database
from hpo_pipelines.store.schema import followers, insert_or, mirrors
from hpo_pipelines.store.schema import leases as leases_table
from hpo_pipelines.store.within import within

_CURSOR = select(followers.c.cursor).where(followers.c.name == bindparam("of"))
_ADVANCE = (
    update(followers)
    .where(
        followers.c.name == bindparam("of"),
        select(leases_table.c.name)
        .where(leases_table.c.name == bindparam("lease"), leases_table.c.owner == bindparam("by"))
        # A take-over waits for us, and then reads the cursor that we leave.
        .with_for_update(read=True)
        .exists(),
    )
    .values(cursor=bindparam("to"))
)
_MIRRORED = select(mirrors.c.reference).where(
    mirrors.c.follower == bindparam("of"), mirrors.c.task == bindparam("in_task")
)
_MIRRORED_ALL = select(mirrors.c.task, mirrors.c.reference).where(
    mirrors.c.follower == bindparam("of"), within(mirrors.c.task, "tasks")
)


@cache
def _insert(dialect: str) -> postgresql.Insert:
    return insert_or(dialect, followers).on_conflict_do_nothing()


@cache
def _set_mirror(dialect: str) -> postgresql.Insert:
    statement = insert_or(dialect, mirrors)
    return statement.on_conflict_do_update(
        index_elements=["follower", "task"], set_={"reference": statement.excluded.reference}
    )


def _lease(name: str) -> str:
    return f"follower:{name}"


class Followers:
    """The followers of a store's events: each has one owner at a time, and one cursor, saved here.

    Every method raises StoreError if the database refuses.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, name: str, cursor: int) -> bool:
        """Have ``name`` follow from ``cursor`` on, if it has not begun yet; whether it had not."""
        with self._database.transaction() as transaction:
            known = bool(transaction.rows(_CURSOR, {"of": name}))
            if not known:
                transaction.write(_insert(transaction.connection.dialect.name), [{"name": name, "cursor": cursor}])
            return not known

    def claim(self, name: str, owner: str, seconds: float) -> int | None:
        """Follow as ``name`` for ``seconds``: the cursor to go on from; ``None`` while another owner does.

        Claiming again prolongs the lease.
        """
        with self._database.transaction() as transaction:
            if not leases.claim(transaction, _lease(name), owner, seconds):
                return None
            transaction.write(_insert(transaction.connection.dialect.name), [{"name": name, "cursor": 0}])
            ((cursor,),) = transaction.rows(_CURSOR, {"of": name})
            return int(cursor)

    def advance(self, name: str, owner: str, cursor: int) -> bool:
        """Save that all events up to ``cursor`` are done; ``False`` if another owner has taken over."""
        with self._database.transaction() as transaction:
            values = {"of": name, "by": owner, "lease": _lease(name), "to": cursor}
            return transaction.count(_ADVANCE, values) == 1

    def release(self, name: str, owner: str) -> bool:
        """Let another follow as ``name`` at once; ``False`` if another does already."""
        return leases.Leases(self._database).release(_lease(name), owner)

    def mirrored(self, follower: str, task: str) -> str | None:
        """What ``follower`` calls ``task`` elsewhere (an MLflow run id), ``None`` if it made nothing of it yet."""
        for (reference,) in self._database.rows(_MIRRORED, {"of": follower, "in_task": task}):
            return str(reference)
        return None

    def mirrored_all(self, follower: str, tasks: Sequence[str]) -> dict[str, str]:
        """What ``follower`` calls each of ``tasks`` elsewhere; those of which it made nothing yet are left out."""
        return {row[0]: row[1] for row in self._database.rows(_MIRRORED_ALL, {"of": follower, "tasks": tasks})}

    def set_mirrored(self, follower: str, task: str, reference: str) -> None:
        """Save what ``follower`` calls ``task`` elsewhere."""
        self.set_mirrored_all(follower, {task: reference})

    def set_mirrored_all(self, follower: str, references: Mapping[str, str]) -> None:
        """:meth:`set_mirrored` for each task of ``references``."""
        with self._database.transaction() as transaction:
            rows = [{"follower": follower, "task": task, "reference": text} for task, text in references.items()]
            transaction.write(_set_mirror(transaction.connection.dialect.name), rows)
