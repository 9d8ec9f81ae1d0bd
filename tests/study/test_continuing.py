"""Pruned trials that are continued."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from agents import agent
from samples import studied

from hpo_pipelines import Categorical, Status, StudyError, Workspace, optimize
from hpo_pipelines.study import Study, resume


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


def pruned(workspace: Workspace, folder: Path, **options: Any) -> Study:
    """A study whose trials with x=0.1 are pruned after a look, before the expensive step."""
    options = {"n_trials": 4, "executor": "inline", **options}
    return optimize(
        studied.staged, {"x": Categorical([0.9, 0.1]), "folder": str(folder)}, prune_on="checked.auc",
        pruner=optuna.pruners.ThresholdPruner(lower=0.5), sampler=optuna.samplers.RandomSampler(1),
        progress=False, workspace=workspace, name="pruned", **options,
    )  # fmt: skip


def again(workspace: Workspace, folder: Path, n_trials: int) -> Study:
    return pruned(workspace, folder, n_trials=n_trials)


def test_a_pruned_trial_goes_on_as_a_new_one_that_nothing_prunes(workspace: Workspace, folder: Path) -> None:
    found = pruned(workspace, folder)
    victim = next(trial for trial in found.trials if trial.status is Status.PRUNED)
    assert found.continue_trial(victim.number) is False
    assert found.task.params["asked"]["n_trials"] == 5
    last = again(workspace, folder, 5).trials[-1]
    assert (last.number, last.continues, last.status) == (4, victim.number, Status.COMPLETED)
    assert (last.params, last.value) == (victim.params, 0.1)
    assert last.run.task.cloned_from == victim.run.id
    assert (folder / "prepared").read_text() == "once\n"  # what the pruned one has computed is there
    assert [trial.continues for trial in found.trials[:-1]] == [None] * 4
    with pytest.raises(StudyError, match="is continued by trial 4"):
        found.continue_trial(victim.number)


def test_only_a_pruned_trial_is_continued_and_once(workspace: Workspace, folder: Path) -> None:
    found = pruned(workspace, folder)
    done = next(trial for trial in found.trials if trial.status is Status.COMPLETED)
    victim = next(trial for trial in found.trials if trial.status is Status.PRUNED)
    with pytest.raises(StudyError, match="is completed, and only a pruned one"):
        found.continue_trial(done.number)
    with pytest.raises(StudyError, match="has no trial 99 with a run of its own: its trials go up to 3"):
        found.continue_trial(99)
    found.continue_trial(victim.number)
    with pytest.raises(StudyError, match="is to be continued already"):
        found.continue_trial(victim.number)
    assert found.task.params["asked"]["n_trials"] == 5


def climbing(workspace: Workspace, folder: Path, **options: Any) -> Study:
    options = {"n_trials": 4, "executor": "inline", "name": "climbing", **options}
    return optimize(
        studied.rising, {"x": Categorical([0.9, 0.1]), "folder": str(folder)}, "auc", seed=1,
        fidelity={"param": "rows", "min": 10, "max": 90}, progress=False, workspace=workspace, **options,
    )  # fmt: skip


def test_of_a_study_with_fidelity_it_climbs_to_the_top(workspace: Workspace, folder: Path) -> None:
    found = climbing(workspace, folder)
    victim = next(trial for trial in found.trials if trial.status is Status.PRUNED)
    found.continue_trial(victim.number)
    last = resume(workspace, found.task, progress=False).trials[-1]
    assert [rung.fidelity for rung in last.rungs] == [10, 30, 90]
    assert last.value == victim.params["x"] * 90
    assert list(found.trials_dataframe()["continues"].dropna()) == [victim.number]


def test_agents_do_not_prune_it_either(
    tmp_path: Path, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_EXECUTOR", "inline")
    with Workspace() as workspace, agent(home):
        found = climbing(workspace, folder, queue="services", executor=None)
        victim = next(trial for trial in found.trials if trial.status is Status.PRUNED)
        found.continue_trial(victim.number)
        last = resume(workspace, found.task, progress=False).trials[-1]
        assert (last.continues, len(last.rungs), last.status) == (victim.number, 3, Status.COMPLETED)
