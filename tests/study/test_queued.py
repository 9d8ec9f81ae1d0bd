"""Studies whose trials agents drive."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from samples import queueing
from services import wait_until

from hpo_pipelines import Float, Status, Workspace, optimize
from hpo_pipelines.agent import Agent
from hpo_pipelines.errors import ConfigError
from hpo_pipelines.study import Study
from hpo_pipelines.study.progress import Progress
from hpo_pipelines.types import Kind


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "ran"
    path.mkdir()
    return path


@pytest.fixture
def workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("HPO_EXECUTOR", "inline")
    with Workspace() as opened:
        yield opened


@contextmanager
def agent(home: Path) -> Iterator[Agent]:
    """An agent with a workspace of its own, as another process has it."""
    with Workspace(home=home) as place:
        taking = Agent(place, ["services"])
        thread = threading.Thread(target=taking.run)
        thread.start()
        try:
            yield taking
        finally:
            taking.drain()
            thread.join(60)


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
