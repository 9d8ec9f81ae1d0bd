"""A workspace behind a server: the same handles, the same answers, the same errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from samples import bodies, queueing, remote, shown
from services import wait_until
from serving import Serving, serving

from hpo_pipelines import ConfigError, ParameterError, StepFailed, StoreError, TaskError, TaskNotFound, Workspace, get
from hpo_pipelines.defaults import default_workspace
from hpo_pipelines.description import described, described_step
from hpo_pipelines.errors import IllegalTransition
from hpo_pipelines.remote import RemoteWorkspace
from hpo_pipelines.run import Run
from hpo_pipelines.runstep import RunStep
from hpo_pipelines.settings import Settings
from hpo_pipelines.store import TaskFilter


@pytest.fixture(scope="module")
def base(place: Workspace) -> Run:
    return shown.churn.run(workspace=place, tags=["first"])


@pytest.fixture(scope="module")
def failed(base: Run) -> Run:
    return base.clone(broken=True).run()


def local(served: Serving, run: Run) -> Run:
    """The same run as the server has it."""
    return served.workspace.run_called(run.id)


# -- which workspace


def test_the_setting_and_an_address_open_what_a_server_has(
    served: Serving, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_SERVER", served.url + "/")
    with Workspace() as opened:
        assert isinstance(opened, RemoteWorkspace)
        assert opened.place == served.url
    monkeypatch.delenv("HPO_SERVER")
    (home / "config.toml").write_text(f'server = "{served.url}"\n')
    with Workspace() as opened:
        assert isinstance(opened, RemoteWorkspace)
    with Workspace(home=home) as opened:
        assert type(opened) is Workspace
        assert opened.settings.server == ""
    assert not (home / "artifacts").exists()


@pytest.mark.parametrize("address", ["127.0.0.1:8264", "ftp://127.0.0.1"])
def test_an_address_that_is_none_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HPO_SERVER", address)
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:8264"):
        Settings.load()


def test_where_nobody_answers_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_pipelines.remote.connection.FIRST_PAUSE", 0.001)
    with (
        Workspace("http://127.0.0.1:9") as opened,
        pytest.raises(StoreError, match=r"http://127\.0\.0\.1:9 does not answer.*hpo up"),
    ):
        opened.runs()


def test_the_default_workspace_is_the_servers(
    served: Serving, base: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not isinstance(default_workspace(), RemoteWorkspace)
    monkeypatch.setenv("HPO_SERVER", served.url)
    found = get(base.label)
    assert isinstance(found, Run)
    assert found.id == base.id
    assert isinstance(found.workspace, RemoteWorkspace)


# -- running


def test_a_run_is_driven_there_and_read_here(base: Run, served: Serving) -> None:
    assert (base.status, base.label) == ("completed", "churn#1")
    assert base.value == {"score": pytest.approx(1.0), "rows": 30}
    assert base.params["lr"] == 0.1
    assert base.metrics["fit.auc"] == pytest.approx(0.89)
    assert [*base.steps] == ["load", "split", "fit", "audit", "evaluate"]
    assert base.steps["split"].outputs["test"][0] == [30, 900]
    assert base.steps["fit"].console().splitlines()[0] == "fitting tree with lr=0.1"
    assert base.tags == ("first",)
    assert not base.is_abandoned
    assert local(served, base).status == "completed"


def test_what_the_body_prints_is_shown_here(place: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    run = bodies.loud.run(x=7, workspace=place)
    assert capsys.readouterr().out == "controller 7\n"
    assert run.console() == "controller 7\n"
    assert run.steps["noisy"].console() == "out 7\nerr 7\n"


@pytest.mark.integration
def test_handles_say_the_same_as_those_of_the_server(base: Run, failed: Run, served: Serving) -> None:
    for run in (base, failed):
        there = local(served, run)
        assert replace(run.task, git=None) == replace(there.task, git=None)
        assert run.task.git is None or "diff" not in run.task.git
        assert described(run) == described(there)
        assert run.why() == there.why()
        assert run.accounting == there.accounting
        assert run.plan(lr=0.7) == there.plan(lr=0.7)
        assert run.lineage()[-1:] == [] or run.lineage()[0].id == there.lineage()[0].id
        for name, step in run.steps.items():
            assert described_step(step) == described_step(there.steps[name])
            assert step.why() == there.steps[name].why()


def test_what_is_unchanged_is_reused_there(base: Run) -> None:
    clone = base.clone(lr=0.2)
    assert (clone.status, clone.task.cloned_from) == ("draft", base.id)
    run = clone.run()
    assert run.id == clone.id
    assert run.steps["load"].reused_from == base.steps["load"].id
    assert run.steps["fit"].reused_from is None
    again = run.rerun(refresh=["fit"])
    assert again.task.rerun_of == run.id
    assert [step.reused_from is None for step in again.steps.values()] == [False, False, True, False, False]


def test_a_rerun_keeps_what_completed(failed: Run) -> None:
    again = failed.rerun(failed=True)
    assert (again.status, again.task.rerun_of) == ("failed", failed.id)
    assert again.steps["load"].task.reason == f"kept from {failed.label}/load"
    with pytest.raises(TaskNotFound, match="no step 'fitt'"):
        failed.rerun(from_step="fitt")


def test_a_data_frame_comes_back(place: Workspace, served: Serving) -> None:
    run = remote.framed.run(rows=5000, workspace=place)
    frame = run.value
    ref = served.workspace.store.tasks.outputs(run.id)["value"]
    assert ref.inline is None, "it is to be fetched, not to come with the record"
    pd.testing.assert_frame_equal(frame, remote.framed.function(5000))
    assert run.steps["table"].outputs["value"].equals(frame)


def test_a_failed_run_says_why_and_goes_on(failed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error["message"] == "lr=0.1 diverges"
    with pytest.raises(StepFailed, match=r"lr=0\.1 diverges"):
        failed.value
    capsys.readouterr()
    assert failed.resume().status == "failed"
    assert len(failed.steps["fit"].attempts) == 2
    # How far the body comes before it hears of the failure is its luck; what it printed before is not printed again.
    assert capsys.readouterr().out.count("controller says lr=0.1\n") == 1


def test_what_is_recorded_is_found_by_its_name(place: Workspace, base: Run) -> None:
    step = place.get(f"{base.label}/fit")
    assert isinstance(step, RunStep)
    assert step.id == base.steps["fit"].id
    assert base.id in [run.id for run in place.runs(limit=500)]
    with pytest.raises(TaskNotFound, match="has no step 'fitt'"):
        place.get(f"{base.label}/fitt")
    with pytest.raises(TaskNotFound, match="There is no run 'churn#99'"):
        place.get("churn#99")


def test_tags_and_notes_are_set(base: Run) -> None:
    draft = base.clone()
    assert draft.annotate(tags=("kept",), notes="of use").tags == ("kept",)
    assert draft.refreshed().notes == "of use"
    assert draft.run(executor="local").task.executor == "local"


# -- waiting and stopping


def test_it_is_archived_and_restored_where_it_is(place: Workspace, served: Serving, base: Run) -> None:
    kept = base.clone(lr=0.9)
    archived = kept.archive()
    assert archived.task.archived_at is not None
    assert kept.id not in [run.id for run in place.runs(TaskFilter(archived=False), limit=500)]
    assert served.workspace.run_called(kept.id).task.archived_at == archived.task.archived_at
    assert kept.archive().task.archived_at == archived.task.archived_at, "once more changes nothing"
    assert kept.restore().task.archived_at is None
    step = served.workspace.run_called(base.id).steps["load"]
    with pytest.raises(TaskError, match="load"):
        place.store.tasks.archive(step.id)
    with pytest.raises(TaskNotFound):
        place.store.tasks.archive(kept.id, "01NOTHING")
    assert kept.refreshed().task.archived_at is None, "all or none"


def test_a_run_is_aborted_where_it_runs(place: Workspace, tmp_path: Path) -> None:
    draft = queueing.three.draft(folder=str(tmp_path), workspace=place, executor="local")
    draft.enqueue()
    wait_until(lambda: (tmp_path / "gated-0").exists() or any(tmp_path.iterdir()), "its steps to begin")
    assert draft.abort().status == "aborted"
    with pytest.raises(TaskError, match="was aborted"):
        draft.refreshed().value
    with pytest.raises(IllegalTransition, match=r"cannot become aborted.*nothing|cannot become aborted"):
        draft.abort()


def test_interrupted_it_is_not_left_to_go_on(place: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(run: Run, **how: Any) -> Run:
        wait_until(lambda: run.status == "running", "it to begin")
        raise KeyboardInterrupt

    monkeypatch.setattr("hpo_pipelines.remote.workspace.follow", interrupted)
    draft = queueing.three.draft(folder=str(tmp_path), workspace=place, executor="local")
    with pytest.raises(KeyboardInterrupt):
        draft.run()
    assert draft.refreshed().status == "aborted"


def test_a_queue_is_seen_and_set(place: Workspace, base: Run) -> None:
    from hpo_pipelines.store.queues import QueueState

    queues = place.store.queues
    assert queues.limit("services", 3) == QueueState("services", capacity=3)
    assert queues.pause("services") == QueueState("services", paused=True, capacity=3)
    try:
        assert queues.states()["services"] == QueueState("services", paused=True, capacity=3)
        first, second = base.clone(lr=0.61).enqueue(), base.clone(lr=0.62).enqueue(priority=5)
        assert second.reason == "waits: queue services is paused; `hpo queues resume services` opens it"
        assert [entry.task for entry in queues.line("services")] == [second.id, first.id]
        with pytest.raises(ConfigError, match="there is no queue 'nowhere'"):
            base.clone(lr=0.63).enqueue(queue="nowhere")
        with pytest.raises(ConfigError, match=f"declared by a table .* in the config.toml of {place.place}"):
            place.settings.queue("nowhere")
    finally:
        queues.pause("services", paused=False)
        queues.limit("services", None)
    assert first.wait(60).status == "completed"
    assert second.wait(60).status == "completed"


# -- refusals


def test_what_does_not_fit_is_refused_before_anything_is_recorded(base: Run, place: Workspace) -> None:
    before = place.store.events.last()
    with pytest.raises(ParameterError, match="did you mean 'lr'"):
        base.clone(lrr=1)
    with pytest.raises(ParameterError, match="lr"):
        shown.churn.run(lr="fast", workspace=place)
    with pytest.raises(IllegalTransition, match="only a draft is started"):
        base.run()
    assert place.store.events.last() == before


@pytest.mark.parametrize(
    "ask",
    [
        lambda place: place.store.transaction().__enter__(),
        lambda place: place.store.tasks.create(None),
        lambda place: place.store.cache.list(),
        lambda place: place.artifacts.put(b"x" * 10_000),
        lambda place: place.controller(None),
        lambda place: place.drain(),
    ],
)
def test_what_only_a_store_can_do_is_refused_with_the_cure(place: Workspace, ask: Any) -> None:
    with pytest.raises(ConfigError, match=r"works on the store itself.*HPO_SERVER=http://.*with HPO_SERVER unset"):
        ask(place)


def test_code_is_sent_once(place: Workspace, served: Serving, base: Run) -> None:
    """Who may not send code may still run what is known."""
    with Workspace(served.url) as other:
        sent: list[str] = []
        post = other.server.post_bytes  # type: ignore[attr-defined]
        other.server.post_bytes = lambda path, content: sent.append(path) or post(path, content)  # type: ignore[attr-defined]
        assert shown.churn.run(workspace=other).steps["load"].reused_from == base.steps["load"].id
        assert sent == []


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Serving]:
    (tmp_path / "alone").mkdir()
    with serving(tmp_path / "alone") as server:
        yield server


def test_its_files_last_as_long_as_it_is_open(alone: Serving) -> None:
    with Workspace(alone.url) as opened:
        folder = opened.home
        bodies.loud.run(workspace=opened).steps["noisy"].console()
        assert any(folder.rglob("*.log"))
    assert not folder.exists()


def test_it_may_be_used_from_many_threads(place: Workspace, base: Run) -> None:
    wrong: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(5):
                assert place.run_called(base.label).metrics == base.metrics
        except BaseException as error:  # noqa: BLE001 - raised by the test below
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
