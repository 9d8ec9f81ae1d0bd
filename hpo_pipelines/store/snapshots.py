"""``store.snapshots``: the code of pipelines, by the digest of its sources."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from sqlalchemy import bindparam, select
from sqlalchemy.dialects import postgresql

from hpo_pipelines.store import artifacts
from hpo_pipelines.store.database import Database
from hpo_pipelines.store.records import snapshot_of, snapshot_row
from hpo_pipelines.store.schema import insert_or, snapshots
from hpo_pipelines.task import Snapshot

_BY_DIGEST = select(snapshots).where(snapshots.c.digest == bindparam("of"))


@cache
def _insert(dialect: str) -> postgresql.Insert:
    return insert_or(dialect, snapshots).on_conflict_do_nothing()


class Snapshots:
    """The recorded code of a store. Every method raises StoreError if the database refuses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, snapshot: Snapshot) -> None:
        """Record ``snapshot`` and its artifact; one that is known stays as it is.

        ``created_at`` 0 becomes the database's time.
        """
        with self._database.transaction() as transaction:
            artifacts.write(transaction, [snapshot.content])
            dated = snapshot if snapshot.created_at else replace(snapshot, created_at=transaction.now)
            transaction.write(_insert(transaction.connection.dialect.name), [snapshot_row(dated)])

    def get(self, digest: str) -> Snapshot | None:
        """The snapshot whose sources have this ``digest``."""
        for row in self._database.rows(_BY_DIGEST, {"of": digest}):
            _, _, content, content_value, *_ = row
            return snapshot_of(row, artifacts.read(self._database, [content])[content, content_value])
        return None
