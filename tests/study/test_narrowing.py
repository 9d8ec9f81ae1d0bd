"""Spaces around the best trials of a study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from samples import studied

from hpo_pipelines import Categorical, Float, StudyError, Workspace, optimize
from hpo_pipelines.study import Study
from search_spaces import Fixed, Int, Space


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("narrowing")) as opened:
        yield opened


def study(workspace: Workspace, name: str, space: Any, **options: Any) -> Study:
    options = {"objective": "fitted.auc", "n_trials": 10, "executor": "inline", "seed": 0, **options}
    return optimize(studied.weighed, space, progress=False, workspace=workspace, name=name, **options)


def test_the_box_around_the_best(workspace: Workspace) -> None:
    found = study(workspace, "box", {"x": Float(0.1, 1, log=True), "y": Categorical([0.0, 1.0, 2.5])})
    best = sorted(found.trials, key=lambda trial: -(trial.value or 0))[:4]
    space = found.narrowed(0.4)
    xs, ys = [trial.params["x"] for trial in best], {trial.params["y"] for trial in best}
    assert space["x"] == Float(min(xs), max(xs), log=True)
    chosen = [y for y in (0.0, 1.0, 2.5) if y in ys]
    assert space["y"] == (Categorical(chosen) if len(chosen) > 1 else Fixed(chosen[0]))
    again = study(workspace, "narrower", space, from_study="box", n_trials=2)
    assert {trial.origin for trial in again.trials[:4]} == {f"trial {trial.number} of box" for trial in best}
    assert found.narrowed(1.0)["x"].contains(best[-1].params["x"])


def test_where_all_agree_it_is_fixed_and_what_cannot_hold_is_dropped(workspace: Workspace) -> None:
    space = Space({
        "x": Int(1, 9), "y": {"low": 0.0, "high": 4.0, "step": 0.5, "when": {"x": [1, 2, 3]}}
    }, constraints=["x >= 1", "y <= 4"])  # fmt: skip
    found = study(workspace, "agree", space, n_trials=20)
    best = max(trial.params["x"] for trial in found.trials)
    narrow = found.narrowed(2 / 20)
    assert max(narrow["x"].examples()) == best
    assert "y" not in narrow
    assert len(narrow.constraints) == 1
    low = optimize(
        studied.weighed, space, "fitted.auc", "minimize", n_trials=20, seed=0, workspace=workspace, executor="inline",
        name="low", progress=False,
    )  # fmt: skip
    ys = [trial.params["y"] for trial in sorted(low.trials, key=lambda trial: (trial.value or 0, trial.number))[:5]]
    assert all(low.narrowed(0.25)["y"].contains(y) for y in ys)
    assert set(low.narrowed(0.25)["y"].when["x"]) <= {1, 2, 3}


def test_of_several_objectives_the_front_is_best(workspace: Workspace) -> None:
    found = study(
        workspace, "front", {"x": Float(0, 1), "y": Float(0, 9)}, objective=["fitted.auc", "fitted.size"],
        direction=["maximize", "minimize"],
    )  # fmt: skip
    front = found.best_trials
    space = found.narrowed(max(2, len(front)) / 10)
    assert all(space["x"].contains(trial.params["x"]) for trial in front)


def test_too_few_trials_and_wrong_shares_are_refused(workspace: Workspace) -> None:
    found = study(workspace, "few", {"x": Float(0, 1)}, n_trials=5)
    with pytest.raises(StudyError, match=r"has 5 feasible completed trials, of which keep=0.2 leaves 1.*keep 0.21"):
        found.narrowed()
    for keep in (0, -1, 1.5):
        with pytest.raises(StudyError, match="above 0 and at most 1"):
            found.narrowed(keep)
    with pytest.raises(StudyError, match="run more trials"):
        study(workspace, "one", {"x": Float(0, 1)}, n_trials=1).narrowed()
