"""``store.leases``: who does what, for how long.

A lease is not a lock: it ends by itself when its owner stops renewing it. All times are the database's.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Double, bindparam, delete, or_, select, update
from sqlalchemy.sql.dml import ReturningInsert

from hpo_pipelines.store.database import Database, Transaction
from hpo_pipelines.store.records import plain
from hpo_pipelines.store.schema import insert_or, leases

_until = bindparam("until", type_=Double)
_HOLDER = select(leases).where(leases.c.name == bindparam("of"), leases.c.expires_at > bindparam("now"))
_LAST = select(leases).where(leases.c.name == bindparam("of"))
_NAMED = select(leases).where(
    leases.c.name >= bindparam("first"), leases.c.name < bindparam("last"), leases.c.expires_at > bindparam("now")
)
_mine = leases.c.owner == bindparam("by")
_RENEW = update(leases).where(_mine).values(expires_at=_until)
_RENEW_ALL = _RENEW.returning(leases.c.name)
_RENEW_ONE = _RENEW.where(leases.c.name == bindparam("of")).returning(leases.c.name)
_RELEASE = delete(leases).where(leases.c.name == bindparam("of"), _mine)
_RELEASE_AS_IT_WAS = _RELEASE.where(leases.c.expires_at == _until)


@cache
def _claim(dialect: str) -> ReturningInsert[tuple[str]]:
    statement = insert_or(dialect, leases)
    free = or_(leases.c.owner == statement.excluded.owner, leases.c.expires_at <= bindparam("now"))
    return statement.on_conflict_do_update(
        index_elements=["name"],
        set_={name: statement.excluded[name] for name in ("owner", "expires_at", "note")},
        where=free,
    ).returning(leases.c.owner)


@dataclass(frozen=True)
class Lease:
    """``owner`` has ``name`` until ``expires_at`` (seconds since the epoch, the database's clock), for ``note``."""

    name: str
    owner: str
    expires_at: float
    note: str = ""


def claim(transaction: Transaction, name: str, owner: str, seconds: float, note: str = "") -> bool:
    """Take a lease that is free, over, or the owner's already."""
    until = transaction.now + seconds
    row = {"name": name, "owner": owner, "expires_at": until, "note": plain(note), "now": transaction.now}
    statement = _claim(transaction.connection.dialect.name)
    return len(transaction.rows(statement, row)) == 1


class Leases:
    """The leases of a store. An owner's name must be its own alone. Every method may raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, name: str, owner: str, seconds: float, note: str = "") -> bool:
        """Take the lease ``name``, or prolong it, for ``seconds``; ``False`` if another owner has it.

        ``note`` tells those who wait what for.
        """
        with self._database.transaction() as transaction:
            return claim(transaction, name, owner, seconds, note)

    def renew(self, owner: str, seconds: float, names: Collection[str] | None = None) -> frozenset[str]:
        """Prolong all leases of ``owner``, or those in ``names``, for ``seconds`` from now: one heartbeat.

        The names of those that ``owner`` still has: what is missing was taken over by another. A lease that ran out
        and that nobody took is still the owner's.
        """
        with self._database.transaction() as transaction:
            values = {"by": owner, "until": transaction.now + seconds}
            if names is None:
                renewed = transaction.rows(_RENEW_ALL, values)
            else:
                renewed = [row for name in names for row in transaction.rows(_RENEW_ONE, {**values, "of": name})]
            return frozenset(name for (name,) in renewed)

    def release(self, name: str, owner: str, *, until: float | None = None) -> bool:
        """Give the lease back; ``False`` if ``owner`` does not have it, or no longer as it was: ``until`` then."""
        with self._database.transaction() as transaction:
            if until is not None:
                return transaction.count(_RELEASE_AS_IT_WAS, {"of": name, "by": owner, "until": until}) == 1
            return transaction.count(_RELEASE, {"of": name, "by": owner}) == 1

    def named(self, prefix: str) -> list[Lease]:
        """The leases whose name begins with ``prefix`` and that somebody has, by name."""
        with self._database.read() as connection:
            now = self._database.dialect.now(connection)
        values = {"first": prefix, "last": prefix[:-1] + chr(ord(prefix[-1]) + 1), "now": now}
        return sorted((Lease(*row) for row in self._database.rows(_NAMED, values)), key=lambda lease: lease.name)

    def last(self, name: str) -> Lease | None:
        """The lease as it was taken last and not given back, whether or not its time is over."""
        for row in self._database.rows(_LAST, {"of": name}):
            return Lease(*row)
        return None

    def holder(self, name: str) -> Lease | None:
        """The lease as it stands, ``None`` if nobody has it or its time is over."""
        with self._database.read() as connection:
            now = self._database.dialect.now(connection)
        for row in self._database.rows(_HOLDER, {"of": name, "now": now}):
            return Lease(*row)
        return None
