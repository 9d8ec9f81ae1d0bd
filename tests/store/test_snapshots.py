from __future__ import annotations

import dataclasses

import pytest

from hpo_pipelines.store import Store
from hpo_pipelines.task import Snapshot


class SnapshotsContract:
    def test_a_snapshot_comes_back(self, store: Store, build) -> None:
        snapshot = Snapshot("sources", "module:churn", build.ref(), "3.11.7", {"pandas": "3.1", "numpy": "2.4"}, 5.5)
        store.snapshots.add(snapshot)
        assert store.snapshots.get("sources") == snapshot
        assert store.snapshots.get("unknown") is None

    def test_the_same_sources_are_recorded_once_whatever_their_payload(self, store: Store, build) -> None:
        first = Snapshot("sources", "module:churn", build.ref(), "3.11.7", {})
        store.snapshots.add(first)
        store.snapshots.add(dataclasses.replace(first, content=build.ref()))
        found = store.snapshots.get("sources")
        assert found == dataclasses.replace(first, created_at=found.created_at)
        assert abs(found.created_at - store.now()) < 60


class TestSqlite(SnapshotsContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(SnapshotsContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
