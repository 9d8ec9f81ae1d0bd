from __future__ import annotations

from collections.abc import Iterator

import pytest

from hpo_pipelines.store import Store
from hpo_pipelines.task import Metric
from hpo_pipelines.types import Status

DAMAGES = {
    "task gone": ("UPDATE hpo_tasks SET cloned_from = 'gone', reused_from = 'lost' WHERE kind = 'step'", [
        "task {step}: cloned_from gone is not there", "task {step}: reused_from lost is not there"]),
    "code gone": ("UPDATE hpo_tasks SET snapshot = 'gone' WHERE kind = 'step'", [
        "task {step}: snapshot gone is not there"]),
    "rerun gone": ("UPDATE hpo_tasks SET rerun_of = 'gone' WHERE kind = 'step'", [
        "task {step}: rerun_of gone is not there"]),
    "artifact gone": ("DELETE FROM hpo_artifacts WHERE digest = 'bytes-cached'", [
        "cache entry k: the artifact bytes-cached of output out is not recorded"]),
    "no end": ("UPDATE hpo_tasks SET finished_at = NULL WHERE kind = 'step'", [
        "task {step}: is completed, started at 1.5, finished at None"]),
    "no start": ("UPDATE hpo_tasks SET started_at = NULL WHERE kind = 'pipeline'", [
        "task {run}: is running, started at None, finished at None"]),
    "an end too early": ("UPDATE hpo_tasks SET finished_at = 9, started_at = 8 WHERE kind = 'pipeline'", [
        "task {run}: is running, started at 8.0, finished at 9.0"]),
    "counter behind": ("UPDATE hpo_run_numbers SET last = 0", ["pipeline retention/churn: run #1 is past its counter"]),
    "counter gone": ("DELETE FROM hpo_run_numbers", ["pipeline retention/churn: run #1 is past its counter"]),
    "event lost": ("DELETE FROM hpo_events WHERE kind = 'status' AND data LIKE '%%completed%%'", [
        "task {step}: is completed, but its events lead to running"]),
    "event lost between": ("DELETE FROM hpo_events WHERE data LIKE '%%\"to\":\"running\"%%' AND task = '{step}'", [
        "task {step}: an event tells of running -> completed after queued"]),
    "all events lost": ("DELETE FROM hpo_events WHERE task = '{run}'", [
        "task {run}: is running, but its events lead to None"]),
    "metric lost": ("DELETE FROM hpo_metrics WHERE step = 1", [
        "task {step}: has 1 metric values, but events of 2"]),
    "metric untold": ("DELETE FROM hpo_events WHERE kind = 'metrics'", [
        "task {step}: has 2 metric values, but events of 0"]),
}  # fmt: skip


class CheckContract:
    @pytest.fixture
    def ids(self, store: Store, build) -> dict[str, str]:
        """A small store that is whole."""
        run = build.run()
        store.tasks.transition(run.id, Status.RUNNING)
        step = build.step(run)
        store.tasks.transition(step.id, Status.RUNNING, started_at=1.5)
        store.metrics.add([Metric(step.id, "auc", 0.5, i, 1.0) for i in range(2)])
        store.cache.record(build.entry("k", step, out=build.ref("cached")))
        store.tasks.transition(step.id, Status.COMPLETED)
        assert store.check() == []
        return {"run": run.id, "step": step.id}

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_damage_is_found(self, store: Store, ids: dict[str, str], damage: str) -> None:
        statement, found = DAMAGES[damage]
        for name, value in ids.items():
            statement = statement.replace(f"{{{name}}}", value)
        with store._database.transaction() as transaction:
            transaction.connection.exec_driver_sql(statement)
        assert store.check() == [line.format(**ids) for line in found]


class TestSqlite(CheckContract):
    @pytest.fixture
    def store(self, sqlite_url: str) -> Iterator[Store]:
        store = Store.open(sqlite_url)
        yield store
        store.close()

    def test_a_row_that_a_foreign_key_misses_is_found(self, store: Store, ids: dict[str, str]) -> None:
        with store._database.read() as connection:
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            connection.exec_driver_sql("DELETE FROM hpo_tasks WHERE kind = 'pipeline'")
            connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        assert store.check()[0].startswith("hpo_tasks: row ")

    def test_a_damaged_index_is_found(self, store: Store, ids: dict[str, str]) -> None:
        with store._database.read() as connection:
            connection.exec_driver_sql("PRAGMA writable_schema=ON")
            connection.exec_driver_sql(
                "UPDATE sqlite_master SET rootpage = "
                "(SELECT rootpage FROM sqlite_master WHERE name = 'hpo_edges_source') WHERE name = 'hpo_events_task'"
            )
        store.close()
        assert any(line.startswith("file: ") for line in Store.open(store.url).check())


@pytest.mark.integration
class TestPostgresql(CheckContract):
    @pytest.fixture
    def store(self, postgresql_database: str) -> Iterator[Store]:
        store = Store.open(postgresql_database)
        yield store
        store.close()
