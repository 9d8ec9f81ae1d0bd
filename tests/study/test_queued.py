"""Studies whose trials agents drive."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from agents import agent
from samples import queueing
from services import wait_until

from hpo_pipelines import Float, Status, Workspace, optimize
from hpo_pipelines.engine.journal import lease_of
from hpo_pipelines.engine.liveness import Liveness
from hpo_pipelines.errors import ConfigError
from hpo_pipelines.study import Study
from hpo_pipelines.study.progress import Progress
from hpo_pipelines.study.queued import QueuedTrial
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind


@pytest.fixture
def workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("HPO_EXECUTOR", "inline")
    with Workspace() as opened:
        yield opened


def test_agents_drive_the_trials(workspace: Workspace, home: Path, folder: Path) -> None:
    pipeline = queueing.quick
    with agent(home) as taking:
        study = optimize(
            pipeline,
            {"n": [1, 2, 3], "folder": str(folder)},
            n_trials=5,
            n_jobs=2,
            seed=1,
            queue="services",
            name="far",
            workspace=workspace,
            progress=False,
        )
    assert study.status is Status.COMPLETED
    assert taking.driven == 5
    assert [trial.value for trial in study.trials] == [2.0 * run.params["n"] for run in study.runs]
    assert {run.task.queue for run in study.runs} == {"services"}
    assert workspace.store.queues.counts() == {}


def test_a_study_says_what_its_trials_wait_for_and_goes_on_in_another_process(
    workspace: Workspace, home: Path, folder: Path
) -> None:
    notes: list[str] = []

    def told(progress: Progress) -> None:
        notes.append(progress.note)
        if "no agent listens" in progress.note:
            raise KeyboardInterrupt

    space = {"n": [1, 2, 3], "folder": str(folder)}
    options = {"n_trials": 3, "seed": 1, "queue": "services", "name": "far", "workspace": workspace}
    with pytest.raises(KeyboardInterrupt):
        optimize(queueing.quick, space, **options, progress=told)  # type: ignore[arg-type]
    assert any("no agent listens to queue services" in note for note in notes)
    (left,) = Study.called(workspace, "far").runs
    assert left.status in (Status.QUEUED, Status.ABORTED)
    with agent(home):
        study = optimize(queueing.quick, space, **options, progress=False)  # type: ignore[arg-type]
    assert [trial.value is not None for trial in study.trials] == [True] * 3


def test_the_first_interrupt_ends_trials_that_no_agent_has_taken(workspace: Workspace, folder: Path) -> None:
    sent = threading.Event()

    def told(progress: Progress) -> None:
        if "no agent listens" in progress.note and not sent.is_set():
            sent.set()
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    space = {"n": [1, 2, 3], "folder": str(folder)}
    study = optimize(
        queueing.quick, space, n_trials=3, queue="services", name="far", workspace=workspace, progress=told
    )
    assert (study.status, study.reason) == (Status.ABORTED, "interrupted; the same name resumes it")
    (left,) = study.runs
    assert (left.status, left.reason) == (Status.ABORTED, "the study was interrupted before an agent took it")


def test_a_trial_is_pruned_by_what_its_agent_hears(workspace: Workspace, home: Path, folder: Path) -> None:
    class AtSeven(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return trial.last_step is not None and trial.last_step >= 7

    with agent(home):
        study = optimize(
            queueing.climbing,
            {"slope": Float(1, 2), "folder": str(folder)},
            "climb.height",
            n_trials=1,
            queue="services",
            pruner=AtSeven(),
            executor="local",  # what runs inline holds its run, reports included, until it ends
            workspace=workspace,
            progress=False,
        )
        (run,) = study.runs
        assert run.status is Status.PRUNED
        assert (run.reason or "").startswith("pruned at climb step 7: height ")
        (folder / "open").touch()
        steps = [task for task in workspace.store.tasks.children(run.id) if task.kind is Kind.STEP]
        wait_until(lambda: all(workspace.store.tasks.status(step.id).finished for step in steps), "the step's end")


def test_a_queue_that_is_not_declared_is_refused_before_anything_is_recorded(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match="no queue 'gpus'"):
        optimize(queueing.quick, {"n": [1]}, n_trials=1, queue="gpus", workspace=workspace)
    assert workspace.runs() == []


def crashed(monkeypatch: pytest.MonkeyPatch, workspace: Workspace, folder: Path, queue: str) -> None:
    """Leave a study as a driver does that was killed while its first trial waited in ``queue``."""

    def killed(self: QueuedTrial, params: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(QueuedTrial, "drive", killed)
        with pytest.raises(RuntimeError, match="killed"):
            tuned(workspace, folder, queue=queue)
    assert [run.status for run in Study.called(workspace, "far").runs] == [Status.QUEUED]


def tuned(workspace: Workspace, folder: Path, queue: str | None) -> Study:
    space = {"n": [1, 2, 3], "folder": str(folder)}
    return optimize(queueing.quick, space, n_trials=2, queue=queue, name="far", workspace=workspace, progress=False)


def test_what_waits_in_a_queue_is_driven_here_when_the_study_is_resumed_without_one(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed(monkeypatch, workspace, folder, "default")
    (left,) = Study.called(workspace, "far").runs
    study = tuned(workspace, folder, None)
    assert [run.status for run in study.runs] == [Status.COMPLETED] * 2
    assert study.runs[0].id == left.id
    assert workspace.store.queues.entry(left.id) is None


def test_what_waits_in_a_queue_is_moved_when_the_study_is_resumed_with_another(
    workspace: Workspace, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed(monkeypatch, workspace, folder, "default")
    with agent(home):
        study = tuned(workspace, folder, "services")
    assert [(run.status, run.task.queue) for run in study.runs] == [(Status.COMPLETED, "services")] * 2


def test_a_trial_that_agents_have_at_hand_is_waited_for_when_the_study_is_resumed_without_a_queue(
    workspace: Workspace, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed(monkeypatch, workspace, folder, "services")
    (left,) = Study.called(workspace, "far").runs
    other = Liveness(workspace.store)
    assert other.claim(lease_of(left.id))

    def end() -> None:
        wait_until(lambda: len(Study.called(workspace, "far").runs) == 1 and waited.is_set(), "the study to wait")
        other.release(lease_of(left.id))
        with agent(home):
            left.wait(60)

    waited = threading.Event()
    drive = QueuedTrial.drive

    def told(self: QueuedTrial, params: Mapping[str, Any]) -> Task:
        waited.set()
        return drive(self, params)

    monkeypatch.setattr(QueuedTrial, "drive", told)
    thread = threading.Thread(target=end)
    thread.start()
    study = tuned(workspace, folder, None)
    thread.join(60)
    assert waited.is_set()
    assert [run.status for run in study.runs] == [Status.COMPLETED] * 2


def test_a_trial_that_has_ended_need_not_be_stopped(workspace: Workspace, folder: Path) -> None:
    ran = queueing.quick.run(folder=str(folder), workspace=workspace)
    QueuedTrial(workspace, ran.task, None, say=lambda said: None, is_ending=lambda: False).stop(
        Status.ABORTED, "the study was interrupted"
    )
    assert ran.status is Status.COMPLETED


def test_a_trial_is_pruned_by_what_a_step_of_its_agent_gives(workspace: Workspace, home: Path, folder: Path) -> None:
    """The result is in the store before the step that waits, and that no agent would come to the end of."""
    with agent(home):
        study = optimize(
            queueing.looking,
            {"slope": Float(1, 2), "folder": str(folder)},
            n_trials=1,
            queue="services",
            prune_on="glance",
            pruner=optuna.pruners.ThresholdPruner(upper=0.5),
            executor="local",
            workspace=workspace,
            progress=False,
        )
        (run,) = study.runs
        assert (run.status, run.reason) == (Status.PRUNED, "pruned at glance step 0: result 1, by Threshold")
        (folder / "open").touch()
        steps = [task for task in workspace.store.tasks.children(run.id) if task.kind is Kind.STEP]
        wait_until(lambda: all(workspace.store.tasks.status(step.id).finished for step in steps), "the step's end")
