"""MLflow used inside steps: every call lands in the step's own run, and nothing of it in the next step."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hpo_pipelines.settings import Settings
from hpo_pipelines.store import Store
from hpo_pipelines.task import Task
from hpo_pipelines.tracking import StepTracking, run_id_of
from hpo_pipelines.tracking.backend import Backend
from hpo_pipelines.tracking.inside import STEP_VARIABLE, step_run
from hpo_pipelines.tracking.mlflow import MlflowMirror
from hpo_pipelines.tracking.runs import INTENT, OWN
from hpo_pipelines.types import Kind, Status, new_id

from .conftest import Call, Recorder, Shown

RUN = Task(id=new_id(), kind=Kind.PIPELINE, name="churn", project="retention", pipeline="churn", number=7)


def work(steps: list[tuple[str, dict[str, str]]], folder: Path, **variables: str) -> dict[str, Any]:
    """What the functions of worker_of_steps.py return, run in one process with ``folder`` as current folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("worker_of_steps.py"))],
        input=json.dumps(steps),
        cwd=folder,
        env={**clean, "MLFLOW_DISABLE_TELEMETRY": "true", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


# -- what a step is given


def test_without_its_variable_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STEP_VARIABLE, raising=False)
    before = dict(os.environ)
    with step_run():
        assert dict(os.environ) == before


def test_with_tracking_off_a_step_is_given_nothing(settings: Settings, store: Store) -> None:
    tracking = StepTracking(replace(settings, tracking_uri=""), store)
    assert tracking.step_variables("step", 1, name="fit", run=RUN) == {}
    assert store.followers.mirrored("mlflow", "step") is None
    tracking.close()


