"""Points that go first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from samples import studied

from hpo_pipelines import Categorical, Float, ParameterError, StudyError, Workspace, optimize
from hpo_pipelines.study import Study, resume


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("beginning")) as opened:
        yield opened


def study(workspace: Workspace, name: str, **options: Any) -> Study:
    space = options.pop("space", {"x": Float(0, 1), "y": Categorical([0.0, 2.5])})
    options = {"objective": "fitted.auc", "n_trials": 3, "executor": "inline", "seed": 0, **options}
    return optimize(studied.weighed, space, progress=False, workspace=workspace, name=name, **options)


def points(found: Study) -> list[tuple[float, float]]:
    return [(trial.params["x"], trial.params["y"]) for trial in found.trials]


def test_they_come_after_the_base_and_once(workspace: Workspace) -> None:
    given = [{"x": 0.25, "y": 2.5}, {"x": 0.125, "y": 0.0}]
    assert points(study(workspace, "first", enqueue=given)) == [(0.5, 0.0), (0.25, 2.5), (0.125, 0.0)]
    more = study(workspace, "first", enqueue=[*given, {"x": 0.75, "y": 0.0}], n_trials=4)
    assert points(more)[3:] == [(0.75, 0.0)]


def test_a_point_is_asked_of_a_study_by_name(workspace: Workspace) -> None:
    found = study(workspace, "asked", n_trials=1)
    assert found.enqueue(x=0.25, y=2.5) is False
    assert found.enqueue({"x": 0.75, "y": 0.0}) is False
    assert points(resume(workspace, found.task, progress=False))[1:] == [(0.25, 2.5), (0.75, 0.0)]


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"x": 0.5}, "y is missing"),
        ({"x": 7, "y": 0.0}, "x is Float(low=0.0, high=1.0), not 7"),
        ({"x": 0.5, "y": 1.0}, "y is Categorical"),
        ({"x": 0.5, "z": 1.0}, "'z' is not in it"),
        (3, "a mapping has a value for each name"),
    ],
)
def test_what_is_no_point_is_said(workspace: Workspace, point: Any, said: str) -> None:
    with pytest.raises(ParameterError) as error:
        study(workspace, "never", enqueue=[point])
    assert said in str(error.value)


def test_what_is_no_list_and_who_takes_no_points(workspace: Workspace) -> None:
    with pytest.raises(StudyError, match="a list of points"):
        study(workspace, "never", enqueue={"x": 0.5})
    with pytest.raises(StudyError, match="takes every point of the space once"):
        study(workspace, "never", enqueue=[{"y": 0.0}], sampler="grid", space={"y": Categorical([0.0, 1.0])})
    with pytest.raises(ParameterError, match=r"it violates x >= 0\.5"):
        study(workspace, "never", enqueue=[{"x": 0.1}], space={"x": Float(0, 1), "constraints": ["x >= 0.5"]})
    with pytest.raises(StudyError, match="no study called"):
        Study.called(workspace, "never")
