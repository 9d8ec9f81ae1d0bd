"""``store.cache``: the outcomes recorded under keys."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache as memoised
from typing import Any

from sqlalchemy import Select, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql

from hpo_pipelines.store import artifacts
from hpo_pipelines.store.database import Database
from hpo_pipelines.store.records import Row, cache_of, cache_outputs, cache_row, from_json
from hpo_pipelines.store.schema import cache, insert_or
from hpo_pipelines.store.within import within
from hpo_pipelines.task import CacheEntry

_BY_KEY = select(cache).where(cache.c.key == bindparam("of"))
_MADE_OF = select(cache.c.key, cache.c.parts, cache.c.created_at).where(within(cache.c.key, "keys"))
_HAS = select(cache.c.key).where(cache.c.key == bindparam("of"))
_NEWEST = select(cache).order_by(cache.c.created_at.desc(), cache.c.key)
_NEWEST_OF = _NEWEST.where(cache.c.component == bindparam("component"))
_LATEST_OF = _NEWEST_OF.limit(bindparam("limit"))
_HIT = (
    update(cache)
    .where(cache.c.key == bindparam("of"))
    .values(hits=cache.c.hits + 1, hit_at=bindparam("now", type_=cache.c.hit_at.type))
)
_LIKE = _NEWEST.where(cache.c.key >= bindparam("low"), cache.c.key < bindparam("high")).limit(bindparam("limit"))
_KEYS_OF = select(cache.c.key).where(cache.c.component == bindparam("component")).order_by(cache.c.key)
_OUTPUTS = cache.c.keys().index("outputs")
_GIVE_WAY = delete(cache).where(cache.c.key == bindparam("of"), cache.c.task == bindparam("over"))
_DELETE = delete(cache).where(cache.c.key == bindparam("of"))


@memoised
def _insert(dialect: str) -> postgresql.Insert:
    return insert_or(dialect, cache).on_conflict_do_nothing()


@dataclass(frozen=True)
class MadeOf:
    """Of an outcome the parts of its key, and when it was recorded; not what came out."""

    parts: Mapping[str, Any]
    created_at: float


class Cache:
    """The recorded outcomes of a store. Every method raises StoreError if the database refuses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, entry: CacheEntry, *, over: str | None = None) -> bool:
        """Record an outcome and its artifacts; ``False`` if its key has one already, which stays.

        Unless it is that of the step ``over``, which gives way. ``created_at`` 0 becomes the database's time.
        """
        with self._database.transaction() as transaction:
            artifacts.write(transaction, entry.outputs.values())
            row = cache_row(entry if entry.created_at else replace(entry, created_at=transaction.now))
            if over is not None:
                transaction.count(_GIVE_WAY, {"of": entry.key, "over": over})
            return transaction.count(_insert(transaction.connection.dialect.name), row) == 1

    def lookup(self, key: str) -> CacheEntry | None:
        """The outcome recorded under ``key``."""
        return next(iter(self._entries(_BY_KEY, {"of": key})), None)

    def made_of(self, keys: Sequence[str]) -> dict[str, MadeOf]:
        """What the outcome under each of ``keys`` was made of, by key; those without an outcome are left out."""
        rows = self._database.rows(_MADE_OF, {"keys": keys}) if keys else ()
        return {key: MadeOf(from_json(parts), created_at) for key, parts, created_at in rows}

    def has(self, key: str) -> bool:
        """Whether there is an outcome under ``key``."""
        return bool(self._database.rows(_HAS, {"of": key}))

    def hit(self, *keys: str) -> None:
        """Count one more use of the outcome under each of ``keys``."""
        with self._database.transaction() as transaction:
            transaction.write(_HIT, [{"of": key, "now": transaction.now} for key in sorted(keys)])

    def delete(self, key: str) -> bool:
        """Forget the outcome under ``key``; ``False`` if there is none. Its artifacts stay."""
        with self._database.transaction() as transaction:
            return transaction.count(_DELETE, {"of": key}) == 1

    def forget(self, *keys: str) -> int:
        """:meth:`delete` each of ``keys``, all or none; how many there were."""
        with self._database.transaction() as transaction:
            return sum(transaction.count(_DELETE, {"of": key}) for key in sorted(keys))

    def keys(self, component: str) -> builtins.list[str]:
        """The keys of every outcome of ``component``."""
        return [key for (key,) in self._database.rows(_KEYS_OF, {"component": component})]

    def find(self, prefix: str, limit: int = 11) -> builtins.list[CacheEntry]:
        """The newest ``limit`` outcomes whose keys begin with ``prefix``."""
        if not prefix:
            return []
        # The next text of this length: keys are compared byte by byte.
        high = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        return self._entries(_LIKE, {"low": prefix, "high": high, "limit": limit})

    def list(self, component: str | None = None) -> builtins.list[CacheEntry]:
        """Every outcome, of ``component`` if one is given, newest first."""
        if component is None:
            return self._entries(_NEWEST, {})
        return self._entries(_NEWEST_OF, {"component": component})

    def latest(self, component: str, limit: int = 10) -> builtins.list[CacheEntry]:
        """The newest ``limit`` outcomes of ``component``, newest first."""
        return self._entries(_LATEST_OF, {"component": component, "limit": limit})

    def _entries(self, statement: Select[Any], values: dict[str, object]) -> builtins.list[CacheEntry]:
        return self._with_artifacts(self._database.rows(statement, values))

    def _with_artifacts(self, rows: Sequence[Row]) -> builtins.list[CacheEntry]:
        digests = {digest for row in rows for digest, _ in cache_outputs(row[_OUTPUTS]).values()}
        refs = artifacts.read(self._database, digests)
        return [cache_of(row, refs) for row in rows]
