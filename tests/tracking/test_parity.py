"""The same store through MLflow's client and straight into its tables: nobody can tell which it was."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text

from hpo_pipelines.settings import Settings
from hpo_pipelines.store import Store
from hpo_pipelines.task import Metric, Task
from hpo_pipelines.tracking import schema
from hpo_pipelines.tracking.backend import Backend
from hpo_pipelines.tracking.bulk import BulkRuns, run_id_for
from hpo_pipelines.tracking.mlflow import MlflowMirror
from hpo_pipelines.types import Kind, Status, new_id

from .conftest import Call, Recorder, Shown

# MLflow uses what its own dependencies deprecate.
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

ODD = [0.5, math.nan, math.inf, -math.inf, math.nan, -0.0, 1e-300, 0.5]
LONG = "x" * 9000


class Side:
    """One database, fed in one of the two ways."""

    def __init__(self, store: Store, settings: Settings, uri: str, patch: pytest.MonkeyPatch, *, tables: bool) -> None:
        self._patch, self._tables, self._store = patch, tables, store
        self.uri = uri
        self.mirror = MlflowMirror(
            store,
            Backend.of(replace(settings, tracking_uri=uri)),
            step_runs="always",
            sources=lambda digest: {"fit": "def fit(): ...\n", "load": f"# {digest}\n"},
        )
        self._cursor = 0

    def catch_up(self, batch: int) -> None:
        while events := self._store.events.after(self._cursor, batch):
            with self._patch.context() as patch:
                if not self._tables:
                    patch.setattr(schema, "RELEASES", ())
                self.mirror.take(events)
            assert isinstance(self.mirror._runs, BulkRuns) == self._tables
            self._cursor = events[-1].id

    @property
    def shown(self) -> Shown:
        return Shown.at(self.uri)

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Every row of every table, with the task's id in the place of the run's, times of the making left out."""
        engine = create_engine(self.uri)
        found: dict[str, list[dict[str, Any]]] = {}
        with engine.connect() as connection:
            tasks = {
                row.run_uuid: row.value
                for row in connection.execute(text("SELECT run_uuid, value FROM tags WHERE key = 'hpo.task'"))
            }
            for table in inspect(connection).get_table_names():
                rows = [dict(row._mapping) for row in connection.execute(text(f'SELECT * FROM "{table}"'))]
                found[table] = sorted((_without_ids(row, tasks) for row in rows), key=repr)
        engine.dispose()
        return found


def _without_ids(row: Mapping[str, Any], tasks: Mapping[str, str]) -> dict[str, Any]:
    plain = {name: value for name, value in row.items() if name not in ("creation_time", "last_update_time")}
    for run, task in tasks.items():
        plain = {
            name: value.replace(run, f"<{task}>") if isinstance(value, str) else value for name, value in plain.items()
        }
    return plain


@dataclass(frozen=True)
class Both:
    client: Side
    tables: Side

    def catch_up(self, batch: int = 1000) -> None:
        self.client.catch_up(batch)
        self.tables.catch_up(batch)

    def compare(self) -> None:
        ours, theirs = self.tables.rows(), self.client.rows()
        assert ours.keys() == theirs.keys()
        for table, rows in theirs.items():
            assert ours[table] == rows, table


def databases(home: Path, template: Path) -> Sequence[str]:
    return [f"sqlite:///{shutil.copy(template, home / name)}" for name in ("client.db", "tables.db")]


