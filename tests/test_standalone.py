"""A component that runs alone is recorded, cloned, rerun and reused like any pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from samples import alone

from hpo_pipelines import DefinitionError, ParameterError, Workspace, component
from hpo_pipelines.standalone import standalone


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


def test_it_is_a_run_of_one_step_named_after_it(place: Workspace) -> None:
    run = alone.load.run(path="abc", workspace=place, executor="inline", project="retention", tags=["a"])
    assert (run.label, run.task.project, run.status, run.tags) == ("load#1", "retention", "completed", ("a",))
    assert run.params == {"path": "abc", "times": 1}
    assert run.value == "abc"
    assert run.metrics == {"load.length": 3.0}
    assert "loading abc" in run.steps["load"].console()
    assert place.get("load#1/load").why().verdict == "ran"


def test_named_outputs_are_those_of_the_run_and_stored_once(place: Workspace) -> None:
    run = alone.split.run(n=4, workspace=place, executor="inline")
    assert run.value == {"first": [0, 1], "second": [2, 3]}
    step = place.store.tasks.outputs(run.steps["split"].id)
    whole = place.store.tasks.outputs(run.id)
    assert {name.removeprefix("value."): ref.digest for name, ref in whole.items()} == {
        name: ref.digest for name, ref in step.items()
    }


def test_a_clone_and_a_rerun_have_the_recorded_code(place: Workspace) -> None:
    run = alone.load.run(path="abc", workspace=place, executor="inline")
    with Workspace(home=place.home) as another:  # which has not seen the component
        again = another.get(run.id).rerun()
        clone = another.get(run.id).clone(times=2).run(executor="inline")
        assert again.steps["load"].reused_from == run.steps["load"].id
        assert (clone.value, clone.task.cloned_from) == ("abcabc", run.id)


def test_a_step_of_a_pipeline_with_the_same_call_is_reused(place: Workspace) -> None:
    run = alone.loading.run(path="abc", workspace=place, executor="inline")
    single = alone.load.run(path="abc", workspace=place, executor="inline")
    assert single.steps["load"].reused_from == run.steps["load"].id


def test_a_component_inside_a_function_travels_by_value(place: Workspace) -> None:
    factor = 3

    @component
    def scaled(x: int) -> int:
        return factor * x

    run = scaled.run(x=2, workspace=place, executor="inline")
    assert run.value == 6
    with Workspace(home=place.home) as another:
        assert another.get(run.id).clone(x=5).run(executor="inline").value == 15


def test_its_source_is_kept_to_be_read(place: Workspace) -> None:
    captured = standalone(alone.load).captured()
    assert captured.entry == "samples.alone:load"
    assert b"loading" in captured.content


def test_outside_a_run_it_is_the_function() -> None:
    assert standalone(alone.load)(path="ab") == "ab"


def test_wrong_parameters_are_said_before_anything_runs(place: Workspace) -> None:
    with pytest.raises(ParameterError, match="load has no parameter 'pth'; did you mean 'path'"):
        alone.load.run(pth="x", workspace=place)
    with pytest.raises(ParameterError, match="a value that JSON can carry"):
        alone.weigh.run(thing=object(), workspace=place)
    assert place.runs() == []


def test_a_parameter_called_like_an_option_is_refused() -> None:
    with pytest.raises(DefinitionError, match="has a parameter called 'tags', which is an option of run"):
        standalone(alone.tagged)
