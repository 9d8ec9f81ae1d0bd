"""A SQLite store in a place that this process may only read (tests/cli/test_read_only.py has the permissions)."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo_pipelines.errors import StoreError
from hpo_pipelines.store import Store
from hpo_pipelines.store.sqlite import Sqlite
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, new_id


def run() -> Task:
    return Task(new_id(), Kind.PIPELINE, "churn", "retention", pipeline="churn")


def test_a_reader_sees_what_another_writes_later_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a ?#% folder"
    url = f"sqlite:///{str(folder / 'hpo.db').replace('%', '%25').replace('?', '%3F')}"
    with monkeypatch.context() as patch:
        writer = Store.open(url)
        writer.tasks.create(run())
        writer.close()
        patch.setattr(Sqlite, "_is_read_only", lambda self: True)
        reader = Store.open(url, create=False)
        assert len(reader.tasks.list()) == 1
    writer = Store.open(url)
    writer.tasks.create(run())
    writer.close()
    monkeypatch.setattr(Sqlite, "_is_read_only", lambda self: True)
    before = {path: path.stat().st_mtime_ns for path in folder.parent.rglob("*.db*")}
    assert len(reader.tasks.list()) == 2
    with pytest.raises(StoreError, match="It can be read, not written"):
        reader.tasks.create(run())
    reader.close()
    assert {path: path.stat().st_mtime_ns for path in folder.parent.rglob("*.db*")} == before