def test_a_server_of_the_users_is_used_itself(settings: Settings, store: Store) -> None:
    tracking = StepTracking(replace(settings, tracking_uri="http://127.0.0.1:9/mlflow"), store)
    variables = tracking.step_variables("step", 2, name="fit.2", run=RUN)
    assert variables["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:9/mlflow"
    assert json.loads(variables[STEP_VARIABLE]) == {
        "name": "fit.2",
        "experiment": "retention/churn",
        "place": None,
        "tags": {"hpo.task": "step", "hpo.attempt": "2", "hpo.kind": "step", "hpo.run": "churn#7"},
    }
    tracking.close()


def test_the_run_around_is_named_once_it_is_known(settings: Settings, store: Store) -> None:
    remote = replace(settings, tracking_uri="http://127.0.0.1:9")
    follower = Backend.of(remote).follower
    tracking = StepTracking(remote, store)
    for reference, parent in ((INTENT, None), ("abc", "abc")):
        store.followers.set_mirrored(follower, RUN.id, reference)
        described = json.loads(tracking.step_variables("step", 1, name="fit", run=RUN)[STEP_VARIABLE])
        assert described["tags"].get("mlflow.parentRunId") == parent
    # The follower is told whose run it is.
    assert store.followers.mirrored(follower, "step") == OWN
    assert (run_id_of(store, remote, RUN.id), run_id_of(store, remote, "step")) == ("abc", None)


# -- in a worker


@dataclass(frozen=True)
class Worked:
    """What a worker did with every function, and what MLflow holds then."""

    results: dict[str, Any]
    tasks: dict[str, str]
    shown: Shown
    folder: Path
    theirs: Shown

    def run(self, name: str) -> Any:
        """The one MLflow run of the step ``name``."""
        (found,) = self.shown.runs(f"tags.`hpo.task` = '{self.tasks[name]}'")
        return found


ORDER = [
    "plain_calls", "a_run_of_its_own", "several_runs", "autologged", "without_mlflow", "autologged_by_everything",
    "not_autologged", "models", "left_open", "raises", "in_threads", "elsewhere", "another_server", "plain_again",
]  # fmt: skip


@pytest.fixture(scope="module")
def worked(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worked]:
    """All functions in one process, over HTTP to a server that was started for the first of them."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("work")
    shutil.copy(template, home / "mlflow.db")
    theirs = tmp_path_factory.mktemp("theirs") / "mlflow.db"
    shutil.copy(template, theirs)
    settings = Settings.load(home, {})
    store = Store.open(settings.store)
    tracking = StepTracking(settings, store)
    tasks = {name: new_id() for name in ORDER}
    steps = []
    for name in ORDER:
        function = "plain_calls" if name == "plain_again" else name
        variables = (
            {} if name == "without_mlflow" else dict(tracking.step_variables(tasks[name], 1, name=name, run=RUN))
        )
        steps.append((function, variables))
    results = work(steps, folder, THEIRS=f"sqlite:///{theirs}")
    tracking.close()
    yield Worked(results, tasks, Shown.at(f"sqlite:///{home / 'mlflow.db'}"), folder, Shown.at(f"sqlite:///{theirs}"))
    store.close()


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
class TestInAWorker:
    def test_plain_calls_land_in_the_steps_run(self, worked: Worked) -> None:
        for name in ("plain_calls", "plain_again"):
            run = worked.run(name)
            assert (run.data.metrics, run.data.params) == ({"inside": 0.5}, {"depth": "3"})
            assert run.data.tags["mine"] == "yes"
            assert worked.shown.text(run, "hello.txt") == "hello"
            assert (run.info.run_name, run.info.status) == (name, "FINISHED")
            assert run.info.end_time is not None

    def test_start_run_gives_the_steps_run(self, worked: Worked) -> None:
        run = worked.run("a_run_of_its_own")
        assert worked.results["a_run_of_its_own"] == run.info.run_id
        assert run.data.metrics == {"inside": 1.0, "after": 2.0}
        assert run.info.status == "FINISHED"

    def test_further_runs_are_nested_in_it(self, worked: Worked) -> None:
        run = worked.run("several_runs")
        one, _, two, _, three, inner = worked.results["several_runs"]
        assert one == run.info.run_id
        for id, lr in ((one, "0.1"), (two, "0.2"), (three, "0.3")):
            assert worked.shown.client.get_run(id).data.params == {"lr": lr}
        for id, parent in ((two, one), (three, one), (inner, three)):
            assert worked.shown.client.get_run(id).data.tags["mlflow.parentRunId"] == parent

    def test_models_are_those_of_the_steps_run(self, worked: Worked) -> None:
        run, client = worked.run("models"), worked.shown.client
        models = [client.get_logged_model(each) for each in worked.results["models"]]
        assert [(model.name, model.source_run_id) for model in models] == [
            ("first", run.info.run_id),
            ("second", run.info.run_id),
        ]

    def test_every_fit_under_autolog_lands_in_it(self, worked: Worked) -> None:
        run = worked.run("autologged")
        assert run.data.params["fit_intercept"] == "True"
        assert {"between", "after", "training_r2_score"} <= set(run.data.metrics)
        assert len(worked.shown.history(run, "training_r2_score")) == 2
        assert "training_r2_score" in worked.run("autologged_by_everything").data.metrics

    def test_autolog_ends_with_the_step(self, worked: Worked) -> None:
        assert worked.run("not_autologged").data.metrics == {"alone": 1.0}
        assert worked.run("not_autologged").data.params == {}

    def test_a_step_without_mlflow_is_left_in_peace(self, worked: Worked) -> None:
        assert worked.results["without_mlflow"] == {"active": False, "variables": ["MLFLOW_DISABLE_TELEMETRY"]}
        # Autolog without a server would have made a database of its own here.
        assert list(worked.folder.iterdir()) == []

    def test_runs_left_open_are_ended(self, worked: Worked) -> None:
        assert worked.run("left_open").info.status == "FINISHED"
        found = worked.shown.runs()
        assert not [run.info.run_name for run in found if run.info.status == "RUNNING"]

    def test_a_failed_step_has_a_failed_run(self, worked: Worked) -> None:
        assert worked.results["raises"] == "ValueError: no"
        assert worked.run("raises").info.status == "FAILED"
        assert worked.run("raises").data.metrics == {"inside": 1.0}

    def test_threads_write_into_the_same_run(self, worked: Worked) -> None:
        assert worked.run("in_threads").data.metrics == {"thread0": 0.0, "thread1": 1.0, "thread2": 2.0}

    def test_another_experiment_is_respected(self, worked: Worked) -> None:
        assert worked.run("elsewhere").data.metrics == {}
        (mine,) = worked.shown.runs(experiment="mine")
        assert mine.data.metrics == {"there": 1.0}

    def test_another_server_is_respected(self, worked: Worked) -> None:
        assert worked.run("another_server").data.metrics == {}
        (there,) = worked.theirs.runs(experiment="theirs")
        assert there.info.run_id == worked.results["another_server"]

    def test_artifacts_lie_where_the_mirrors_do(self, worked: Worked) -> None:
        place = Path(worked.run("plain_calls").info.artifact_uri)
        assert place.parts[-4:-2] == ("mlflow-artifacts", "retention_churn")


@pytest.mark.integration
def test_when_mlflow_is_down_the_step_fails_with_the_cure(settings: Settings, store: Store, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
        tracking = StepTracking(replace(settings, tracking_uri=uri), store)
        variables = {**tracking.step_variables("step", 1, name="fit", run=RUN), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
        results = work([("plain_calls", variables), ("without_mlflow", {})], tmp_path)
    assert results["plain_calls"].startswith(f"TrackingError: the code of step fit uses MLflow, and MLflow at {uri} ")
    assert "MLFLOW_TRACKING_URI" in results["plain_calls"]
    assert results["without_mlflow"]["active"] is False


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_mirror_completes_the_run_that_a_step_made(
    recorder: Recorder, store: Store, settings: Settings, shown: Shown, tmp_path: Path
) -> None:
    run = recorder.start(study=recorder.study("lr").id, trial=0)
    call = Call("fit", params={"lr": 0.1})
    step = recorder.begin_step(run, call, 0, "fit")
    tracking = StepTracking(settings, store)
    work([("plain_calls", dict(tracking.step_variables(step.id, 1, name="fit", run=run)))], tmp_path)
    tracking.close()
    recorder.report(step.id, "auc", [0.5])
    recorder.end_step(step, call)
    store.tasks.transition(run.id, Status.COMPLETED)
    MlflowMirror(store, Backend.of(settings)).take(store.events.after(0))
    whole, own = shown.run(run), shown.run(step)
    # In a study a step has a run only because it uses MLflow itself.
    assert len(shown.runs()) == 2
    assert own.data.metrics == {"inside": 0.5, "auc": 0.5}
    assert own.data.params == {"depth": "3", "lr": "0.1"}
    assert own.data.tags["mlflow.parentRunId"] == whole.info.run_id
    assert own.data.tags["hpo.status"] == "completed"
    assert whole.data.metrics == {"fit.auc": 0.5}


# -- names of MLflow's that are not for everybody


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_used_of_mlflows_inside_is_there() -> None:
    import mlflow
    from mlflow.utils.autologging_utils import AUTOLOGGING_INTEGRATIONS

    fluent = mlflow.tracking.fluent
    assert hasattr(fluent, "_active_experiment_id")
    assert mlflow.start_run is fluent.start_run
    # Implicit starts look the name up in the module, where it can be led elsewhere.
    assert "return start_run()" in inspect.getsource(fluent._get_or_start_run)
    assert "MLFLOW_RUN_ID" in inspect.getsource(fluent.start_run)
    assert isinstance(AUTOLOGGING_INTEGRATIONS, dict)
    assert next(iter(inspect.signature(fluent.start_run).parameters)) == "run_id"
