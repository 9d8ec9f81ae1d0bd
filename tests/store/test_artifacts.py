from __future__ import annotations

import dataclasses

import pytest

from hpo_pipelines.store import Store


class ArtifactsContract:
    def test_an_artifact_comes_back(self, store: Store, build) -> None:
        ref = build.ref(size=2**40, preview={"shape": [3, 2], "head": {"a": [1, None]}}, inline=bytes(range(256)))
        store.artifacts.add([ref, ref])
        assert store.artifacts.get(ref.digest) == ref
        assert store.artifacts.get(ref.digest, ref.value_digest) == ref
        assert store.artifacts.get(ref.digest, "another value") is None
        assert store.artifacts.get("unknown") is None

    def test_what_is_known_stays_as_it_is(self, store: Store, build) -> None:
        ref = build.ref(inline=b"")
        store.artifacts.add([ref])
        store.artifacts.add([dataclasses.replace(ref, preview={"new": 1})])
        assert store.artifacts.get(ref.digest) == ref

    def test_an_artifact_of_a_transaction_that_failed_is_written_by_the_next(self, store: Store, build) -> None:
        ref = build.ref()
        with pytest.raises(RuntimeError), store.transaction():
            store.artifacts.add([ref])
            raise RuntimeError
        assert store.artifacts.get(ref.digest) is None
        store.artifacts.add([ref])
        assert store.artifacts.get(ref.digest) == ref


class TestSqlite(ArtifactsContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(ArtifactsContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
