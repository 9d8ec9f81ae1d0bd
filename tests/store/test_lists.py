"""Every list that pages offer is read through an index: of 100,000 runs as many as are shown, in their order."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest

from hpo_pipelines.store import Store, TaskFilter, migrate, schema
from hpo_pipelines.store.overview import _UNDER_WAY, ORDERS, _page, _page_of
from hpo_pipelines.types import Kind, Status
from tests.store.conftest import Build

OF = {"project": "retention", "pipeline": "churn"}
LISTS: dict[str, tuple[dict[str, Any], str]] = {
    "every run": ({}, "created number pipeline seconds status"),
    "one pipeline": (OF, "created number pipeline seconds status"),
    "a pipeline of any project": ({"pipeline": "churn"}, "created pipeline"),
    "one status": ({"status": Status.FAILED}, "created status"),
    "one status, in a list": ({**OF, "status": [Status.FAILED]}, "created status"),
    "one status of a pipeline": ({**OF, "status": Status.RUNNING}, "created status"),
    "archived": ({"archived": True}, "created"),
    "archived of a pipeline": ({**OF, "archived": True}, "created"),
}

NUMBERS = ("number", "seconds")
"""The orders by a number."""


def plans(store: Store, where: TaskFilter, order: str, *, behind: bool = False) -> str:
    """How SQLite reads a page."""
    statement = _page(where.shape, order, descending=True, behind=behind)
    with store._database.read() as connection:
        compiled = statement.compile(dialect=connection.dialect)
        values = {name: where.values.get(name, 1) for name in compiled.params}
        values = {name: "[]" if isinstance(value, list) else value for name, value in values.items()}
        return "; ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values))


@pytest.mark.parametrize("name", LISTS)
def test_a_page_is_read_in_the_order_of_an_index(sqlite_store: Store, name: str) -> None:
    given, orders = LISTS[name]
    where = TaskFilter(**{"kind": Kind.PIPELINE, "top": True, "archived": False, **given})
    assert set(orders.split()) <= set(ORDERS)
    for order in orders.split():
        for behind in (False, True):
            plan = plans(sqlite_store, where, order, behind=behind)
            assert "USING INDEX hpo_tasks_" in plan, (order, plan)
            assert "TEMP B-TREE FOR ORDER BY" not in plan, (order, plan)
            if given.get("archived"):
                assert "hpo_tasks_top_archived" in plan, (order, plan)


@pytest.mark.integration
@pytest.mark.parametrize("name", [*LISTS, "tagged"])
def test_postgresql_too_can_read_a_page_in_the_order_of_an_index(postgresql_store: Store, name: str) -> None:
    given, orders = LISTS.get(name, ({"tag": "nightly"}, "created"))
    where = TaskFilter(**{"kind": Kind.PIPELINE, "top": True, "archived": False, **given})
    for order in orders.split():
        for behind in (False, True):
            statement = _page(where.shape, order, descending=True, behind=behind)
            with postgresql_store._database.transaction() as transaction:
                connection = transaction.connection
                for dear in ("sort", "incremental_sort", "seqscan", "bitmapscan"):
                    connection.exec_driver_sql(f"SET LOCAL enable_{dear} = off")
                after = 1 if order in NUMBERS else "1"
                given_here = {**where.values, "after": after, "after_id": "1", "limit": 51}
                compiled = statement.compile(dialect=connection.dialect)
                values = {name: given_here.get(name, own) for name, own in compiled.params.items()}
                plan = [row[0] for row in connection.exec_driver_sql(f"EXPLAIN {compiled}", values)]
            assert not any("Sort" in line for line in plan), (order, behind, plan)
            if name == "tagged":
                assert any("hpo_tasks_top_tagged" in line for line in plan), (behind, plan)


@pytest.mark.integration
def test_postgresql_reads_no_more_than_a_page(postgresql_database: str) -> None:
    with contextlib.closing(Store.open(postgresql_database)) as store:
        rare = Build(store).run(status=Status.ABORTED)
        _clone(store, rare.id, "x", status="completed", pipeline="churn")
        _clone(store, rare.id, "y", status="aborted", pipeline="uplift")
        _reads(store, {**OF, "status": Status.ABORTED}, after=None, found=1)
        _reads(store, {**OF, "status": Status.COMPLETED}, after="x100003", found=3)
        _reads(store, OF, after="x100003", found=4)
        _reads(store, {"pipeline": "churn"}, after="x100003", found=4)
        _reads(store, {**OF, "archived": True}, after=None, found=0)
        _reads(store, {"archived": True}, after=None, found=0)
        _reads(store, {"tag": "nightly"}, after=None, found=0)


def _clone(store: Store, run: str, letter: str, **fields: str) -> None:
    """20,000 runs like ``run`` but for these fields: x100000, x100001, …"""
    names = [column.name for column in schema.tasks.columns]
    chosen = {"id": f"'{letter}' || i", "number": "i", **{name: f"'{value}'" for name, value in fields.items()}}
    with store._database.read() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO hpo_tasks ({', '.join(names)}) SELECT {', '.join(chosen.get(name, name) for name in names)}"
            f" FROM hpo_tasks, generate_series(100000, 119999) AS numbers(i) WHERE id = '{run}'"
        )
        connection.exec_driver_sql("VACUUM ANALYZE hpo_tasks")


def _reads(store: Store, given: dict[str, Any], *, after: str | None, found: int) -> None:
    where = TaskFilter(**{"kind": Kind.PIPELINE, "top": True, "archived": False, **given})
    statement = _page(where.shape, "created", descending=True, behind=after is not None)
    with store._database.read() as connection:
        compiled = statement.compile(connection)
        own = {**where.values, "after": after, "after_id": after, "limit": 51}
        values = {name: own.get(name, value) for name, value in compiled.params.items()}
        assert len(connection.exec_driver_sql(str(compiled), values).all()) == found
        plan = [row[0] for row in connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {compiled}", values)]
    read = next(line for line in plan if "Buffers" in line)
    pages = sum(int(count) for count in re.findall("=([0-9]+)", read))
    assert pages <= 12, (given, plan)  # the index of a pipeline's 20,000 runs has about a hundred


@pytest.mark.parametrize("given", [{}, OF])
def test_of_several_statuses_each_is_read_in_the_order_of_an_index(sqlite_store: Store, given: dict[str, Any]) -> None:
    where = TaskFilter(kind=Kind.PIPELINE, top=True, archived=False, **given)
    statement = _page_of(where.shape, ("queued", "running"), descending=True, behind=False)
    with sqlite_store._database.read() as connection:
        compiled = statement.compile(dialect=connection.dialect)
        plan = [
            row[3]
            for row in connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {compiled}", {**compiled.params, **where.values, "limit": 51}
            )
        ]
    index = "hpo_tasks_top_status (project=? AND pipeline=? AND kind=? AND status=?)"
    index = index if given else "hpo_tasks_runs_status (status=?)"
    # Nothing is sorted between the index and the page of a status; pages are, which have 51 rows.
    of_one = [f"SEARCH hpo_tasks USING INDEX {index}", "SCAN page"]
    steps = [re.sub("anon_[0-9]", "page", line) for line in plan]
    read = [steps[i : i + 2] for i, line in enumerate(steps) if line.startswith("SEARCH")]
    assert read == [of_one, of_one], plan


def test_tagged_runs_are_looked_for_among_those_with_tags(sqlite_store: Store, build: Any) -> None:
    where = TaskFilter(kind=Kind.PIPELINE, top=True, archived=False, tag="nightly")
    assert "hpo_tasks_top_tagged" in plans(sqlite_store, where, "created")


@pytest.fixture
def store(sqlite_store: Store) -> Store:
    return sqlite_store


def test_steps_under_way_are_found_through_their_runs(sqlite_store: Store, build: Any) -> None:
    going, ended = build.run(status=Status.RUNNING), build.run(status=Status.ABORTED)
    steps = [build.step(going, f"fit.{i}", status=Status.RUNNING if i else Status.COMPLETED) for i in range(3)]
    build.step(ended, status=Status.RUNNING)
    assert [step.id for step in sqlite_store.overview.under_way(Status.RUNNING)] == [steps[2].id, steps[1].id]
    assert [step.id for step in sqlite_store.overview.under_way(Status.RUNNING, 1)] == [steps[2].id]
    with sqlite_store._database.read() as connection:
        compiled = _UNDER_WAY.compile(connection)
        values = {**compiled.params, "of_status": "running", "limit": 9}
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values).all()
    assert any("hpo_tasks_runs_status" in row[3] for row in plan), plan


def test_a_migrated_store_has_the_counts_of_what_it_held(
    sqlite_url: str, build: Any, store: Store, monkeypatch: Any
) -> None:
    runs = [build.run(status=Status.COMPLETED) for _ in range(3)]
    build.run(parent=runs[0].id, status=Status.COMPLETED)
    store.tasks.archive(runs[0].id)
    with store._database.transaction() as transaction:
        execute = transaction.connection.exec_driver_sql
        names = [row[0] for row in execute("SELECT name FROM sqlite_master WHERE type = 'index'")]
        before = re.compile("hpo_tasks_(top_|studies|trial_status)")
        for name in filter(before.match, names):
            execute(f"DROP INDEX {name}")
        for column in ("runs", "archived"):
            execute(f"ALTER TABLE hpo_run_numbers DROP COLUMN {column}")
        execute("UPDATE hpo_schema SET version_num = '0006'")
        migrate.upgrade(transaction.connection)
        assert execute("SELECT version_num FROM hpo_schema").scalar_one() == schema.REVISIONS[-1]
        assert execute("SELECT runs, archived FROM hpo_run_numbers").all() == [(2, 1)]
    assert store.check() == []
