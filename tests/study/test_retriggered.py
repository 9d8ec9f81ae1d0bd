"""Trials whose pipelines ask for further attempts of themselves: each is one trial."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import agent
from engine.contract import eventually
from samples import retriggered

from hpo_pipelines import Float, Status, Study, Workspace, optimize
from hpo_pipelines.accounting import accounting
from hpo_pipelines.study import resume
from hpo_pipelines.study.imported import Pinned
from hpo_pipelines.study.rebuilt import rebuilt

SPACE = {"lr": Float(0.5, 0.9)}


@pytest.fixture
def workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("HPO_EXECUTOR", "inline")
    with Workspace() as opened:
        yield opened


def studied(workspace: Workspace, pipeline: Any = retriggered.tuned, objective: str = "auc", **options: Any) -> Study:
    options = {"n_trials": 3, "seed": 1, "space": SPACE, **options}
    return optimize(pipeline, objective=objective, workspace=workspace, progress=False, **options)


def check(study: Study) -> None:
    trials = study.trials
    assert study.status is Status.COMPLETED
    assert [trial.number for trial in trials] == [0, 1, 2]
    for trial in trials:
        assert trial.run.attempt >= 2
        assert trial.value == trial.run.value["auc"] >= 0.8
        began = trial.run.attempts[0]
        assert trial.params == began.params
        assert 0.5 <= trial.params["lr"] <= 0.9
        assert trial.run.params["lr"] < 0.5
        assert began.task.study == study.id
        assert began.task.trial is None
    assert study.best_params == {"lr": study.best_trial.params["lr"]}
    assert study.workspace.store.studies.counts(study.id) == {"completed": 3}
    assert study.workspace.store.check() == []


def test_a_trial_has_the_value_of_its_last_attempt_and_the_cost_of_all(workspace: Workspace) -> None:
    study = studied(workspace)
    check(study)
    runs = [run for trial in study.trials for run in trial.run.attempts]
    assert len(runs) > 2 * len(study.trials)
    whole = accounting(workspace.store, *(run.task for run in runs))
    assert study.accounting.executions == whole.executions
    assert study.accounting.spent == pytest.approx(whole.spent)
    frame = study.trials_dataframe()
    assert list(frame["value"]) == [trial.value for trial in study.trials]
    assert list(frame["attempts"]) == [trial.run.attempt for trial in study.trials]
    anew = rebuilt(study.runs, Pinned(study.space, study.goals), name="anew")
    assert [trial.params for trial in anew.trials] == [{"lr": trial.params["lr"]} for trial in study.trials]
    assert [trial.value for trial in anew.trials] == [trial.value for trial in study.trials]


def test_the_cost_of_all_attempts_counts_against_the_limit(workspace: Workspace) -> None:
    study = studied(workspace, n_trials=50, max_compute=1e-9)
    assert study.stopped_by == "max_compute"
    assert len(study.trials) == 1


def test_a_trial_that_may_have_no_further_attempt_fails_once(workspace: Workspace) -> None:
    study = studied(workspace, space={**SPACE, "most": 2, "target": 0.99}, n_trials=20, max_failures=2)
    assert study.stopped_by == "max_failures"
    assert [trial.status for trial in study.trials] == [Status.FAILED, Status.FAILED]
    assert [trial.run.attempt for trial in study.trials] == [2, 2]


@pytest.mark.integration
def test_agents_drive_the_attempts_of_trials(workspace: Workspace, home: Path) -> None:
    with agent(home):
        study = studied(workspace, queue="services")
    check(study)
    assert workspace.store.queues.counts() == {}


@pytest.mark.integration
def test_repeats_that_are_retriggered_count_once_each(workspace: Workspace) -> None:
    study = studied(workspace, repeats={"rows": [2, 3]}, n_trials=2)
    for trial in study.trials:
        assert len(trial.repeats) == 2
        assert all(run.attempt >= 2 for run in trial.repeats)
        assert trial.value == pytest.approx(trial.repeats[0].value["auc"])
        assert trial.std == 0.0


@pytest.mark.integration
def test_a_study_goes_on_in_the_attempt_that_was_under_way(workspace: Workspace, folder: Path) -> None:
    """Aborting the trial aborts that attempt, and resuming the study resumes it."""
    gate = folder / "gate"

    def stop(progress: Any) -> None:
        if progress.running and not (folder / "asked").exists():
            (folder / "asked").touch()
            threads.append(begin())

    import threading

    from hpo_pipelines.study.requests import stop as ask

    threads: list[threading.Thread] = []

    def begin() -> threading.Thread:
        def wait() -> None:
            eventually(lambda: (folder / "gate.began").exists(), 60)
            ask(Study.called(workspace, "gated"), abort=True)

        thread = threading.Thread(target=wait)
        thread.start()
        return thread

    study = optimize(
        retriggered.gated, {"tries": [1], "gate": str(gate)}, workspace=workspace, n_trials=1, name="gated",
        executor="local", progress=stop,
    )  # fmt: skip
    threads[0].join(60)
    (left,) = study.runs
    assert (study.status, left.status, left.attempt) == (Status.ABORTED, Status.ABORTED, 2)
    gate.touch()
    resumed = resume(workspace, study.task, progress=False)
    (trial,) = resumed.trials
    assert (trial.run.id, trial.status, trial.value, trial.params["tries"]) == (left.id, Status.COMPLETED, 2.0, 1)
    assert len(workspace.runs()) == 2
