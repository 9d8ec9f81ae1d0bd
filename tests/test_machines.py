"""Several machines with one truth: PostgreSQL, S3 and an MLflow server between homes that share no file.

The machines are processes of this one, each with a home of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from samples import queueing
from services import wait_until

from hpo_pipelines import Status, Workspace, optimize
from hpo_pipelines.settings import Settings
from hpo_pipelines.tracking.server import MlflowServer
from hpo_pipelines.waiting import agents

# MLflow uses what its own dependencies deprecate.
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

Machine = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Starts an agent on a machine of that name."""
    started = []

    def start(name: str) -> subprocess.Popen[bytes]:
        home = tmp_path / name
        home.mkdir()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HPO_HOME": str(home)}
        command = [sys.executable, "-m", "hpo_pipelines", "agent", "--max-runs", "2", "--executor", "local"]
        process = subprocess.Popen(command, env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.wait(60)


def test_two_agents_run_one_study_and_share_its_work(
    postgresql_database: str,
    s3: str,
    tmp_path: Path,
    home: Path,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "ran"
    folder.mkdir()
    tracked = tmp_path / "mlflow"
    tracked.mkdir()
    with MlflowServer(Settings.load(tracked, {})) as server:
        server.wait(120)
        monkeypatch.setenv("HPO_STORE", postgresql_database)
        monkeypatch.setenv("HPO_ARTIFACTS", f"{s3}/{tmp_path.name}")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        for name in ("one", "two"):
            machine(name)
        with Workspace() as workspace:
            wait_until(lambda: len(agents(workspace.store)) == 2, "two agents")

            def study() -> None:
                optimize(
                    queueing.sharing,
                    {"x": [1, 2, 3, 4, 5, 6], "folder": str(folder)},
                    "last.score",
                    n_trials=6,
                    n_jobs=4,
                    seed=3,
                    queue="services",
                    name="far",
                    workspace=workspace,
                    progress=False,
                )

            thread = threading.Thread(target=study)
            thread.start()
            wait_until(lambda: sum(agent.runs for agent in agents(workspace.store)) == 4, "both to be full")
            wait_until(lambda: bool(list(folder.glob("prefix.*"))), "the shared step to run")
            runs = workspace.runs()
            computing = [run.steps["prefix"] for run in runs if "prefix" in run.steps]
            (computed,) = [step for step in computing if step.status is Status.RUNNING] or computing[:1]
            wait_until(lambda: "æøå" in computed.console(), "the console of another machine")
            (folder / "open").touch()
            thread.join(120)
            assert not thread.is_alive()
            assert len(list(folder.glob("prefix.*"))) == 1
            runs = workspace.runs()
            assert [run.status for run in runs] == [Status.COMPLETED] * 6
            assert sum(run.steps["prefix"].reused_from is None for run in runs) == 1
            assert all(run.value == 2 * (10 + run.params["x"]) for run in runs)
            assert {run.console() for run in runs} == {f"the body has {run.params['x']}\n" for run in runs}
            assert {run.steps["prefix"].console() for run in runs} == {"the prefix is computed, æøå\n"}
            _mlflow_has(server.uri, 6)


def _mlflow_has(uri: str, count: int) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(uri)

    def finished() -> int:
        experiment = client.get_experiment_by_name("default/sharing")
        if experiment is None:
            return 0
        found = client.search_runs([experiment.experiment_id], "tags.`hpo.kind` = 'pipeline'")
        return sum(run.info.status == "FINISHED" and "last.score" in run.data.metrics for run in found)

    wait_until(lambda: finished() == count, "the mirror to have every trial")
