"""Studies whose trials climb rungs of a pipeline's parameter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agents import agent
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState
from samples import studied

from hpo_pipelines import Categorical, Float, SpaceError, Status, StudyError, Workspace, optimize
from hpo_pipelines.study import Study, resume
from hpo_pipelines.study.fidelity import parsed
from hpo_pipelines.task import Metric
from hpo_pipelines.types import new_id

FIDELITY = {"param": "rows", "min": 10, "max": 90, "eta": 3}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("fidelity")) as opened:
        yield opened


def study(workspace: Workspace, folder: Path, name: str, **options: Any) -> Study:
    space = {"x": options.pop("x", Float(0, 1)), "folder": str(folder)}
    options = {"objective": "grown.auc", "n_trials": 6, "fidelity": FIDELITY, "executor": "inline", **options}
    return optimize(studied.rising, space, progress=False, seed=0, workspace=workspace, name=name, **options)


def test_trials_climb_as_long_as_they_are_among_the_best(workspace: Workspace, folder: Path) -> None:
    found = study(workspace, folder, "climbs")
    climbed = {trial.number: [rung.fidelity for rung in trial.rungs] for trial in found.trials}
    assert climbed[0] == [10, 30, 90]  # the best of one
    for trial in found.trials:
        assert [rung.value for rung in trial.rungs] == [trial.params["x"] * rung.fidelity for rung in trial.rungs]
        assert (trial.status is Status.COMPLETED) == (len(trial.rungs) == 3)
        assert trial.repeats == []
        if trial.status is Status.COMPLETED:
            assert trial.value == trial.params["x"] * 90
        else:
            at = 10 * 3 ** (len(trial.rungs) - 1)
            assert f"pruned at rows={at}: auc {trial.params['x'] * at:.6g} not in the top 1/3" in str(trial.run.reason)
    assert (folder / "prepared").read_text() == "once\n"
    told = found.optuna_study.get_trials(deepcopy=False)
    assert {trial.state for trial in told} == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in told:
        assert trial.intermediate_values == {at: trial.params["x"] * at for at in climbed[trial.number]}


def test_agents_decide_as_well(tmp_path: Path, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_EXECUTOR", "inline")
    with Workspace() as workspace, agent(home):
        found = study(workspace, folder, "far", x=Categorical([0.9, 0.1]), n_trials=6, queue="services", executor=None)
        climbed = [(trial.params["x"], len(trial.rungs), trial.status) for trial in found.trials]
        assert climbed[0][1:] == (3, Status.COMPLETED)
        for x, rungs, status in climbed[1:]:
            assert (rungs, status) in ((3, Status.COMPLETED), (1, Status.PRUNED))
            assert x == 0.9 or status is Status.PRUNED
        told = found.optuna_study.get_trials(deepcopy=False)
        assert [sorted(trial.intermediate_values) for trial in told] == [
            [10, 30, 90][:rungs] for _, rungs, _ in climbed
        ]


def test_what_comes_later_does_not_unsay_a_promotion(workspace: Workspace, folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):  # at the second rung
        study(workspace, folder, "broken", x=Categorical([14.0]), n_trials=1)
    found = Study.called(workspace, "broken")
    (interrupted,) = found.runs
    better = replace(interrupted.task, id=new_id(), number=None, trial=1, status=Status.ABORTED)
    workspace.store.metrics.add([Metric(workspace.store.tasks.create(better).id, "grown.auc", 1e6, 10, 1.0)])
    (folder / "cured").touch()
    found = resume(workspace, found.task, progress=False)
    assert [rung.fidelity for rung in found.trials[0].rungs] == [10, 30, 90]
    assert found.trials[0].run.id == interrupted.id
    assert (folder / "grown").read_text().splitlines()[:3] == ["14 10", "14 30", "14 90"]


def test_several_trials_climb_at_a_time(workspace: Workspace, folder: Path) -> None:
    found = study(workspace, folder, "many", n_trials=20, n_jobs=4, executor="local")
    assert {trial.status for trial in found.trials} == {Status.COMPLETED, Status.PRUNED}
    for rung in (10, 30):
        there = [trial for trial in found.trials if rung in [each.fidelity for each in trial.rungs]]
        best = max(there, key=lambda trial: trial.params["x"])
        assert best.rungs[-1].fidelity == 90  # the best of a rung always goes on
        assert len([trial for trial in there if trial.rungs[-1].fidelity > rung]) >= len(there) // 3


def test_brackets_begin_on_different_rungs(workspace: Workspace, folder: Path) -> None:
    found = study(workspace, folder, "brackets", n_trials=25, fidelity={**FIDELITY, "brackets": 3})
    begun = {trial.rungs[0].fidelity for trial in found.trials}
    assert begun == {10, 30, 90}
    assert all(trial.status is Status.COMPLETED for trial in found.trials if trial.rungs[0].fidelity == 90)


def test_a_share_is_a_fidelity_and_need_have_no_default(workspace: Workspace) -> None:
    found = optimize(
        studied.shares, {"x": Float(0, 1)}, n_trials=5, fidelity={"param": "share", "min": 0.1, "max": 1},
        workspace=workspace, executor="inline", name="shares", progress=False, seed=1, direction="minimize",
    )  # fmt: skip
    assert [rung.fidelity for rung in found.trials[0].rungs] == pytest.approx([0.1, 0.3, 1])
    assert found.trials[0].value == found.trials[0].params["x"] / 4
    assert found.best_params["share"] == 1
    assert set(found.trials_dataframe()["fidelity"]) <= set(found.fidelity["values"])
    assert "pruned at share=0.1: value " in str(next(run.reason for run in found.runs if run.status is Status.PRUNED))


def test_it_is_pinned_and_goes_on_with_what_it_has(workspace: Workspace, folder: Path) -> None:
    found = study(workspace, folder, "pinned", n_trials=3)
    with pytest.raises(StudyError, match="another fidelity"):
        study(workspace, folder, "pinned", n_trials=4, fidelity={**FIDELITY, "eta": 9})
    more = resume(workspace, found.task, n_trials=6, progress=False)
    assert all(trial.rungs for trial in more.trials)
    assert study(workspace, folder, "pinned", n_trials=7).trials[6].rungs[0].fidelity == 10


def test_another_machine_knows_the_rungs(tmp_path: Path, folder: Path) -> None:
    with Workspace(home=tmp_path / "one") as one:
        here = study(one, folder, "shown")
        with Workspace(one.settings.store, artifacts=one.settings.artifacts, home=tmp_path / "two") as two:
            there = Study.called(two, "shown").optuna_study
            for mine, theirs in zip(here.optuna_study.get_trials(), there.get_trials(), strict=True):
                assert (mine.state, mine.intermediate_values) == (theirs.state, theirs.intermediate_values)


@pytest.mark.parametrize(
    ("given", "rungs"),
    [
        ({"min": 1000, "max": 100000}, (1000, 3000, 9000, 27000, 100000)),  # 81000 would cost nearly as much as the top
        ({"min": 1, "max": 8, "eta": 2}, (1, 2, 4, 8)),
        ({"min": 5, "max": 6}, (5, 6)),
        ({"min": 1, "max": 100, "eta": 2.5}, (1, 2, 6, 16, 39, 100)),
        ({"min": 0.25, "max": 1, "eta": 2}, (0.25, 0.5, 1)),
    ],
)
def test_rungs_are_eta_times_as_much_each(given: dict[str, Any], rungs: tuple[float, ...]) -> None:
    found = parsed({"param": "n", **given})
    assert found is not None
    assert found.rungs == pytest.approx(rungs)
    assert [type(value) for value in found.rungs] == [type(value) for value in rungs]


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.floats(2, 10))
def test_law_rungs_rise_from_end_to_end(low: int, more: int, eta: float) -> None:
    found = parsed({"param": "n", "min": low, "max": low + more, "eta": eta})
    assert found is not None
    rungs = found.rungs
    assert (rungs[0], rungs[-1]) == (low, low + more)
    assert list(rungs) == sorted(set(rungs))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fidelity": {"param": "rows", "min": 10, "max": 10}}, "0 < min < max"),
        ({"fidelity": {"param": "rows", "min": 0, "max": 10}}, "0 < min < max"),
        ({"fidelity": {"param": "rows", "min": 10}}, "max is missing"),
        ({"fidelity": {"param": "rows", "min": "1", "max": 10}}, "min='1' is a number"),
        ({"fidelity": {"param": "rows", "min": 1, "max": float("inf")}}, "max=inf is a number"),
        ({"fidelity": {**FIDELITY, "eta": 1.5}}, "eta=1.5"),
        ({"fidelity": {**FIDELITY, "brackets": 0}}, "brackets=0"),
        ({"fidelity": {**FIDELITY, "brackets": 4}}, "there are 3 rungs: 10, 30, 90"),
        ({"fidelity": {**FIDELITY, "reduction": 3}}, "there is no 'reduction'"),
        ({"fidelity": "rows"}, "write {"),
        ({"fidelity": {"param": "x", "min": 0.1, "max": 1}}, "x is in the space"),
        ({"fidelity": {"param": "rows", "min": 0.5, "max": 10}}, "parameter 'rows' takes int"),
        ({"repeats": {"x": 2}}, "fidelity= and repeats="),
        ({"pruner": "median"}, "fidelity= and pruner="),
        ({"prune_on": "grown.auc"}, "fidelity= and prune_on="),
        ({"objective": ["grown.auc", "x"]}, "there are 2 objectives"),
    ],
)
def test_what_is_no_fidelity_leaves_no_study(
    workspace: Workspace, folder: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(StudyError, match=re.escape(said)):
        study(workspace, folder, "never", **options)
    with pytest.raises(StudyError, match="no study called"):
        Study.called(workspace, "never")


def test_a_misspelt_parameter_is_named(workspace: Workspace, folder: Path) -> None:
    with pytest.raises(SpaceError, match="Did you mean 'rows'"):
        study(workspace, folder, "never", fidelity={**FIDELITY, "param": "row"})
