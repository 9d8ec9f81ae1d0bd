"""What the store knows of stored outputs: their digests, sizes and previews, and the bytes of the small ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache

from sqlalchemy import and_, bindparam, delete, exists, or_, select
from sqlalchemy.dialects import postgresql

from hpo_pipelines.store.database import Database, Transaction
from hpo_pipelines.store.records import artifact_of, artifact_row, cache_outputs
from hpo_pipelines.store.schema import artifacts, insert_or, outputs, snapshots
from hpo_pipelines.store.schema import cache as outcomes
from hpo_pipelines.store.within import within
from hpo_pipelines.types import ArtifactRef

_BY_DIGEST = select(artifacts).where(within(artifacts.c.digest, "digests"))
_HOLDERS = (
    select(outputs.c.task, outputs.c.name)
    .where(outputs.c.digest == bindparam("digest"))
    .order_by(outputs.c.task, outputs.c.position)
)
_PAGE = (
    select(artifacts)
    .where(
        or_(
            artifacts.c.digest > bindparam("digest"),
            and_(artifacts.c.digest == bindparam("digest"), artifacts.c.value_digest > bindparam("value")),
        )
    )
    .order_by(artifacts.c.digest, artifacts.c.value_digest)
    .limit(bindparam("limit"))
)
_is_output = exists().where(outputs.c.digest == artifacts.c.digest, outputs.c.value_digest == artifacts.c.value_digest)
_is_code = exists().where(
    snapshots.c.content_digest == artifacts.c.digest, snapshots.c.content_value_digest == artifacts.c.value_digest
)
_LOOSE = select(artifacts.c.digest, artifacts.c.value_digest).where(~_is_output, ~_is_code)
_DROP = delete(artifacts).where(
    artifacts.c.digest == bindparam("of"), artifacts.c.value_digest == bindparam("value"), ~_is_output, ~_is_code
)
_AT_ONCE = 500
"""How many are deleted under one lock."""

_KEYS = select(outcomes.c.key, outcomes.c.created_at)
_NAMED = select(outcomes.c.key, outcomes.c.created_at, outcomes.c.outputs)
_NAMED_BY = select(outcomes.c.outputs).where(within(outcomes.c.key, "keys"))


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
    refs = map(artifact_of, database.rows(_BY_DIGEST, {"digests": digests}))
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

    def page(self, after: ArtifactRef | None = None, limit: int = 500) -> list[ArtifactRef]:
        """The first ``limit`` artifacts behind ``after`` (None: from the beginning), by digest and value digest."""
        digest, value = ("", "") if after is None else (after.digest, after.value_digest)
        rows = self._database.rows(_PAGE, {"digest": digest, "value": value, "limit": limit})
        return [artifact_of(row) for row in rows]

    def drop(self, *, keep: Collection[str] = ()) -> int:
        """Delete the record of every artifact that is no output, no outcome's and no code's; how many there were.

        Those whose digests are among ``keep`` stay. Nobody can record a reference to one while it is looked at: the
        databases' own locks see to it, for as long as it takes to delete a few hundred.
        """
        known: set[tuple[str, float]] = set()
        named: set[tuple[str, str]] = set()
        for key, created_at, text in self._database.rows(_NAMED, {}):
            known.add((key, created_at))
            named.update(cache_outputs(text).values())
        loose = [(digest, value) for digest, value in self._database.rows(_LOOSE, {}) if digest not in keep]
        loose = [pair for pair in loose if pair not in named]
        return sum(self._drop(loose[start : start + _AT_ONCE], known) for start in range(0, len(loose), _AT_ONCE))

    def _drop(self, loose: list[tuple[str, str]], known: Collection[tuple[str, float]]) -> int:
        """Delete those of ``loose`` that nothing names now either; ``known`` outcomes were looked at before."""
        with self._database.transaction() as transaction:
            if transaction.connection.dialect.name == "postgresql":
                # Whoever records an artifact, or an output that is one, waits; whoever reads does not.
                transaction.connection.exec_driver_sql(f"LOCK TABLE {artifacts.name} IN EXCLUSIVE MODE")
            new = [key for key, created_at in transaction.rows(_KEYS, {}) if (key, created_at) not in known]
            kept = {
                pair for (text,) in transaction.rows(_NAMED_BY, {"keys": new}) for pair in cache_outputs(text).values()
            }
            doomed = [pair for pair in loose if pair not in kept]
            return sum(transaction.count(_DROP, {"of": digest, "value": value}) for digest, value in doomed)
