from __future__ import annotations

import pytest

from hpo_pipelines.store import Store, TaskFilter
from hpo_pipelines.types import Kind, Status

DONE = Status.COMPLETED


def counted(store: Store, archived: bool | None) -> int:
    """By the counter."""
    where = TaskFilter(kind=Kind.PIPELINE, project="retention", pipeline="churn", top=True, archived=archived)
    return store.overview.count(where)


def listed(store: Store, archived: bool | None) -> int:
    """One by one."""
    where = TaskFilter(kind=Kind.PIPELINE, project="retention", pipeline="churn", top=True, archived=archived)
    return len(store.tasks.list(where, limit=None))


class NumberingContract:
    def test_counts_follow_what_is_recorded_archived_and_deleted(self, store: Store, build) -> None:
        runs = [build.run(status=DONE) for _ in range(5)]
        build.run(status=DONE, parent=runs[0].id)
        build.run("upsell", status=DONE)
        build.run(status=DONE, archived_at=1.0)
        told = []
        for work in (
            lambda: store.tasks.archive(runs[0].id, runs[1].id, runs[1].id),
            lambda: store.tasks.restore(runs[1].id, runs[2].id),
            lambda: store.tasks.delete(runs[0].id, runs[3].id),
            lambda: store.tasks.delete(runs[1].id),
        ):
            work()
            assert [counted(store, each) for each in (False, True, None)] == [
                listed(store, each) for each in (False, True, None)
            ]
            told.append((counted(store, False), counted(store, True)))
        assert told == [(3, 3), (4, 2), (3, 1), (2, 1)]
        assert store.check() == []

    def test_what_is_refused_counts_nothing(self, store: Store, build) -> None:
        run = build.run(status=DONE)
        with pytest.raises(RuntimeError), store.transaction():
            build.run(status=DONE)
            store.tasks.archive(run.id)
            raise RuntimeError
        assert (counted(store, False), counted(store, True)) == (1, 0)
        assert build.run(status=DONE).number == 2

    def test_a_number_is_given_once(self, store: Store, build) -> None:
        run = build.run(status=DONE)
        store.tasks.delete(run.id)
        assert counted(store, None) == 0
        assert build.run(status=DONE).number == 2

    def test_a_wrong_count_is_found(self, store: Store, build) -> None:
        build.run(status=DONE)
        with store._database.transaction() as transaction:
            transaction.connection.exec_driver_sql("UPDATE hpo_run_numbers SET runs = 7")
        (line,) = store.check()
        assert line == (
            "pipeline retention/churn: its counter says 7 runs and 0 archived ones, "
            "there are 1 runs and 0 archived ones"
        )
        with store._database.transaction() as transaction:
            transaction.connection.exec_driver_sql("UPDATE hpo_run_numbers SET runs = 1")


class TestSqlite(NumberingContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(NumberingContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
