"""Where MLflow keeps things, worked out without MLflow."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.settings import Settings
from hpo_pipelines.tracking.backend import Backend, absolute_uri


def backend(settings: Settings, uri: str) -> Backend:
    return Backend.of(replace(settings, tracking_uri=uri))


def test_by_default_a_file_in_the_home(settings: Settings, home: Path) -> None:
    default = Backend.of(settings)
    assert default.sqlite_file == home / "mlflow.db"
    assert default.artifacts == home / "mlflow-artifacts"
    assert not default.is_http
    assert Path(default.place("retention/churn")).parent == default.artifacts


@pytest.mark.parametrize("uri", ["./mlruns", "file:///data/mlruns", "/data/mlruns"])
def test_a_folder_is_refused_with_the_cure(settings: Settings, uri: str) -> None:
    with pytest.raises(ConfigError, match=r"no longer in a folder.*sqlite:///"):
        backend(settings, uri)


def test_an_empty_uri_is_no_backend(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="tracking is off"):
        backend(settings, "  ")


def test_a_relative_file_becomes_absolute(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    relative = backend(settings, "sqlite:///mine.db")
    assert relative.sqlite_file == tmp_path / "mine.db"
    assert relative.follower == backend(settings, f"sqlite:///{tmp_path}/mine.db").follower


@pytest.mark.parametrize("uri", ["sqlite:////data/a.db", "postgresql://u:p@host/db", "https://host/mlflow"])
def test_other_uris_stay(uri: str) -> None:
    assert absolute_uri(uri) == uri


def test_each_backend_is_followed_into_under_a_name_of_its_own(settings: Settings) -> None:
    uris = ["sqlite:////data/a.db", "sqlite:////data/b.db", "http://host:1", "http://host:2", "postgresql://host/db"]
    assert len({backend(settings, uri).follower for uri in uris}) == len(uris)
    assert backend(settings, "http://host:1/").follower == backend(settings, "http://host:1").follower


def test_a_password_is_no_part_of_the_name_and_is_not_shown(settings: Settings) -> None:
    one = backend(settings, "postgresql://ann:secret@host/db")
    assert one.follower == backend(settings, "postgresql://ann:changed@host/db").follower
    assert "secret" not in one.shown
    assert "secret" in one.uri


def test_a_server_decides_where_artifacts_go(settings: Settings) -> None:
    assert "_MLFLOW_SERVER_ARTIFACT_ROOT" not in backend(settings, "http://host:1").environment()
    assert "_MLFLOW_SERVER_ARTIFACT_ROOT" in Backend.of(settings).environment()


def test_preparing_a_server_does_nothing(settings: Settings, home: Path) -> None:
    backend(settings, "http://host:1").prepare()
    backend(settings, "http://host:1").analyze()
    assert not list(home.glob("*mlflow*"))


def test_an_existing_file_gets_a_write_ahead_log_and_nothing_else(settings: Settings, home: Path) -> None:
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        connection.execute("CREATE TABLE mine (x)")
    Backend.of(settings).prepare()
    Backend.of(settings).analyze()
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert ("mine",) in connection.execute("SELECT name FROM sqlite_master").fetchall()


def test_somebody_elses_file_stays_as_it_is(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    backend(settings, f"sqlite:///{path}").prepare()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


@pytest.mark.integration
def test_a_database_is_made_once_and_whole_by_several_at_once(made: Any) -> None:
    assert list(made.codes) == [0, 0]
    # Who came second found it made, and had no need of MLflow.
    assert sorted(made.imported) == ["False", "True"]
    with closing(sqlite3.connect(made.home / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
        (place,) = connection.execute("SELECT artifact_location FROM experiments WHERE name = 'Default'").fetchone()
    assert place == str(made.home / "mlflow-artifacts" / "0")
    assert not list(made.home.glob(".mlflow*"))
