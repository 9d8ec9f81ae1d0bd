"""Studies that begin with trials that were run elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from samples import bodies, studied

from hpo_pipelines import Categorical, Float, Int, StudyError, TaskNotFound, Workspace, optimize
from hpo_pipelines.study import Analysis, Study, resume
from hpo_pipelines.study.imported import Imported
from hpo_pipelines.study.keeping import delete
from hpo_pipelines.study.observed import StudyRecords
from hpo_pipelines.study.reuse import Stages, Standing
from search_spaces import Space


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


def study(workspace: Workspace, name: str, **options: Any) -> Study:
    space = options.pop("space", {"x": Float(0, 1), "y": Categorical([0.0, 2.5])})
    options = {"objective": "fitted.auc", "n_trials": 4, "executor": "inline", "seed": 0, **options}
    return optimize(studied.weighed, space, progress=False, workspace=workspace, name=name, **options)


def test_a_new_study_begins_with_the_trials_of_another(workspace: Workspace) -> None:
    old = study(workspace, "old")
    new = study(workspace, "new", from_study="old", n_trials=2)
    brought, own = new.trials[:4], new.trials[4:]
    assert [trial.origin for trial in brought] == [f"trial {number} of old" for number in range(4)]
    assert [trial.run.id for trial in brought] == [run.id for run in old.runs]
    assert [trial.values for trial in brought] == [trial.values for trial in old.trials]
    assert [(trial.number, trial.origin) for trial in own] == [(4, None), (5, None)]
    assert [run.task.trial for run in new.runs] == [4, 5]
    # The base is one of those that were brought in, and a seeded sampler does not begin anew.
    assert not {trial.params["x"] for trial in own} & {trial.params["x"] for trial in brought}
    told = new.optuna_study.get_trials(deepcopy=False)
    theirs = old.optuna_study.get_trials(deepcopy=False)
    assert [trial.distributions for trial in told[:4]] == [trial.distributions for trial in theirs]
    assert [trial.params for trial in told[:4]] == [trial.params for trial in theirs]
    assert new.best_trial.value == max(trial.value or 0 for trial in new.trials)
    assert Analysis(new).values == {trial.number: trial.values for trial in new.trials}
    assert set(new.trials_dataframe()["origin"].dropna()) == {trial.origin for trial in brought}
    assert str(new.imported) == "4 trials brought in"


def test_the_best_says_where_it_was_run_and_reaches_a_target(workspace: Workspace) -> None:
    best = study(workspace, "old").best_trial
    said: list[str] = []
    new = optimize(
        studied.weighed, {"x": Float(0, 1), "y": 0.0}, "fitted.auc", n_trials=9, target=best.value, from_study=["old"],
        workspace=workspace, executor="inline", name="reached", progress=lambda progress: said.append(progress.note),
    )  # fmt: skip
    assert new.stopped_by in ("target", "n_trials")
    if best.params["y"] == 0.0:
        assert new.runs == []
        assert new.best_trial.origin == f"trial {best.number} of old"
    assert new.imported.left_out.keys() <= {"with another y"}


def test_what_lies_outside_or_differs_elsewhere_is_left_out_and_counted(workspace: Workspace) -> None:
    old = study(workspace, "old", n_trials=8)
    low = [trial for trial in old.trials if trial.params["x"] <= 0.6]
    new = study(workspace, "low", space={"x": Float(0, 0.6)}, from_study="old", n_trials=1)
    same = [trial for trial in low if trial.params["y"] == 0.0]
    assert len(new.imported.runs) == len(same)
    assert sum(new.imported.left_out.values()) == 8 - len(same)
    assert new.imported.left_out["with another y"] == sum(trial.params["y"] != 0.0 for trial in old.trials)
    other = study(workspace, "another", objective="fitted.size", from_study="old", n_trials=1)
    assert [trial.value for trial in other.trials[:8]] == [
        10 * trial.params["x"] + trial.params["y"] for trial in old.trials
    ]
    none = study(workspace, "none", objective="kept", from_study="old", n_trials=1, constraints="fitted.nope <= 1")
    assert none.imported.left_out == {"without the objective": 8}


def test_past_runs_are_trials(workspace: Workspace) -> None:
    one = studied.weighed.run(x=0.25, executor="inline", workspace=workspace)
    two = studied.weighed.run(x=0.75, y=2.5, executor="inline", workspace=workspace)
    studied.halved.run(x=1.0, executor="inline", workspace=workspace)
    workspace.store.tasks.update(two.id, tags=("good",))
    everything = study(workspace, "all", from_runs="all", n_trials=1)
    assert [trial.origin for trial in everything.trials] == [one.label, two.label, None]
    assert study(workspace, "tag", from_runs="tag:good", n_trials=1).trials[0].origin == two.label
    named = study(workspace, "named", from_runs=[one.label, two.id, one.id], n_trials=1)
    assert named.imported.runs == (one.id, two.id)
    both = study(workspace, "both", from_study="all", from_runs="all", n_trials=1)
    assert len(set(both.imported.runs)) == len(both.imported.runs) == 5
    with pytest.raises(TaskNotFound, match="tag 'bad'"):
        study(workspace, "never", from_runs="tag:bad")
    with pytest.raises(TaskNotFound, match="999"):
        study(workspace, "never", from_runs="weighed#999")
    with pytest.raises(StudyError, match="no study called 'nowhere'"):
        study(workspace, "never", from_study="nowhere")
    with pytest.raises(StudyError, match="a name, or a list"):
        study(workspace, "never", from_study=[""])
    with pytest.raises(StudyError, match="takes every point of the space once"):
        study(workspace, "never", from_runs="all", sampler="grid", space={"y": Categorical([0.0, 1.0])})
    with pytest.raises(StudyError, match="no study called"):
        Study.called(workspace, "never")


def test_it_goes_on_with_those_that_it_began_with(workspace: Workspace) -> None:
    study(workspace, "old")
    new = study(workspace, "new", from_study="old", n_trials=1)
    assert len(study(workspace, "new", from_study="old", n_trials=2).trials) == 6
    assert len(resume(workspace, new.task, n_trials=3, progress=False).trials) == 7
    with pytest.raises(StudyError, match="has begun already"):
        study(workspace, "new", from_runs="all", n_trials=4)


def test_optunas_side_can_be_made_again(workspace: Workspace, tmp_path: Path) -> None:
    study(workspace, "old")
    new = study(workspace, "new", from_study="old", n_trials=2)
    known = new.optuna_study.get_trials()
    with Workspace(workspace.settings.store, artifacts=workspace.settings.artifacts, home=tmp_path / "two") as two:
        there = Study.called(two, "new")
        for mine, theirs in zip(known, there.optuna_study.get_trials(), strict=True):
            assert (mine.number, mine.state, mine.params, mine.values) == (
                theirs.number, theirs.state, theirs.params, theirs.values,
            )  # fmt: skip
        assert [trial.origin for trial in there.trials] == [trial.origin for trial in new.trials]
        assert len(resume(two, there.task, n_trials=4, progress=False).trials) == 8
    (workspace.home / "optuna" / f"{new.id}.journal").write_bytes(b"")
    again = resume(workspace, Study.called(workspace, "new").task, n_trials=5, progress=False)
    assert [trial.number for trial in again.trials] == list(range(9))


def test_a_run_that_is_deleted_leaves_its_number(workspace: Workspace) -> None:
    one = studied.weighed.run(x=0.25, executor="inline", workspace=workspace)
    new = study(workspace, "new", from_runs=one.label, n_trials=2)
    delete(workspace, one.id)
    assert [trial.number for trial in new.trials] == [1, 2]
    (workspace.home / "optuna" / f"{new.id}.journal").write_bytes(b"")
    again = resume(workspace, new.task, n_trials=3, progress=False)
    assert [trial.number for trial in again.trials] == [1, 2, 3]


def test_samplers_know_what_trials_from_elsewhere_have_computed(workspace: Workspace) -> None:
    one = studied.weighed.run(x=0.25, executor="inline", workspace=workspace)
    new = study(workspace, "new", from_runs=one.label, n_trials=1)
    trial = new.optuna_study.get_trials(deepcopy=False)[0]

    def records() -> StudyRecords:
        found = StudyRecords(workspace.store, new.id, new.space, Stages({"fitted": ["x", "y"]}))
        found.stages([trial])
        return found

    assert records().standing(trial, "fitted") is Standing.KEPT
    assert records().seconds(trial)["fitted"] == pytest.approx(one.steps["fitted"].task.seconds)
    delete(workspace, one.id)
    assert records().standing(trial, "fitted") is Standing.GONE


def test_pruned_trials_are_ranked_by_what_they_reported(workspace: Workspace, folder: Path) -> None:
    options: dict[str, Any] = {"workspace": workspace, "executor": "inline", "progress": False, "seed": 1}
    space = {"x": Float(0, 1), "folder": str(folder)}
    optimize(studied.staged, space, "trained.score", pruner="median", n_trials=9, name="old", **options)
    new = optimize(studied.staged, space, "trained.score", n_trials=1, from_study="old", name="new", **options)
    told = new.optuna_study.get_trials(deepcopy=False)[:9]
    assert {trial.state for trial in told} == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in told:
        assert trial.intermediate_values
        assert trial.intermediate_values[0] == trial.params["x"]


def test_conditions_are_those_of_the_space(workspace: Workspace) -> None:
    space = Space({"x": Int(1, 9), "y": {"low": 1, "high": 9, "when": {"x": [1, 2, 3]}}})
    options: dict[str, Any] = {"workspace": workspace, "executor": "inline", "progress": False, "seed": 1}
    assert bodies.simple.parameters.names
    old = optimize(studied.weighed, space, "fitted.auc", n_trials=6, name="old", **options)
    new = optimize(studied.weighed, space, "fitted.auc", n_trials=1, from_study="old", name="new", **options)
    told = new.optuna_study.get_trials(deepcopy=False)
    assert [set(trial.params) for trial in told[:6]] == [
        {"x", "y"} if trial.params["x"] <= 3 else {"x"} for trial in old.trials
    ]


def test_what_is_recorded_goes_round() -> None:
    found = Imported(("a", "b"), {"failed": 2}, {"from_study": ["old"], "from_runs": []})
    assert Imported.recorded(found.as_params()) == found
    assert str(found) == "2 trials brought in, 2 left out: 2 failed"
    assert Imported.recorded({}) == Imported()
    assert Imported().as_params() == {}
