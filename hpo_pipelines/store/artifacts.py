"""What the store knows of stored outputs: their digests, sizes and previews, and the bytes of the small ones."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from sqlalchemy import bindparam, select
from sqlalchemy.dialects import postgresql

from hpo_pipelines.store.database import Database, Transaction
from hpo_pipelines.store.records import artifact_of, artifact_row
from hpo_pipelines.store.schema import artifacts, insert_or, outputs
from hpo_pipelines.types import ArtifactRef

_BY_DIGEST = select(artifacts).where(artifacts.c.digest == bindparam("of"))
_HOLDERS = (
    select(outputs.c.task, outputs.c.name)
    .where(outputs.c.digest == bindparam("digest"))
    .order_by(outputs.c.task, outputs.c.position)
)


@cache
def _insert(dialect: str) -> postgresql.Insert:
    return insert_or(dialect, artifacts).on_conflict_do_nothing()


def write(transaction: Transaction, refs: Iterable[ArtifactRef]) -> None:
    """Record ``refs``, those that are new."""
    new = {(ref.digest, ref.value_digest): ref for ref in refs}
    rows = [artifact_row(ref) for key, ref in new.items() if key not in transaction.artifacts]
    transaction.write(_insert(transaction.connection.dialect.name), rows)
    transaction.artifacts.update(new)


def read(database: Database, digests: Iterable[str]) -> dict[tuple[str, str], ArtifactRef]:
    """The recorded artifacts with these ``digests``, by digest and value digest."""
    refs = [artifact_of(row) for digest in digests for row in database.rows(_BY_DIGEST, {"of": digest})]
    return {(ref.digest, ref.value_digest): ref for ref in refs}


class Artifacts:
    """The recorded artifacts of a store. Every method raises StoreError if the database refuses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, refs: Iterable[ArtifactRef]) -> None:
        """Record ``refs``; those that are known stay as they are."""
        with self._database.transaction() as transaction:
            write(transaction, refs)

    def get(self, digest: str, value_digest: str | None = None) -> ArtifactRef | None:
        """The artifact with this ``digest``, and this ``value_digest`` if one is given."""
        found = read(self._database, [digest])
        if value_digest is not None:
            return found.get((digest, value_digest))
        return next(iter(found.values()), None)

    def holders(self, digest: str) -> list[tuple[str, str]]:
        """The id of each task that has the artifact as an output, and the output's name, oldest task first."""
        return [(task, name) for task, name in self._database.rows(_HOLDERS, {"digest": digest})]
