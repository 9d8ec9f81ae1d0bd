"""Runs recorded without an engine, and MLflow databases copied from one that was migrated once."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from hpo_pipelines.settings import Settings
from hpo_pipelines.store import Store
from hpo_pipelines.task import Attempt, Metric, Snapshot, Task
from hpo_pipelines.types import ArtifactRef, Kind, Status, new_id


def artifact(text: str) -> ArtifactRef:
    data = json.dumps(text).encode()
    return ArtifactRef(f"bytes-of-{text}", f"value-of-{text}", "json", len(data), {"type": "str", "value": text}, data)


@dataclass(frozen=True)
class Call:
    """One step to record: its metric series, and what became of it."""

    component: str
    metrics: Mapping[str, Sequence[float]] = field(default_factory=dict)
    status: Status = Status.COMPLETED
    reused: bool = False
    error: Mapping[str, Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


class Recorder:
    """Writes into a store what an engine would."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def start(self, **changes: Any) -> Task:
        task = Task(id=new_id(), kind=Kind.PIPELINE, name="churn", project="retention", pipeline="churn")
        created = self.store.tasks.create(replace(task, **changes))
        return self.store.tasks.transition(created.id, Status.RUNNING)

    def begin_step(self, run: Task, call: Call, position: int, name: str) -> Task:
        step = Task(
            id=new_id(),
            kind=Kind.STEP,
            name=name,
            project=run.project,
            pipeline=run.pipeline,
            parent=run.id,
            component=call.component,
            position=position,
            params=call.params,
            study=run.study,
            trial=run.trial,
            reused_from="another" if call.reused else None,
            status=Status.COMPLETED if call.reused else Status.RUNNING,
        )
        step = self.store.tasks.create(step)
        if not call.reused:
            self.store.tasks.start_attempt(Attempt(step.id, 1, Status.RUNNING, time.time()))
        return step

    def report(self, task: str, name: str, values: Sequence[float], *, start: int = 0) -> None:
        for number, value in enumerate(values, start):
            self.store.metrics.add([Metric(task, name, value, number, time.time())])

    def end_step(self, step: Task, call: Call) -> None:
        if call.reused:
            return
        with self.store.transaction():
            if call.status is Status.COMPLETED:
                self.store.tasks.set_outputs(step.id, {"value": artifact(step.name)})
            attempt = Attempt(step.id, 1, call.status, step.started_at or 0.0, time.time(), call.error)
            self.store.tasks.finish_attempt(attempt)
            self.store.tasks.transition(step.id, call.status, error=call.error)

    def run(
        self,
        calls: Sequence[Call] = (),
        *,
        status: Status = Status.COMPLETED,
        own: Mapping[str, Sequence[float]] | None = None,
        error: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> Task:
        """A finished run with these steps; ``changes`` are fields of its task."""
        run = self.start(**changes)
        counts: dict[str, int] = {}
        for position, call in enumerate(calls):
            counts[call.component] = count = counts.get(call.component, 0) + 1
            name = call.component if count == 1 else f"{call.component}.{count}"
            step = self.begin_step(run, call, position, name)
            for metric, values in call.metrics.items():
                self.report(step.id, metric, values)
            self.end_step(step, call)
        for metric, values in (own or {}).items():
            self.report(run.id, metric, values)
        return self.store.tasks.transition(run.id, status, error=error)

    def study(self, name: str) -> Task:
        return self.store.tasks.create(
            Task(id=new_id(), kind=Kind.STUDY, name=name, project="retention", pipeline="churn", status=Status.RUNNING)
        )

    def snapshot(self, digest: str = "5" * 64) -> str:
        content = artifact(f"snapshot {digest}")
        self.store.snapshots.add(Snapshot(digest, "churn_code:churn", content, "3.11.7", {}))
        return digest


@pytest.fixture(scope="session", autouse=True)
def _quiet_mlflow(_nobodys_home: Path) -> Iterator[None]:
    """MLflow is not to call home when a test imports it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        yield


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A mirror sets variables for its whole process, and MLflow may write into the current folder."""
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    yield
    assert not (tmp_path / "mlruns").exists()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    # Elsewhere tests run without a mirror.
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Settings.load(home)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    store = Store.open(settings.store)
    yield store
    store.close()


@pytest.fixture
def recorder(store: Store) -> Recorder:
    return Recorder(store)


@dataclass(frozen=True)
class Made:
    """What two processes left that made an MLflow database at the same time."""

    home: Path
    codes: Sequence[int]
    imported: Sequence[str]
    """Of each, whether it had to import MLflow."""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """An empty MLflow database, made as a driver's mirror makes it: migrated once for all tests."""
    home = tmp_path_factory.mktemp("template")
    # What a process that was killed half-way leaves behind.
    (home / ".mlflow.db.new").write_bytes(b"half of a database")
    code = (
        "import sys; from hpo_pipelines.settings import Settings\n"
        "from hpo_pipelines.tracking.backend import Backend\n"
        "Backend.of(Settings.load(sys.argv[1])).prepare()\n"
        "print('mlflow' in sys.modules)\n"
    )
    command, variables = [sys.executable, "-c", code, str(home)], {**os.environ}
    variables.pop("MLFLOW_TRACKING_URI", None)
    both = [subprocess.Popen(command, env=variables, cwd=home, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    imported = [process.communicate()[0].strip() for process in both]
    return Made(home, [process.returncode for process in both], imported)


@pytest.fixture(scope="session")
def template(made: Made) -> Path:
    with closing(sqlite3.connect(made.home / "mlflow.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return made.home / "mlflow.db"


@pytest.fixture
def database(template: Path, home: Path) -> Path:
    """A fresh copy of it, where the settings look for it."""
    return Path(shutil.copy(template, home / "mlflow.db"))


class Shown:
    """What MLflow shows, read with a client of its own."""

    def __init__(self, client: Any) -> None:
        self.client = client

    @classmethod
    def at(cls, uri: str) -> Shown:
        """By MLflow itself."""
        with warnings.catch_warnings():
            # Its imports warn about its own dependencies.
            warnings.simplefilter("ignore")
            from mlflow import MlflowClient
        if uri.startswith("sqlite:///"):
            # The first client of a database in a process decides where experiments without a place of their own go.
            os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = str(
                Path(uri.removeprefix("sqlite:///")).parent / "mlflow-artifacts"
            )
        return cls(MlflowClient(uri))

    def runs(self, where: str = "", experiment: str = "retention/churn") -> list[Any]:
        """The runs of an experiment, oldest first; ``where`` in MLflow's filter language."""
        found = self.client.get_experiment_by_name(experiment)
        if found is None:
            return []
        return list(self.client.search_runs([found.experiment_id], where, order_by=["start_time ASC"]))

    def run(self, task: Task) -> Any:
        """The one run of ``task``."""
        (found,) = self.runs(f"tags.`hpo.task` = '{task.id}'", f"{task.project}/{task.pipeline}")
        return found

    def history(self, run: Any, key: str) -> list[tuple[int, float]]:
        """(step, value) of a metric, by step and time."""
        points = self.client.get_metric_history(run.info.run_id, key)
        return [(point.step, point.value) for point in sorted(points, key=lambda point: (point.step, point.timestamp))]

    def files(self, run: Any, folder: str = "") -> list[str]:
        return sorted(file.path for file in self.client.list_artifacts(run.info.run_id, folder))

    def text(self, run: Any, path: str) -> str:
        """The content of an artifact in a local folder."""
        return Path(run.info.artifact_uri, path).read_text("utf-8")


@pytest.fixture
def shown(database: Path) -> Shown:
    """What the database under the settings' own tracking URI shows."""
    return Shown.at(f"sqlite:///{database}")
