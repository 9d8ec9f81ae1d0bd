"""What a study is planned to execute, against what it executes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from samples import reached

from hpo_pipelines import Categorical, Float, Int, Workspace, optimize, plan_study
from hpo_pipelines.errors import ParameterError, SpaceError, StudyError
from hpo_pipelines.study import Study
from hpo_pipelines.study.planned import Range, StudyPlan
from search_spaces import Space

GRID = {"rows": Int(20, 21), "k": Int(1, 2), "pca": Categorical([True, False]), "lr": Categorical([0.25, 0.5])}


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


def executions(plan: StudyPlan) -> dict[str, float]:
    return {step.step: step.executions.expected for step in plan.steps}


def run(workspace: Workspace, space: Any, **options: Any) -> Study:
    given = {"pipeline": reached.chain, "executor": "inline", "progress": False, **options}
    return optimize(given.pop("pipeline"), space, workspace=workspace, **given)


def test_of_a_grid_every_execution_is_known(workspace: Workspace) -> None:
    plan = plan_study(reached.chain, GRID, sampler="grid", n_jobs=2, workspace=workspace)
    assert plan.exact
    assert (plan.n_trials, plan.n_jobs, plan.rounds, plan.stops) == (16, 2, 1, {})
    assert plan.untimed == ("load", "shrink", "fit", "evaluate")
    assert executions(plan) == {"load": 2, "shrink": 4, "fit": 12, "evaluate": 12}
    assert {step.step: step.calls.expected for step in plan.steps} == {
        "load": 16, "shrink": 8, "fit": 16, "evaluate": 16,
    }  # fmt: skip
    assert workspace.store.events.last() == 0  # nothing was recorded
    study = run(workspace, GRID, sampler="grid")
    compared = study.plan_comparison()
    went = {step.step: (step.executions, step.reused) for step in compared.steps}
    # shrink gives min(data, k), so that there is less to fit than different inputs say.
    assert went == {"load": (2, 14), "shrink": (4, 4), "fit": (8, 8), "evaluate": (8, 8)}
    assert compared.trials == 16
    assert compared.plan == plan
    again = plan_study(reached.chain, GRID, sampler="grid", workspace=workspace)
    assert set(executions(again).values()) == {0}
    assert (again.seconds, again.wall) == (Range(0, 0, 0), Range(0, 0, 0))
    assert again.untimed == ()


def test_an_estimate_has_a_range_and_says_on_what_it_rests(workspace: Workspace) -> None:
    space = {"rows": Categorical([20, 30]), "k": Int(1, 4), "pca": Categorical([True, False]), "lr": Float(0.1, 1)}
    plan = plan_study(reached.chain, space, n_trials=12, n_jobs=2, sampler="random", seed=3, workspace=workspace)
    assert not plan.exact
    assert (plan.sampler, plan.rounds) == ("random", 10)
    planned = {step.step: step.executions for step in plan.steps}
    assert planned["load"].high <= 3  # the base's rows, and two values
    assert planned["shrink"].low < planned["shrink"].high
    assert planned["fit"].expected == 12
    compared = run(workspace, space, n_trials=12, sampler="random", seed=1).plan_comparison()
    for step in compared.steps:
        assert step.planned is not None
        assert step.executions <= step.planned.executions.high + 2
    assert compared.record()["plan"] == plan.record()


def test_time_is_that_of_recorded_executions_on_so_many_workers(workspace: Workspace) -> None:
    run(workspace, {"lr": 0.75}, sampler="grid")
    space = {"lr": Categorical([0.25, 0.5, 0.6, 0.7])}
    one, four = (
        plan_study(reached.chain, space, sampler="grid", n_jobs=jobs, workers=jobs, workspace=workspace)
        for jobs in (1, 4)
    )
    assert executions(one) == {"load": 0, "shrink": 0, "fit": 4, "evaluate": 4}
    assert one.untimed == ()
    assert one.seconds.is_certain
    assert one.seconds.expected == pytest.approx(one.wall.expected)
    assert four.wall.expected == pytest.approx(one.wall.expected / 4)


def test_repeats_and_conditions_and_constraints_are_planned(workspace: Workspace) -> None:
    space = Space({"pca": Categorical([True, False]), "k": {"low": 1, "high": 3, "type": "int", "when": {"pca": True}}})
    plan = plan_study(reached.chain, space, sampler="grid", repeats={"rows": [5, 6]}, workspace=workspace)
    assert plan.n_trials == 4
    assert executions(plan)["chain/load"] == executions(plan)["chain.2/load"] == 1
    assert executions(plan)["chain.2/shrink"] == 3
    narrow = Space({"rows": Int(1, 4), "k": Int(1, 4)}, constraints=["k >= rows"])
    assert plan_study(reached.chain, narrow, sampler="grid", workspace=workspace).n_trials == 10


def test_what_is_decided_by_unknown_outcomes_is_said(workspace: Workspace) -> None:
    plan = plan_study(reached.looping, {"rows": Int(1, 3)}, sampler="grid", workspace=workspace)
    assert not plan.exact
    assert executions(plan) == {"load": 3}
    assert list(plan.stops.values()) == [1.0]
    assert "not known before it has run" in next(iter(plan.stops))


def test_trials_that_reuse_nothing_execute_every_call(workspace: Workspace) -> None:
    plan = plan_study(reached.chain, GRID, sampler="grid", reuse=False, workspace=workspace)
    assert executions(plan) == {"load": 16, "shrink": 8, "fit": 16, "evaluate": 16}


def test_a_plan_goes_to_the_study_over_the_same_space_and_is_read_back(workspace: Workspace) -> None:
    plan_study(reached.chain, {"lr": Float(0.1, 1)}, n_trials=3, workspace=workspace)
    other = run(workspace, {"k": Int(1, 2)}, n_trials=1)
    with pytest.raises(StudyError, match="was not planned before it began: hpo optimize … --plan"):
        other.plan_comparison()
    study = run(workspace, {"lr": Float(0.1, 1)}, n_trials=2)
    assert study.plan_comparison().plan.n_trials == 3
    plan = study.plan_comparison().plan
    assert StudyPlan.recorded(plan.record()) == plan


def test_what_cannot_be_planned_is_refused(workspace: Workspace) -> None:
    space = {"lr": Float(0.1, 1)}
    with pytest.raises(StudyError, match="how many trials"):
        plan_study(reached.chain, space, workspace=workspace)
    with pytest.raises(SpaceError, match="no parameter 'lrr'"):
        plan_study(reached.chain, {"lrr": Float(0.1, 1)}, n_trials=3, workspace=workspace)
    with pytest.raises(StudyError, match="there are"):
        plan_study(reached.chain, space, n_trials=3, sampler="gird", workspace=workspace)
    with pytest.raises((SpaceError, ParameterError), match="rows"):
        plan_study(reached.chain, {"rows": Categorical(["many", "few"])}, n_trials=3, workspace=workspace)


def test_trials_that_raise_are_planned_as_far_as_they_go(workspace: Workspace) -> None:
    plan = plan_study(reached.checked, {"rows": Int(0, 3)}, sampler="grid", workspace=workspace)
    assert plan.exact
    assert executions(plan) == {"load": 3, "shrink": 3}
    assert plan.stops == {"the body raises ValueError: 0 rows are too few": 0.25}
