"""A store and a place for artifacts, with runs in them that have files."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.cache import Collected, Limits, collect
from hpo_pipelines.store import Store
from hpo_pipelines.task import Attempt, CacheEntry, Task
from hpo_pipelines.types import ArtifactRef, Kind, Status, new_id

DAY = 86400.0


@dataclass
class Place:
    """What a workspace has, without its engine."""

    store: Store
    artifacts: ArtifactStore
    home: Path

    def run(self, status: Status = Status.COMPLETED, **fields: Any) -> Task:
        task = Task(new_id(), Kind.PIPELINE, "churn", "retention", status, "churn", **fields)
        return self.store.tasks.create(task)

    def study(self, name: str = "lr", **fields: Any) -> Task:
        return self.store.tasks.create(Task(new_id(), Kind.STUDY, name, "retention", Status.COMPLETED, **fields))

    def put(self, text: str, size: int = 20_000) -> ArtifactRef:
        """An artifact of ``size`` bytes and something, in a file if it is large, that ``text`` makes its own."""
        return self.artifacts.put(text.encode().ljust(size, b"."))

    def step(self, run: Task, key: str, ref: ArtifactRef | None = None, *, ago: float = 0.0, **fields: Any) -> Task:
        """A step that ended ``ago`` seconds ago, after 2 s, with an outcome under ``key``."""
        at = self.store.now() - ago
        fields = {"component": "fit", "status": Status.COMPLETED, "started_at": at - 2, "finished_at": at, **fields}
        step = Task(new_id(), Kind.STEP, str(fields["component"]), "retention", parent=run.id, key=key, **fields)
        step = self.store.tasks.create(step)
        ref = self.put(key) if ref is None else ref
        self.store.tasks.set_outputs(step.id, {"value": ref})
        if step.reused_from is None:
            self.store.tasks.finish_attempt(Attempt(step.id, 1, Status.COMPLETED, at - 2, at))
            self.store.cache.record(CacheEntry(key, step.id, str(step.component), {"value": ref}, {}, 2.0, at))
        return step

    def collect(self, *, dry_run: bool = False, **limits: Any) -> Collected:
        return collect(self.store, self.artifacts, self.home, Limits(**limits), dry_run=dry_run, settle=0.0)

    def names(self) -> set[str]:
        """The digests of the files there are."""
        return {file.name for file in self.artifacts.files()}

    def keys(self) -> set[str]:
        return {entry.key for entry in self.store.cache.list()}

    def path(self, ref: ArtifactRef) -> Path:
        return Path(self.artifacts.url) / ref.digest[:2] / ref.digest[2:]

    def age(self, seconds: float = DAY) -> None:
        """Make every file as if it had been written ``seconds`` ago; where it lies in a folder."""
        at = time.time() - seconds
        for folder, _, files in os.walk(self.artifacts.url):
            for name in files:
                os.utime(Path(folder) / name, (at, at))


@pytest.fixture
def local(tmp_path: Path) -> Any:
    store = Store.open(f"sqlite:///{tmp_path}/hpo.db")
    yield Place(store, ArtifactStore(tmp_path / "artifacts"), tmp_path)
    problems = store.check()
    store.close()
    assert problems == []


@pytest.fixture
def remote(postgresql_database: str, s3: str, tmp_path: Path) -> Any:
    store = Store.open(postgresql_database)
    yield Place(store, ArtifactStore(f"{s3}/{tmp_path.name}"), tmp_path)
    problems = store.check()
    store.close()
    assert problems == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as old as soon as they are written."""
    monkeypatch.setattr("hpo_pipelines.cache.collection.GRACE", -DAY)
