"""The mirror into MLflow: in memory, through its client into a database, and straight into its tables."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hpo_pipelines.settings import Settings
from hpo_pipelines.store import Store
from hpo_pipelines.task import Attempt, Task
from hpo_pipelines.tracking import schema
from hpo_pipelines.tracking.backend import Backend
from hpo_pipelines.tracking.base import Follower, Pace
from hpo_pipelines.tracking.mlflow import MlflowMirror
from hpo_pipelines.tracking.runs import OWN
from hpo_pipelines.tracking.server import MlflowServer
from hpo_pipelines.tracking.tables import Refused, Tables
from hpo_pipelines.types import Kind, Status, new_id

from .conftest import Call, Recorder, Shown
from .memory_mlflow import Client, Memory

MORE = {"lr": 0.1, "epochs": 5, "opt": None, "layers": [8, 4], "day": {"$date": "2024-01-31"}}


class Mirroring:
    """A mirror in this process, one batch at a time."""

    def __init__(self, store: Store, settings: Settings, **options: Any) -> None:
        self.backend = Backend.of(settings)
        self.mirror = MlflowMirror(store, self.backend, **options)
        self.follower = Follower(store, self.backend.follower, self.mirror.take, pace=Pace(backoff=0.0))
        self._store = store

    def catch_up(self) -> None:
        """Take everything there is; fail on the first problem."""
        while self.follower.cursor is None or self.follower.cursor < self._store.events.last():
            self.follower.turn()
            assert self.follower.problem is None

    @property
    def client(self) -> Any:
        return self.mirror._runs.client


Mirrored = Callable[..., Mirroring]


@dataclass(frozen=True)
class Place:
    """A backend under two names, and how to see and to purge what is in it."""

    settings: Settings
    other_name: str
    shown: Shown
    purge: Callable[[], None]
    in_tables: bool = False


# MLflow uses what its own dependencies deprecate.
REAL = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(params=["memory", pytest.param("client", marks=REAL), pytest.param("tables", marks=REAL)])
def place(request: pytest.FixtureRequest, settings: Settings, home: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    if request.param == "memory":
        memory = Memory(home / "mlflow-artifacts")
        memory.install(monkeypatch)
        remote = replace(settings, tracking_uri="http://memory")
        return Place(remote, "http://the-same-memory", Shown(Client(memory)), memory.runs.clear)
    database = request.getfixturevalue("database")
    other = f"sqlite:///{home}/../{home.name}/mlflow.db"
    if request.param == "client":
        # As it is with a release of MLflow that nobody has looked at yet.
        monkeypatch.setattr(schema, "RELEASES", ())
    in_tables = request.param == "tables"
    return Place(settings, other, Shown.at(f"sqlite:///{database}"), lambda: purge(database), in_tables)


def purge(database: Path) -> None:
    """What `mlflow gc` leaves: no trace of any run."""
    with closing(sqlite3.connect(database, timeout=10.0)) as connection, connection:
        for table in ("tags", "params", "metrics", "latest_metrics", "runs"):
            connection.execute(f"DELETE FROM {table}")


@pytest.fixture
def shown(place: Place) -> Shown:
    return place.shown


@pytest.fixture
def mirroring(store: Store, place: Place) -> Mirrored:
    return lambda **options: Mirroring(store, place.settings, **options)


def test_a_run_in_a_study(recorder: Recorder, mirroring: Mirrored, shown: Shown, home: Path) -> None:
    study = recorder.study("tune-lr")
    base = recorder.run()
    calls = [
        Call("load", reused=True),
        Call("fit", {"auc": [0.1, 0.9], "loss": [float("nan")]}),
        Call("fit", {"auc": [0.5]}),
    ]
    run = recorder.run(
        calls,
        params=MORE,
        study=study.id,
        trial=3,
        cloned_from=base.id,
        snapshot=recorder.snapshot(),
        own={"score": [2.0]},
        tags=("baseline",),
        notes="# why",
        git={"commit": "c0ffee", "branch": "main", "dirty": True, "diff": "+x"},
    )
    mirroring(sources=lambda digest: {"fit": "def fit(): ...\n"}).catch_up()

    found = shown.run(run)
    assert (found.info.run_name, found.info.status) == ("churn#2", "FINISHED")
    assert found.info.start_time == round(run.started_at * 1000)
    assert found.info.end_time == round(run.finished_at * 1000)
    assert found.data.params == {
        "lr": "0.1", "epochs": "5", "opt": "None", "layers": "[8, 4]", "day": "2024-01-31"
    }  # fmt: skip
    # The last value of the last call, as run.metrics has it.
    assert found.data.metrics["fit.auc"] == 0.5
    assert found.data.metrics["fit.2.auc"] == 0.5
    assert found.data.metrics["score"] == 2.0
    assert shown.history(found, "fit.auc") == [(0, 0.1), (1, 0.9), (1, 0.5)]
    assert set(found.data.metrics) == {"fit.auc", "fit.2.auc", "fit.loss", "score"}
    tags = found.data.tags
    assert {name: tags[name] for name in tags if name.startswith("hpo.")} == {
        "hpo.task": run.id,
        "hpo.run": "churn#2",
        "hpo.kind": "pipeline",
        "hpo.status": "completed",
        "hpo.cloned_from": base.id,
        "hpo.study": "tune-lr",
        "hpo.trial": "3",
        "hpo.steps": "3",
        "hpo.reused": "1",
        "hpo.tags": '["baseline"]',
    }
    assert tags["baseline"] == "true"
    assert tags["mlflow.source.git.commit"] == "c0ffee"
    assert tags["mlflow.source.name"] == "churn_code:churn"
    assert tags["mlflow.note.content"] == "# why"
    assert tags["mlflow.user"]
    # In a study steps get no runs of their own: one row is one trial.
    assert len(shown.runs()) == 2
    assert shown.files(found) == ["changes.diff", "code.py", "outputs.json", "params.json"]
    assert json.loads(shown.text(found, "outputs.json"))["fit"]["value"]["preview"]["value"] == "fit"
    assert json.loads(shown.text(found, "params.json")) == MORE
    assert Path(found.info.artifact_uri).is_relative_to(home / "mlflow-artifacts")


def test_a_trial_shows_its_objectives(recorder: Recorder, mirroring: Mirrored, shown: Shown, store: Store) -> None:
    study = recorder.study("both")
    several = {"objective": ["fit.auc", "size"], "direction": ["maximize", "minimize"], "constraints": ["size <= 3"]}
    store.tasks.update(study.id, params=several)
    one = recorder.study("one")
    store.tasks.update(one.id, params={"objective": "fit.auc", "direction": "maximize", "constraints": []})
    calls = [Call("fit", {"auc": [0.1, 0.9]})]
    of_both = recorder.run(calls, study=study.id, trial=0, own={"size": [2.0]})
    of_one = recorder.run(calls, study=one.id, trial=0)
    failed = recorder.run(calls, study=one.id, trial=1, status=Status.FAILED)
    mirroring().catch_up()
    found = shown.run(of_both)
    assert found.data.metrics["objective.fit.auc"] == 0.9
    assert found.data.metrics["objective.size"] == 2.0
    assert found.data.tags["hpo.objective.fit.auc"] == "maximize"
    assert found.data.tags["hpo.objective.size"] == "minimize"
    assert found.data.tags["hpo.constraints"] == "size <= 3"
    assert shown.run(of_one).data.metrics["objective"] == 0.9
    assert "objective" not in shown.run(failed).data.metrics


def test_a_failed_run_shows_why(recorder: Recorder, mirroring: Mirrored, shown: Shown) -> None:
    error = {"type": "ValueError", "message": "no", "traceback": "Traceback …\nValueError: no", "log": "epoch 1"}
    run = recorder.run([Call("fit", status=Status.FAILED, error=error)], status=Status.FAILED, error=error)
    mirroring().catch_up()
    whole, step = shown.run(run), shown.runs("tags.`hpo.kind` = 'step'")[0]
    for found in (whole, step):
        assert found.info.status == "FAILED"
        assert shown.text(found, "error_message.txt").startswith("Traceback …\nValueError: no\n")


@pytest.mark.parametrize(("status", "word"), [(Status.ABORTED, "KILLED"), (Status.PRUNED, "KILLED")])
def test_a_stopped_run(recorder: Recorder, mirroring: Mirrored, shown: Shown, status: Status, word: str) -> None:
    run = recorder.run(status=status)
    mirroring().catch_up()
    assert shown.run(run).info.status == word
    assert shown.run(run).data.tags["hpo.status"] == status


def test_a_run_as_it_goes_on(recorder: Recorder, store: Store, mirroring: Mirrored, shown: Shown) -> None:
    mirror = mirroring()
    draft = store.tasks.create(
        Task(id=new_id(), kind=Kind.PIPELINE, name="churn", project="retention", pipeline="churn")
    )
    mirror.catch_up()
    assert shown.runs() == []
    store.tasks.transition(draft.id, Status.QUEUED)
    mirror.catch_up()
    assert shown.run(draft).info.status == "SCHEDULED"
    run = store.tasks.transition(draft.id, Status.RUNNING)
    mirror.catch_up()
    assert shown.run(draft).info.status == "RUNNING"
    call = Call("fit", params={"lr": 0.1})
    step = recorder.begin_step(run, call, 0, "fit")
    recorder.report(step.id, "auc", [0.1, 0.2])
    mirror.catch_up()
    assert shown.history(shown.run(run), "fit.auc") == [(0, 0.1), (1, 0.2)]
    assert shown.run(step).info.status == "RUNNING"
    recorder.report(step.id, "auc", [0.3], start=2)
    recorder.end_step(step, call)
    mirror.catch_up()
    assert shown.run(step).info.status == "FINISHED"
    assert shown.run(run).info.status == "RUNNING"
    store.tasks.transition(run.id, Status.COMPLETED)
    mirror.catch_up()
    assert shown.history(shown.run(run), "fit.auc") == [(0, 0.1), (1, 0.2), (2, 0.3)]
    assert shown.history(shown.run(step), "auc") == [(0, 0.1), (1, 0.2), (2, 0.3)]
    assert shown.run(run).info.status == "FINISHED"
    assert shown.run(run).data.tags["hpo.status"] == "completed"
    assert len(shown.runs()) == 2


def test_a_run_that_is_resumed(recorder: Recorder, store: Store, mirroring: Mirrored, shown: Shown) -> None:
    mirror = mirroring()
    run = recorder.run([Call("fit", {"auc": [0.9]}), Call("fit", {"auc": [0.1]})], status=Status.FAILED)
    mirror.catch_up()
    assert shown.run(run).data.metrics["fit.auc"] == 0.1
    store.tasks.transition(run.id, Status.RUNNING)
    mirror.catch_up()
    assert shown.run(run).info.status == "RUNNING"
    again = recorder.begin_step(run, Call("fit"), 2, "fit.3")
    recorder.report(again.id, "auc", [0.9])
    recorder.end_step(again, Call("fit"))
    done = store.tasks.transition(run.id, Status.COMPLETED)
    mirror.catch_up()
    found = shown.run(run)
    assert found.data.metrics["fit.auc"] == 0.9
    assert (found.info.status, found.info.end_time) == ("FINISHED", round(done.finished_at * 1000))
    assert found.data.tags["hpo.reason"] == ""


def test_what_an_attempt_reported_that_does_not_count_is_not_shown_twice(
    recorder: Recorder, store: Store, mirroring: Mirrored, shown: Shown, place: Place
) -> None:
    mirror = mirroring()
    run = recorder.start()
    call = Call("fit")
    step = recorder.begin_step(run, call, 0, "fit")
    other = recorder.begin_step(run, Call("fitter"), 1, "fitter")
    recorder.report(step.id, "auc", [0.9, 0.8])
    recorder.report(other.id, "auc", [0.3])
    recorder.report(run.id, "score", [1.0])
    mirror.catch_up()
    assert shown.history(shown.run(run), "fit.auc") == [(0, 0.9), (1, 0.8)]
    with store.transaction():
        store.metrics.withdraw([step.id])
        recorder.report(step.id, "auc", [0.1])
        store.metrics.withdraw([run.id], name="score", step=0)
        recorder.report(run.id, "score", [2.0])
    mirror.catch_up()
    recorder.end_step(step, call)
    recorder.end_step(other, call)
    store.tasks.transition(run.id, Status.COMPLETED)
    mirror.catch_up()
    found = shown.run(run)
    if place.in_tables:
        assert shown.history(found, "fit.auc") == [(0, 0.1)]
        assert shown.history(shown.run(step), "auc") == [(0, 0.1)]
        assert shown.history(found, "score") == [(0, 2.0)]
        assert found.data.metrics == {"fit.auc": 0.1, "fitter.auc": 0.3, "score": 2.0}
    else:  # MLflow's API takes nothing away
        assert shown.history(found, "score") == [(0, 1.0), (0, 2.0)]
    assert shown.history(found, "fitter.auc") == [(0, 0.3)]


def test_tags_and_notes_change_later(recorder: Recorder, store: Store, mirroring: Mirrored, shown: Shown) -> None:
    study = recorder.study("lr")
    run = recorder.run(tags=("old", "team=risk"), notes="first", study=study.id, trial=0)
    mirror = mirroring()
    mirror.catch_up()
    before = shown.run(run).data.tags
    store.tasks.update(run.id, tags=("team=fraud", "new"), notes="", study=None, trial=None)
    mirror.catch_up()
    after = shown.run(run).data.tags
    assert (after["new"], after["team"]) == ("true", "fraud")
    gone = {"old", "mlflow.note.content", "hpo.study", "hpo.trial"}
    assert set(before) - set(after) == gone
    assert after["hpo.steps"] == "0"


# -- runs of steps


@pytest.mark.parametrize(
    ("setting", "in_study", "names"),
    [
        ("auto", False, ["fit", "load"]),
        ("auto", True, []),
        ("always", True, ["fit", "load"]),
        ("always", False, ["fit", "load"]),
        ("never", False, []),
    ],
)
def test_which_steps_get_runs(
    recorder: Recorder, mirroring: Mirrored, shown: Shown, setting: str, in_study: bool, names: list[str]
) -> None:
    calls = [Call("load"), Call("split", reused=True), Call("fit", {"auc": [0.5]}, params={"lr": 0.1})]
    changes = {"study": recorder.study("lr").id, "trial": 0} if in_study else {}
    run = recorder.run(calls, **changes)
    mirroring(step_runs=setting).catch_up()
    steps = shown.runs("tags.`hpo.kind` = 'step'")
    assert sorted(step.info.run_name for step in steps) == names
    for step in steps:
        assert step.data.tags["mlflow.parentRunId"] == shown.run(run).info.run_id
        assert step.data.tags["hpo.run"] == "churn#1"
        if step.info.run_name == "fit":
            assert (step.data.params, step.data.metrics) == ({"lr": "0.1"}, {"auc": 0.5})


def test_what_never_started_gets_no_run(recorder: Recorder, store: Store, mirroring: Mirrored, shown: Shown) -> None:
    run = recorder.start()
    for position, status in enumerate((Status.SKIPPED, Status.QUEUED)):
        step = Task(id=new_id(), kind=Kind.STEP, name=f"s{position}", project="retention", parent=run.id, status=status)
        store.tasks.create(step)
    store.tasks.transition(step.id, Status.ABORTED)
    store.tasks.transition(run.id, Status.ABORTED)
    mirroring(step_runs="always").catch_up()
    assert [found.info.run_name for found in shown.runs()] == ["churn#1"]


def test_a_nested_run_is_shown_under_its_own_pipeline(
    recorder: Recorder, store: Store, mirroring: Mirrored, shown: Shown
) -> None:
    study = recorder.study("lr")
    outer = recorder.start(study=study.id, trial=0)
    inner = recorder.run([Call("fit")], parent=outer.id, pipeline="inner", name="inner", study=study.id, trial=0)
    store.tasks.transition(outer.id, Status.COMPLETED)
    mirroring().catch_up()
    found = shown.run(inner)
    assert found.data.tags["mlflow.parentRunId"] == shown.run(outer).info.run_id
    # One trial is one run: what runs inside it is no trial.
    assert "hpo.trial" not in found.data.tags
    assert len(shown.runs("tags.`hpo.study` = 'lr'")) == 1


def test_a_step_that_made_its_own_run_is_completed(
    recorder: Recorder, store: Store, mirroring: Mirrored, shown: Shown
) -> None:
    mirror = mirroring(step_runs="never")
    run = recorder.start()
    call = Call("fit", params={"lr": 0.1, "depth": 3}, status=Status.FAILED, error={"type": "OSError", "message": "2"})
    step = recorder.begin_step(run, call, 0, "fit")
    store.followers.set_mirrored(mirror.backend.follower, step.id, OWN)
    experiment = shown.client.create_experiment("retention/churn")
    made = []
    for attempt in ("1", "2"):
        tags = {"hpo.task": step.id, "hpo.attempt": attempt}
        made.append(shown.client.create_run(experiment, run_name="fit", tags=tags).info.run_id)
    # The user's own code wrote a parameter, under a name that we have too, and a metric.
    shown.client.log_param(made[1], "lr", "mine")
    shown.client.log_metric(made[1], "inside", 7.0)
    recorder.report(step.id, "auc", [0.5])
    mirror.catch_up()
    first = Attempt(step.id, 1, Status.FAILED, 1.0, 2.0, {"type": "OSError", "message": "1"})
    store.tasks.finish_attempt(first)
    store.tasks.start_attempt(Attempt(step.id, 2, Status.RUNNING, 3.0))
    store.tasks.finish_attempt(Attempt(step.id, 2, Status.FAILED, 3.0, 4.0, call.error))
    store.tasks.transition(step.id, Status.FAILED, error=call.error)
    store.tasks.transition(run.id, Status.FAILED)
    mirror.catch_up()
    one, two = shown.runs("tags.`hpo.kind` = 'step'")
    assert [one.info.run_id, two.info.run_id] == made
    assert (one.info.status, two.info.status) == ("FAILED", "FAILED")
    assert one.info.end_time == 2000
    assert two.data.params == {"lr": "mine", "depth": "3"}
    assert two.data.metrics == {"inside": 7.0, "auc": 0.5}
    assert one.data.metrics == {}
    assert (shown.text(one, "error_message.txt"), shown.text(two, "error_message.txt")) == (
        "OSError: 1\n",
        "OSError: 2\n",
    )
    assert two.data.tags["mlflow.parentRunId"] == shown.run(run).info.run_id


# -- once, whatever happens


def test_taking_everything_again_changes_nothing(
    recorder: Recorder, store: Store, mirroring: Mirrored, shown: Shown
) -> None:
    for number in range(3):
        recorder.run([Call("fit", {"auc": [0.1, 0.2, number]})], params=MORE)
    mirroring().catch_up()
    before = [run.to_dictionary() for run in shown.runs()]
    histories = [shown.history(run, "fit.auc") for run in shown.runs("tags.`hpo.kind` = 'pipeline'")]
    again = mirroring()
    again.mirror.take(store.events.after(0))
    assert [run.to_dictionary() for run in shown.runs()] == before
    assert [shown.history(run, "fit.auc") for run in shown.runs("tags.`hpo.kind` = 'pipeline'")] == histories


def test_a_run_that_was_made_before_an_error_came_back_is_found(
    recorder: Recorder, mirroring: Mirrored, shown: Shown, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = recorder.run([Call("fit")])
    mirror = mirroring()
    target: Any = Tables if place.in_tables else mirror.client
    name = "write" if place.in_tables else "create_run"
    write = getattr(target, name)

    def cut_off(*args: Any, **options: Any) -> Any:
        write(*args, **options)
        raise ConnectionError("reset by peer")

    with monkeypatch.context() as patch:
        patch.setattr(target, name, cut_off)
        mirror.follower.turn()
    assert "does not take our runs: ConnectionError: reset by peer. What is" in str(mirror.follower.problem)
    mirror.catch_up()
    assert shown.run(run).info.status == "FINISHED"


def test_another_name_of_the_same_database_gives_no_copies(
    recorder: Recorder, store: Store, mirroring: Mirrored, shown: Shown, place: Place
) -> None:
    runs = [recorder.run([Call("fit", {"auc": [0.5]})]) for _ in range(3)]
    mirroring().catch_up()
    other = Mirroring(store, replace(place.settings, tracking_uri=place.other_name))
    assert other.backend.follower != Backend.of(place.settings).follower
    other.catch_up()
    assert len(shown.runs()) == 6
    for run in runs:
        assert shown.history(shown.run(run), "fit.auc") == [(0, 0.5)]


def test_a_run_deleted_in_mlflow_stays_deleted(recorder: Recorder, mirroring: Mirrored, shown: Shown) -> None:
    mirror = mirroring(step_runs="never")
    deleted = recorder.start()
    mirror.catch_up()
    shown.client.delete_run(shown.run(deleted).info.run_id)
    recorder.store.tasks.transition(deleted.id, Status.COMPLETED)
    other = recorder.run()
    mirror.catch_up()
    assert [found.data.tags["hpo.task"] for found in shown.runs()] == [other.id]


def test_what_is_archived_is_deleted_in_mlflow_and_restored_with_what_happened_meanwhile(
    recorder: Recorder, store: Store, mirroring: Mirrored, shown: Shown
) -> None:
    mirror = mirroring(step_runs="always")
    calls = [Call("fit", {"auc": [0.5]})]
    kept, run = recorder.run(calls), recorder.run(calls)
    mirror.catch_up()
    everything = {found.info.run_id for found in shown.runs()}
    hidden = {shown.run(run).info.run_id, shown.run(store.tasks.children(run.id)[0]).info.run_id}
    store.tasks.archive(run.id)
    mirror.catch_up()
    assert {found.info.run_id for found in shown.runs()} == everything - hidden
    store.tasks.update(run.id, tags=("seen",))
    mirror.catch_up()
    store.tasks.restore(run.id)
    mirror.catch_up()
    assert {found.info.run_id for found in shown.runs()} == everything
    assert "seen" in shown.run(run).data.tags
    assert shown.history(shown.run(run), "fit.auc") == [(0, 0.5)]
    assert shown.run(kept).info.status == shown.run(run).info.status == "FINISHED"


def test_what_is_deleted_here_is_deleted_in_mlflow(
    recorder: Recorder, store: Store, mirroring: Mirrored, shown: Shown
) -> None:
    mirror = mirroring(step_runs="always")
    kept, run = (recorder.run([Call("fit", {"auc": [0.5]})]) for _ in range(2))
    mirror.catch_up()
    assert len(shown.runs()) == 4
    store.tasks.delete(run.id)
    mirror.catch_up()
    tagged = {found.data.tags["hpo.task"] for found in shown.runs()}
    assert tagged == {kept.id, store.tasks.children(kept.id)[0].id}


def test_archived_before_it_was_ever_shown(recorder: Recorder, store: Store, mirroring: Mirrored, shown: Shown) -> None:
    run = recorder.run()
    store.tasks.archive(run.id)
    mirror = mirroring(step_runs="never")
    mirror.catch_up()
    assert shown.runs() == []
    store.tasks.restore(run.id)
    mirror.catch_up()
    assert shown.run(run).info.status == "FINISHED"


def test_an_experiment_deleted_in_mlflow_comes_back(recorder: Recorder, mirroring: Mirrored, shown: Shown) -> None:
    recorder.run()
    mirror = mirroring(step_runs="never")
    mirror.catch_up()
    shown.client.delete_experiment(shown.client.get_experiment_by_name("retention/churn").experiment_id)
    run = recorder.run()
    for _ in range(3):
        mirror.follower.turn()
    assert mirror.follower.problem is None
    assert shown.run(run).info.status == "FINISHED"


def test_what_mlflow_refuses_for_good_does_not_hold_up_the_rest(
    recorder: Recorder, mirroring: Mirrored, shown: Shown, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = recorder.run(params={"lr": 0.3})
    bad = recorder.run(params={"lr": 0.1})
    good = recorder.run(params={"lr": 0.2})
    mirror = mirroring()
    if place.in_tables:
        write = Tables.write

        def refuse_rows(tables: Tables, entries: Any) -> None:
            if any(entry.params.get("lr") == "0.1" for entry in entries.values()):
                raise Refused("never this", "BAD_REQUEST")
            write(tables, entries)

        monkeypatch.setattr(Tables, "write", refuse_rows)
    else:
        log_batch = mirror.client.log_batch

        def refuse(run: str, metrics: Any, params: Any, tags: Any) -> None:
            if any(param.value == "0.1" for param in params):
                raise ValueError("never this")
            log_batch(run, metrics, params, tags)

        monkeypatch.setattr(mirror.client, "log_batch", refuse)
    for _ in range(3):
        mirror.follower.turn()
    assert mirror.follower.problem is None
    for run in (first, good):
        assert shown.run(run).info.status == "FINISHED"
    # A transaction leaves nothing behind, calls what they came to.
    rest = shown.runs(f"tags.`hpo.task` = '{bad.id}'")
    assert [found.info.status for found in rest] == ([] if place.in_tables else ["RUNNING"])


def test_without_the_lease_nothing_is_made(recorder: Recorder, mirroring: Mirrored, shown: Shown) -> None:
    run = recorder.run()
    held = [False]
    mirror = mirroring(holds=lambda: held[0])
    mirror.follower.turn()
    assert "lease" in str(mirror.follower.problem)
    assert shown.runs() == []
    held[0] = True
    mirror.catch_up()
    assert shown.run(run).info.status == "FINISHED"


def test_many_values_and_parameters_go_in_parts(
    recorder: Recorder, store: Store, mirroring: Mirrored, shown: Shown
) -> None:
    from hpo_pipelines.task import Metric

    params = {f"p{number}": number for number in range(230)}
    run = recorder.start(params=params)
    step = recorder.begin_step(run, Call("fit"), 0, "fit")
    store.metrics.add([Metric(step.id, "loss", float(number), number, 1000.0) for number in range(2500)])
    recorder.end_step(step, Call("fit"))
    store.tasks.transition(run.id, Status.COMPLETED)
    mirroring().catch_up()
    found = shown.run(run)
    assert found.data.params == {name: str(value) for name, value in params.items()}
    assert shown.history(found, "fit.loss") == [(number, float(number)) for number in range(2500)]


def test_a_run_purged_from_mlflow_is_made_again_whole(
    recorder: Recorder, store: Store, mirroring: Mirrored, shown: Shown, place: Place
) -> None:
    run = recorder.start(params={"lr": 0.1})
    step = recorder.begin_step(run, Call("fit"), 0, "fit")
    recorder.report(step.id, "auc", [0.1])
    mirror = mirroring()
    mirror.catch_up()
    place.purge()
    recorder.report(step.id, "auc", [0.2], start=1)
    recorder.end_step(step, Call("fit"))
    store.tasks.transition(run.id, Status.COMPLETED)
    for _ in range(3):
        mirror.follower.turn()
    assert mirror.follower.problem is None
    found = shown.run(run)
    assert (found.info.status, found.data.params) == ("FINISHED", {"lr": "0.1"})
    assert shown.history(found, "fit.auc") == [(0, 0.1), (1, 0.2)]
    assert shown.history(shown.run(step), "auc") == [(0, 0.1), (1, 0.2)]


def test_artifacts_that_cannot_be_written_do_not_hold_up_the_rest(
    recorder: Recorder, mirroring: Mirrored, shown: Shown, home: Path
) -> None:
    (home / "mlflow-artifacts").write_text("a file where the folder should be")
    runs = [recorder.run(own={"auc": [0.5]}) for _ in range(3)]
    mirror = mirroring()
    problems = []
    for _ in range(3):
        mirror.follower.turn()
        problems.append(mirror.follower.problem)
    assert "artifacts cannot be written: NotADirectoryError" in str(problems[0])
    assert problems[2] is None
    for run in runs:
        assert shown.run(run).info.status == "FINISHED"
        assert shown.history(shown.run(run), "auc") == [(0, 0.5)]


def test_artifacts_in_a_servers_own_place_go_through_its_client(
    recorder: Recorder, store: Store, settings: Settings, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory(home / "bucket", scheme="memory:")
    memory.install(monkeypatch)
    run = recorder.run(git={"diff": "+x"}, params={"opt": None})
    Mirroring(store, replace(settings, tracking_uri="http://memory")).catch_up()
    shown = Shown(Client(memory))
    assert shown.files(shown.run(run)) == ["changes.diff", "params.json"]


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_happened_while_the_server_was_down_is_caught_up(
    recorder: Recorder, store: Store, settings: Settings, database: Path
) -> None:
    shown = Shown.at(f"sqlite:///{database}")
    server = MlflowServer(settings)
    uri = server.uri
    server.wait()
    mirror = Mirroring(store, replace(settings, tracking_uri=uri))
    runs = [recorder.run([Call("fit", {"auc": [0.1, 0.2]})], params={"lr": 0.1})]
    mirror.catch_up()
    half = recorder.start(params={"lr": 0.2})
    step = recorder.begin_step(half, Call("fit"), 0, "fit")
    mirror.catch_up()
    assert server.stop(60.0)
    recorder.report(step.id, "auc", [0.1, 0.2])
    recorder.end_step(step, Call("fit"))
    runs += [store.tasks.transition(half.id, Status.COMPLETED), recorder.run([Call("fit", {"auc": [0.1, 0.2]})])]
    for _ in range(3):
        mirror.follower.turn()
        assert f"{uri} does not take our runs" in str(mirror.follower.problem)
    with MlflowServer(settings, port=int(uri.rpartition(":")[2])) as again:
        again.wait()
        mirror.catch_up()
    assert len(shown.runs()) == 6
    for run in runs:
        found = shown.run(run)
        assert found.info.status == "FINISHED"
        assert shown.history(found, "fit.auc") == [(0, 0.1), (1, 0.2)]
        assert "outputs.json" in shown.files(found)