@pytest.fixture
def both(store: Store, settings: Settings, template: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Both:
    client, tables = databases(home, template)
    return Both(
        Side(store, settings, client, monkeypatch, tables=False),
        Side(store, settings, tables, monkeypatch, tables=True),
    )


def finished(recorder: Recorder) -> list[Task]:
    """Runs of every kind, which have ended."""
    study = recorder.study("tune")
    error = {"type": "ValueError", "message": "no", "traceback": "Traceback …\nValueError: no\n", "log": "epoch 1"}
    fit = Call("fit", {"auc": [0.1, 0.9, 0.5], "odd": ODD}, params={"lr": 0.1, "opt": None, "long": LONG})
    base = recorder.run(
        [Call("load"), fit, Call("fit", {"auc": [0.7]}), Call("split", reused=True)],
        own={"score": [1.0, 2.0], "fit.auc": [0.3]},
        params={"lr": 0.1, "a key/with ü and !": "v", "day": {"$date": "2024-01-31"}, "layers": [8, 4], "long": LONG},
        tags=("baseline", "team=risk", f"long={LONG}", "hpo.mine", "a key/./.."),
        notes="# why\n\nbecause",
        git={"commit": "c0ffee", "branch": "main", "diff": "+x"},
        snapshot=recorder.snapshot(),
    )
    trials = [
        recorder.run([replace(fit, metrics={"auc": [n / 7]})], params={"lr": n / 10}, study=study.id, trial=n)
        for n in range(5)
    ]
    failed = recorder.run([Call("fit", status=Status.FAILED, error=error)], status=Status.FAILED, error=error)
    pruned = recorder.run(status=Status.PRUNED, reason="pruned", cloned_from=base.id)
    outer = recorder.start()
    inner = recorder.run([fit], parent=outer.id, pipeline="inner", name="inner")
    recorder.store.tasks.transition(outer.id, Status.COMPLETED)
    return [base, *trials, failed, pruned, outer, inner]


def test_finished_runs(recorder: Recorder, both: Both) -> None:
    runs = finished(recorder)
    both.catch_up()
    both.compare()
    for run in runs:
        one, other = both.client.shown.run(run), both.tables.shown.run(run)
        assert other.info.run_id == run_id_for(run.id)
        assert _as_dict(one) == _as_dict(other)
        for key in one.data.metrics:
            assert _history(both.client.shown, one, key) == _history(both.tables.shown, other, key), key
        assert both.client.shown.files(one) == both.tables.shown.files(other)
        for path in both.client.shown.files(one):
            assert both.client.shown.text(one, path) == both.tables.shown.text(other, path)


def _as_dict(run: Any) -> Any:
    found = run.to_dictionary()
    text = repr({**found, "info": {name: str(value) for name, value in found["info"].items()}})
    parent = found["data"]["tags"].get("mlflow.parentRunId")
    return text.replace(run.info.run_id, "<run>").replace(parent or "<run>", "<parent>")


def _history(shown: Shown, run: Any, key: str) -> list[tuple[int, int, str]]:
    points = shown.client.get_metric_history(run.info.run_id, key)
    return sorted((point.step, point.timestamp, repr(point.value)) for point in points)


@pytest.mark.parametrize("batch", [3, 1000])
def test_runs_that_go_on_are_resumed_and_edited(recorder: Recorder, store: Store, both: Both, batch: int) -> None:
    queued = store.tasks.create(
        Task(id=new_id(), kind=Kind.PIPELINE, name="churn", project="retention", pipeline="churn", status=Status.QUEUED)
    )
    both.catch_up(batch)
    run = store.tasks.transition(queued.id, Status.RUNNING)
    call = Call("fit", params={"lr": 0.1})
    step = recorder.begin_step(run, call, 0, "fit")
    recorder.report(step.id, "auc", ODD)
    both.catch_up(batch)
    both.compare()
    # Values that came late, with smaller steps, do not become the latest.
    recorder.report(step.id, "auc", [0.9, 0.8], start=3)
    store.metrics.add([Metric(step.id, "auc", value, 20, 1000.0) for value in (0.4, 0.6, 0.5, math.nan)])
    recorder.end_step(step, call)
    store.tasks.transition(run.id, Status.FAILED, reason="a step failed")
    both.catch_up(batch)
    both.compare()
    store.tasks.transition(run.id, Status.RUNNING)
    both.catch_up(batch)
    again = recorder.begin_step(run, call, 1, "fit.2")
    recorder.report(again.id, "auc", [0.2])
    both.catch_up(batch)
    recorder.end_step(again, call)
    store.tasks.transition(run.id, Status.COMPLETED)
    both.catch_up(batch)
    both.compare()
    store.tasks.update(run.id, tags=("team=fraud", "new"), notes="found")
    both.catch_up(batch)
    store.tasks.update(run.id, tags=(), notes="")
    both.catch_up(batch)
    both.compare()


def test_a_database_that_the_client_began_is_gone_on_with(recorder: Recorder, store: Store, both: Both) -> None:
    """And the other way round: each side changes the way in which it is fed."""
    half = recorder.start(params={"lr": 0.2})
    step = recorder.begin_step(half, Call("fit"), 0, "fit")
    recorder.report(step.id, "auc", [0.1, 0.2])
    both.catch_up()
    swapped = [side.mirror for side in (both.client, both.tables)]
    for side in (both.client, both.tables):
        side._tables = not side._tables
        side.mirror = MlflowMirror(store, side.mirror._backend, step_runs="always", sources=side.mirror._sources)
    assert swapped != [both.client.mirror, both.tables.mirror]
    recorder.report(step.id, "auc", [0.3], start=2)
    recorder.end_step(step, Call("fit"))
    store.tasks.transition(half.id, Status.COMPLETED)
    finished(recorder)
    both.catch_up()
    both.compare()


def test_searches_find_the_same(recorder: Recorder, both: Both) -> None:
    finished(recorder)
    both.catch_up()
    for where in (
        "params.lr = '0.1'",
        "metrics.`fit.auc` > 0.2",
        "metrics.`fit.odd` = 0.5",
        "tags.team = 'risk'",
        "tags.`hpo.kind` = 'step'",
        "attributes.status = 'FAILED'",
        "attributes.run_name LIKE 'churn%'",
    ):
        one, other = both.client.shown.runs(where), both.tables.shown.runs(where)
        assert _tasks(one) == _tasks(other), where
        assert one, where
    # Runs of one value stand in the order of their ids in MLflow, which are the client's own choice on one side.
    one, other = (_by_auc(side.shown) for side in (both.client, both.tables))
    assert one == other
    assert len(set(one)) > 2


def _by_auc(shown: Shown) -> list[float | None]:
    runs = shown.client.search_runs(["1"], order_by=["metrics.`fit.auc` DESC"])
    return [run.data.metrics.get("fit.auc") for run in runs]


def _tasks(runs: Sequence[Any]) -> list[str]:
    return sorted(run.data.tags["hpo.task"] for run in runs)


@pytest.mark.parametrize(
    "change", ["ALTER TABLE runs ADD COLUMN colour TEXT", "UPDATE alembic_version SET version_num = 'x'"]
)
def test_tables_that_are_not_known_are_left_to_mlflow(
    store: Store, settings: Settings, database: Path, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    _execute(f"sqlite:///{database}", change)
    with caplog.at_level(logging.DEBUG, "hpo_pipelines.tracking"):
        assert BulkRuns.of(store, Backend.of(settings), holds=lambda: True) is None
    assert len(caplog.records) == 1
    assert "through MLflow's client" in caplog.text
    assert ("colour" in caplog.text) == ("colour" in change)


def test_which_way_is_taken_is_said_once(
    store: Store, settings: Settings, database: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Backend.of(settings)
    with caplog.at_level(logging.DEBUG, "hpo_pipelines.tracking"):
        assert BulkRuns.of(store, backend, holds=lambda: True) is not None
    assert [record.getMessage() for record in caplog.records] == ["runs are written into MLflow's tables, many at once"]
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    assert BulkRuns.of(store, backend, holds=lambda: True) is None
    monkeypatch.delenv("MLFLOW_ENABLE_WORKSPACES")
    monkeypatch.setattr(schema, "version", lambda name: "3.18.0")
    assert BulkRuns.of(store, backend, holds=lambda: True) is None
    assert BulkRuns.of(store, replace(backend, uri="http://127.0.0.1:1"), holds=lambda: True) is None
    assert BulkRuns.of(store, replace(backend, uri="mysql://127.0.0.1:1/mlflow"), holds=lambda: True) is None


def test_a_database_that_is_migrated_meanwhile_is_left_to_mlflow(
    recorder: Recorder, both: Both, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.run()
    side = both.tables
    side.catch_up(1000)
    _execute(side.uri, "ALTER TABLE latest_metrics RENAME COLUMN is_nan TO is_no_number")
    recorder.run(own={"auc": [0.5]})
    events = recorder.store.events.after(side._cursor)
    with pytest.raises(Exception, match="is_nan"):
        side.mirror.take(events)
    assert isinstance(side.mirror._runs, BulkRuns)
    with caplog.at_level(logging.DEBUG, "hpo_pipelines.tracking"), pytest.raises(Exception, match="is_nan"):
        side.mirror.take(events)
    # It is MLflow now that says what it makes of it.
    assert not isinstance(side.mirror._runs, BulkRuns)
    assert "the columns of latest_metrics are" in caplog.text


def test_the_columns_are_those_of_the_installed_release() -> None:
    from mlflow.store.db.base_sql_model import Base

    for table in schema._tables.sorted_tables:
        theirs = Base.metadata.tables[table.name]
        assert set(table.c.keys()) == set(theirs.c.keys()), table.name
        assert {column.name for column in table.primary_key} == {column.name for column in theirs.primary_key}


def _execute(uri: str, statement: str) -> None:
    engine = create_engine(uri)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


# -- PostgreSQL


@pytest.fixture
def on_postgresql(
    store: Store, settings: Settings, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Both]:
    engine = create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    urls = {name: postgresql_url.replace("/postgres?", f"/{name}?") for name in ("by_client", "by_tables")}
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE by_client"))
        Shown.at(urls["by_client"]).client.search_experiments(max_results=1)
        _dispose(urls["by_client"])
        connection.execute(text("CREATE DATABASE by_tables TEMPLATE by_client"))
        yield Both(
            Side(store, settings, urls["by_client"], monkeypatch, tables=False),
            Side(store, settings, urls["by_tables"], monkeypatch, tables=True),
        )
        for name, url in urls.items():
            _dispose(url)
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


def _dispose(url: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if url in SqlAlchemyStore._engine_map:
        SqlAlchemyStore._engine_map[url].dispose()


def test_finished_runs_in_postgresql(recorder: Recorder, on_postgresql: Both) -> None:
    finished(recorder)
    on_postgresql.catch_up()
    on_postgresql.compare()
