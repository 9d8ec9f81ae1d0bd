"""Runs that are written into tables, here into such tables made by us: without MLflow, and without its seconds."""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from hpo_pipelines.errors import TrackingError
from hpo_pipelines.settings import Settings
from hpo_pipelines.store import Store
from hpo_pipelines.task import Attempt, Task
from hpo_pipelines.tracking import bulk, schema
from hpo_pipelines.tracking.backend import Backend
from hpo_pipelines.tracking.bulk import BulkRuns, run_id_for
from hpo_pipelines.tracking.contents import Point
from hpo_pipelines.tracking.mlflow import MlflowMirror
from hpo_pipelines.tracking.runs import INTENT, OWN
from hpo_pipelines.tracking.tables import Entry, Refused, Tables
from hpo_pipelines.types import Status

from .conftest import Call, Recorder


class Lake:
    """The database, read in plain SQL."""

    def __init__(self, path: Path) -> None:
        self.path = path
        engine = create_engine(f"sqlite:///{path}")
        schema._tables.create_all(engine)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
            connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": schema.HEADS[0]})
        engine.dispose()

    def rows(self, query: str, *values: object) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(query, values).fetchall()

    def run(self, task: Task) -> tuple[Any, ...]:
        """Name, status, and end time of the one run of ``task``."""
        (found,) = self.rows(
            "SELECT name, status, end_time FROM runs WHERE run_uuid IN "
            "(SELECT run_uuid FROM tags WHERE key = 'hpo.task' AND value = ?)",
            task.id,
        )
        return tuple(found)

    def tags(self, run: str) -> dict[str, str]:
        return dict(self.rows("SELECT key, value FROM tags WHERE run_uuid = ?", run))

    def latest(self, task: Task) -> dict[str, float]:
        return dict(self.rows("SELECT key, value FROM latest_metrics WHERE run_uuid = ?", run_id_for(task.id)))

    def series(self, task: Task, key: str) -> list[tuple[int, float]]:
        return self.rows(
            "SELECT step, value FROM metrics WHERE run_uuid = ? AND key = ? ORDER BY step, timestamp",
            run_id_for(task.id),
            key,
        )


@pytest.fixture
def lake(home: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setattr(schema, "version", lambda name: f"{schema.RELEASES[0]}.9")
    return Lake(home / "mlflow.db")


@pytest.fixture
def backend(settings: Settings, lake: Lake) -> Backend:
    return Backend.of(settings)


@pytest.fixture
def mirror(store: Store, backend: Backend) -> MlflowMirror:
    return MlflowMirror(store, backend, step_runs="always")


@pytest.fixture
def take(mirror: MlflowMirror, store: Store) -> Callable[[], None]:
    seen = [0]

    def all_of_it() -> None:
        events = store.events.after(seen[0])
        mirror.take(events)
        seen[0] = events[-1].id

    return all_of_it


def test_finished_runs_and_steps(
    recorder: Recorder, take: Callable[[], None], lake: Lake, store: Store, backend: Backend
) -> None:
    calls = [Call("load"), Call("fit", {"auc": [0.1, 0.9]}), Call("fit", {"auc": [0.5]}), Call("split", reused=True)]
    runs = [recorder.run(calls, params={"lr": n / 10}, git={"diff": "+x"}) for n in range(3)]
    take()
    for number, run in enumerate(runs, 1):
        assert lake.run(run) == (f"churn#{number}", "FINISHED", round((run.finished_at or 0) * 1000))
        assert lake.latest(run) == {"fit.auc": 0.5, "fit.2.auc": 0.5}
        assert lake.series(run, "fit.auc") == [(0, 0.1), (1, 0.9), (1, 0.5)]
        assert store.followers.mirrored(backend.follower, run.id) == run_id_for(run.id)
        assert (backend.artifacts / "retention_churn" / run_id_for(run.id) / "artifacts" / "outputs.json").exists()
        for step in store.tasks.children(run.id):
            if step.reused_from is None:
                assert lake.run(step)[1] == "FINISHED"
                assert lake.tags(run_id_for(step.id))["mlflow.parentRunId"] == run_id_for(run.id)
    assert len(lake.rows("SELECT * FROM runs")) == 12
    # The changes are the same for all of them, and are on the disk once.
    assert len({path.stat().st_ino for path in backend.artifacts.rglob("changes.diff")}) == 1


def test_a_run_goes_on_ends_and_is_edited(
    recorder: Recorder, store: Store, take: Callable[[], None], lake: Lake, mirror: MlflowMirror
) -> None:
    run = recorder.start(tags=("old",), params={"lr": 0.1})
    step = recorder.begin_step(run, Call("fit"), 0, "fit")
    recorder.report(step.id, "auc", [0.1, 0.2])
    take()
    assert (lake.run(run)[1:], lake.run(step)[1:]) == (("RUNNING", None), ("RUNNING", None))
    recorder.report(step.id, "auc", [0.3], start=2)
    take()
    assert lake.latest(run) == {"fit.auc": 0.3}
    recorder.end_step(step, Call("fit"))
    store.tasks.transition(run.id, Status.COMPLETED)
    take()
    assert (lake.run(run)[1], lake.run(step)[1]) == ("FINISHED", "FINISHED")
    assert lake.series(run, "fit.auc") == lake.series(step, "auc") == [(0, 0.1), (1, 0.2), (2, 0.3)]
    store.tasks.update(run.id, tags=("new",), notes="why")
    take()
    tags = lake.tags(run_id_for(run.id))
    assert ("old" in tags, tags["new"], tags["mlflow.note.content"]) == (False, "true", "why")
    before = lake.rows("SELECT * FROM tags UNION ALL SELECT key, value, run_uuid FROM params")
    mirror.take(store.events.after(0))
    assert lake.rows("SELECT * FROM tags UNION ALL SELECT key, value, run_uuid FROM params") == before


def test_a_run_that_was_purged_is_made_again_under_its_id(
    recorder: Recorder, store: Store, take: Callable[[], None], lake: Lake
) -> None:
    run = recorder.start()
    step = recorder.begin_step(run, Call("fit"), 0, "fit")
    recorder.report(step.id, "auc", [0.1])
    take()
    for table in ("runs", "tags", "metrics", "latest_metrics"):
        lake.rows(f"DELETE FROM {table}")
    recorder.report(step.id, "auc", [0.2], start=1)
    with pytest.raises(Refused, match="purged"):
        take()
    take()
    assert lake.series(run, "fit.auc") == lake.series(step, "auc") == [(0, 0.1), (1, 0.2)]


def test_a_deleted_run_is_left_alone(recorder: Recorder, store: Store, take: Callable[[], None], lake: Lake) -> None:
    run = recorder.start()
    take()
    lake.rows("UPDATE runs SET lifecycle_stage = 'deleted'")
    store.tasks.transition(run.id, Status.COMPLETED)
    other = recorder.run()
    take()
    assert lake.run(run)[1] == "RUNNING"
    assert lake.run(other)[1] == "FINISHED"


def test_runs_that_others_made_are_found(
    recorder: Recorder, store: Store, take: Callable[[], None], lake: Lake, backend: Backend
) -> None:
    """By a client that was cut off, and by whoever followed before under another name."""
    cut_off, before = recorder.run(), recorder.run()
    tables = Tables.open(backend.uri)
    assert tables is not None
    tables.make_experiment("retention/churn", "/place", 5)
    for ident, run in (("1" * 32, cut_off), ("2" * 32, before)):
        row = schema.new_row(ident, "1", "/place", name="made", user_id="me", start_time=1)
        tables.write({ident: Entry(row, tags={"hpo.task": run.id})})
    store.followers.set_mirrored(backend.follower, cut_off.id, INTENT)
    later = recorder.run()
    take()
    assert lake.run(cut_off)[0] == lake.run(before)[0] == "made"
    assert store.followers.mirrored(backend.follower, cut_off.id) == "1" * 32
    assert lake.run(later)[1] == "FINISHED"
    assert len(lake.rows("SELECT * FROM runs")) == 3


def test_a_run_that_the_step_made_itself_is_completed(
    recorder: Recorder, store: Store, take: Callable[[], None], lake: Lake, backend: Backend
) -> None:
    run = recorder.start()
    call = Call("fit", params={"lr": 0.1, "depth": 3})
    step = recorder.begin_step(run, call, 0, "fit")
    store.followers.set_mirrored(backend.follower, step.id, OWN)
    take()
    tables = Tables.open(backend.uri)
    assert tables is not None
    ident = "a" * 32
    row = schema.new_row(ident, "1", str(backend.home / "there"), name="fit", user_id="me", start_time=1)
    tags = {"hpo.task": step.id, "hpo.attempt": "1"}
    tables.write({ident: Entry(row, params={"lr": "mine"}, tags=tags)})
    recorder.report(step.id, "auc", [0.5])
    store.tasks.finish_attempt(Attempt(step.id, 1, Status.COMPLETED, 1.0, 2.0))
    recorder.end_step(step, call)
    take()
    assert lake.run(step)[1] == "FINISHED"
    assert tables.params(ident) == {"lr": "mine", "depth": "3"}
    assert lake.tags(ident)["mlflow.parentRunId"] == run_id_for(run.id)
    assert (backend.home / "there" / ident / "artifacts" / "outputs.json").exists()


def test_one_that_is_refused_does_not_hold_up_the_others(
    recorder: Recorder, store: Store, take: Callable[[], None], lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad, better = recorder.run(), recorder.run(params={"lr": "\ud800"}), recorder.run()
    for _ in range(2):
        with pytest.raises(TrackingError, match="UnicodeEncodeError"):
            take()
    take()
    assert lake.run(good)[1] == lake.run(better)[1] == "FINISHED"
    assert lake.rows("SELECT * FROM tags WHERE value = ?", bad.id) == []


def test_without_the_lease_nothing_is_written(recorder: Recorder, store: Store, backend: Backend, lake: Lake) -> None:
    recorder.run()
    mirror = MlflowMirror(store, backend, holds=lambda: False)
    with pytest.raises(TrackingError, match="lease ran out"):
        mirror.take(store.events.after(0))
    assert lake.rows("SELECT * FROM runs") == []


def test_a_database_in_trouble_is_looked_at_again(
    recorder: Recorder, store: Store, take: Callable[[], None], lake: Lake, mirror: MlflowMirror
) -> None:
    recorder.run()
    take()
    first = mirror._runs
    assert first.connected
    lake.rows("ALTER TABLE params RENAME TO parameters")
    run = recorder.run(params={"lr": 0.1})
    with pytest.raises(TrackingError, match="no such table"):
        take()
    assert not first.connected
    lake.rows("ALTER TABLE parameters RENAME TO params")
    take()
    assert mirror._runs is not first
    assert lake.run(run)[1] == "FINISHED"


def test_statistics_are_made_after_many_runs(
    recorder: Recorder, take: Callable[[], None], lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyzed: list[Backend] = []

    def analyze(backend: Backend) -> None:
        analyzed.append(backend)
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(Backend, "analyze", analyze)
    for _ in range(24):
        recorder.run()
    take()
    assert analyzed == []
    for _ in range(2):
        recorder.run()
    take()
    assert len(analyzed) == 1
    assert len(lake.rows("SELECT * FROM runs WHERE status = 'FINISHED'")) == 26


# -- tables


@pytest.fixture
def tables(backend: Backend) -> Tables:
    found = Tables.open(backend.uri)
    assert found is not None
    found.make_experiment("e", "/place", 5)
    return found


def entry(**fields: Any) -> Entry:
    return Entry(schema.new_row("r", "1", "/place", name="n", user_id="me", start_time=1), **fields)


def test_values_are_kept_as_mlflow_keeps_them(tables: Tables, lake: Lake) -> None:
    odd = [math.nan, math.inf, -math.inf, math.nan, 0.5]
    points = [Point("auc", value, 5, step) for step, value in enumerate(odd)]
    for _ in range(2):
        tables.write({"r": entry(values=[*points, *points])})
    largest = 1.7976931348623157e308
    assert lake.rows("SELECT value, is_nan FROM metrics ORDER BY step") == [
        (0.0, 1), (largest, 0), (-largest, 0), (0.0, 1), (0.5, 0)
    ]  # fmt: skip
    # What comes late with a smaller step, an earlier time or a smaller value is not the latest.
    for step, at, value in ((3, 9, 0.9), (4, 4, 0.8), (4, 5, 0.4)):
        tables.write({"r": Entry(values=[Point("auc", value, at, step)])})
    assert lake.rows("SELECT value, step FROM latest_metrics") == [(0.5, 4)]
    tables.write({"r": Entry(values=[Point("auc", 0.6, 5, 4)])})
    assert lake.rows("SELECT value, step FROM latest_metrics") == [(0.6, 4)]


def test_a_parameter_is_never_changed_and_a_tag_is(tables: Tables) -> None:
    tables.write({"r": entry(params={"lr": "1"}, tags={"team": "a", "old": "x"})})
    tables.write({"r": Entry(params={"lr": "2", "depth": "3"}, tags={"team": "b"}, gone=["old"])})
    assert tables.params("r") == {"lr": "1", "depth": "3"}
    assert tables.tags("r") == {"team": "b"}


@pytest.mark.parametrize(
    "refused",
    [
        {"params": {"a!": "1"}},
        {"tags": {"a/../b": "1"}},
        {"params": {"x" * 251: "1"}},
        {"params": {"lr": "x" * 6001}},
        {"tags": {"lr": "x" * 8001}},
        {"values": [Point("/auc", 1.0, 1, 1)]},
        {"values": [Point("auc", 1.0, -1, 1)]},
    ],
)
def test_what_mlflow_would_refuse_is_refused(tables: Tables, lake: Lake, refused: dict[str, Any]) -> None:
    with pytest.raises(Refused) as raised:
        tables.write({"r": entry(**refused)})
    assert raised.value.error_code == "INVALID_PARAMETER_VALUE"
    assert lake.rows("SELECT * FROM runs") == []


def test_all_is_written_or_nothing(tables: Tables, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.rows("CREATE TRIGGER t BEFORE INSERT ON metrics BEGIN SELECT RAISE(ABORT, 'not this one'); END")
    with pytest.raises(Refused, match="not this one") as raised:
        tables.write({"r": entry(tags={"team": "a"}, values=[Point("auc", 1.0, 1, 1)])})
    assert raised.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    assert (lake.rows("SELECT * FROM runs"), lake.rows("SELECT * FROM tags")) == ([], [])
    lake.rows("DROP TRIGGER t")
    tables.write({"r": entry(values=[Point("auc", 1.0, 1, 1)])})
    assert len(lake.rows("SELECT * FROM metrics")) == 1


def test_no_run_is_made_in_a_deleted_experiment(tables: Tables, lake: Lake) -> None:
    lake.rows("UPDATE experiments SET lifecycle_stage = 'deleted'")
    with pytest.raises(Refused, match="experiment was deleted"):
        tables.write({"r": entry()})
    assert tables.experiment("e") == ("1", True, "/place")
    assert tables.experiment("none") is None


def test_an_experiment_is_made_once_and_its_name_has_a_limit(tables: Tables, lake: Lake) -> None:
    tables.make_experiment("e", "/elsewhere", 9)
    assert lake.rows("SELECT name, artifact_location, creation_time, workspace FROM experiments") == [
        ("e", "/place", 5, "default")
    ]
    with pytest.raises(Refused):
        tables.make_experiment("x" * 501, "/place", 5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DROP TABLE alembic_version", "not MLflow's, or new"),
        ("UPDATE alembic_version SET version_num = 'another'", "has revision another"),
        ("ALTER TABLE runs ADD COLUMN colour TEXT", "columns of runs"),
    ],
)
def test_other_tables_are_not_touched(
    backend: Backend, lake: Lake, caplog: pytest.LogCaptureFixture, change: str, said: str
) -> None:
    lake.rows(change)
    with caplog.at_level(logging.DEBUG, "hpo_pipelines.tracking"):
        assert Tables.open(backend.uri) is None
    (record,) = caplog.records
    assert said in record.getMessage()


def test_other_releases_and_places_are_not_touched(
    backend: Backend, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(name: str) -> str:
        raise schema.PackageNotFoundError(name)

    always = lambda: True  # noqa: E731
    with caplog.at_level(logging.DEBUG, "hpo_pipelines.tracking"):
        assert isinstance(BulkRuns.of(store, backend, holds=always), BulkRuns)
        assert Tables.open("mysql+none://127.0.0.1:1/mlflow") is None
        for version in (lambda name: "3.18.0", none):
            monkeypatch.setattr(schema, "version", version)
            assert Tables.open(backend.uri) is None
        monkeypatch.setattr(schema, "version", lambda name: "3.17.0")
        monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
        assert Tables.open(backend.uri) is None
    assert len(caplog.records) == 5
    assert BulkRuns.of(store, replace(backend, uri="http://127.0.0.1:1"), holds=always) is None


def test_a_runs_id_looks_like_mlflows_and_is_always_the_same() -> None:
    assert bulk.run_id_for("01J") == bulk.run_id_for("01J") != bulk.run_id_for("01K")
    assert len(bulk.run_id_for("01J")) == 32
    assert int(bulk.run_id_for("01J"), 16) > 0
