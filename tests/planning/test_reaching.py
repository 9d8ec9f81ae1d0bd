"""What is said to reach a step before anything runs, held against the keys of runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planning.conftest import calls
from samples import reached

from hpo_pipelines import Workspace
from hpo_pipelines.errors import ParameterError
from hpo_pipelines.planning import Cell, Evidence, Reach, reach
from hpo_pipelines.run import Run
from hpo_pipelines.types import Kind

line = st.tuples(st.sampled_from(reached.CALLS), st.integers(0, 7), st.integers(0, 7)).map(list)
programs = st.lists(line, min_size=1, max_size=5)
values = st.fixed_dictionaries(
    {
        "a": st.integers(0, 6),
        "b": st.integers(0, 6),
        "c": st.integers(0, 6),
        "on": st.booleans(),
        "mode": st.sampled_from(reached.Mode),
    }
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("reach")) as opened:
        yield opened


def keys(workspace: Workspace, run: Run) -> dict[str, str | None]:
    return {step.name: step.key for step in calls(workspace, run.task) if step.kind is Kind.STEP}


def sound(workspace: Workspace, program: list[Any], base: dict[str, Any], other: dict[str, Any]) -> None:
    """*No* is never said where changing the parameter alone changes the key of the step, or whether it is called."""
    known = {"program": program, **base}
    found = [reach(workspace, reached.many, known, params=list(base))]
    first = keys(workspace, workspace.run(reached.many, known, executor="inline"))
    found.append(reach(workspace, reached.many, known, params=list(base)))  # now that the body can look at outputs
    for name in base:
        changed = keys(workspace, workspace.run(reached.many, {**known, name: other[name]}, executor="inline"))
        for each in found:
            assert not each.complete or first.keys() | changed.keys() <= set(each.steps)
            for step in each.steps:
                cell = each.cells[step][name]
                same = step in first and step in changed and first[step] == changed[step]
                neither = step not in first and step not in changed
                said = f"{name} {base[name]}→{other[name]} changes {step}: {cell}"
                assert same or neither or cell.verdict != "no", said


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs, base=values, other=values)
def test_no_is_never_said_where_keys_differ(
    workspace: Workspace, program: list[Any], base: dict[str, Any], other: dict[str, Any]
) -> None:
    sound(workspace, program, base, other)


@pytest.mark.integration
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs, base=values, other=values)
def test_no_is_never_said_where_keys_differ_in_many_bodies(
    workspace: Workspace, program: list[Any], base: dict[str, Any], other: dict[str, Any]
) -> None:
    sound(workspace, program, base, other)


@pytest.mark.integration
@pytest.mark.parametrize("call", reached.MORE)
def test_every_call_alone(workspace: Workspace, call: str) -> None:
    base = {"a": 1, "b": 2, "c": 5, "on": True, "mode": reached.Mode.PLAIN}
    other = {"a": 4, "b": 5, "c": 0, "on": False, "mode": reached.Mode.DOUBLE}
    sound(workspace, [[call, 0, 2], ["constant", 0, 0]], base, other)


def verdicts(found: Any) -> dict[str, dict[str, str]]:
    return {step: {name: cell.verdict for name, cell in row.items()} for step, row in found.cells.items()}


def test_a_chain_is_known_whole_before_anything_runs(workspace: Workspace) -> None:
    found = reach(workspace, reached.chain)
    assert found.complete
    assert found.steps == ("load", "shrink", "fit", "evaluate")
    rest = {"rows": "yes", "k": "yes", "lr": "yes", "pca": "maybe", "tag": "yes"}
    assert verdicts(found) == {
        "load": {"rows": "yes", "k": "no", "lr": "no", "pca": "no", "tag": "no"},
        "shrink": {"rows": "yes", "k": "yes", "lr": "no", "pca": "maybe", "tag": "no"},
        "fit": rest,
        "evaluate": rest,
    }
    assert found.cells["fit"]["pca"].how.startswith("by a decision at reached.py:")
    assert workspace.store.cache.latest("load", 1) == []


def test_a_value_whose_stand_in_changes_the_body_is_passed_as_it_is(workspace: Workspace) -> None:
    found = reach(workspace, reached.stubborn)
    assert not found.complete
    assert verdicts(found)["fit"] == {"rows": "yes", "lr": "unknown"}
    assert "does something else" in found.cells["fit"]["lr"].how


def test_none_carries_no_origin(workspace: Workspace) -> None:
    found = reach(workspace, reached.configured)
    assert verdicts(found)["load"] == {"options": "unknown", "layers": "maybe", "rows": "yes"}
    assert found.cells["load"]["layers"].how == "it is None, which carries no origin"
    with_layers = reach(workspace, reached.configured, {"layers": [4, 2]})
    assert verdicts(with_layers)["shrink"] == {"options": "unknown", "layers": "yes", "rows": "yes"}
    assert with_layers.cells["shrink"]["options"].how == "the body goes other ways with other layers"
    few = reach(workspace, reached.configured, domains={"layers": [None, [4], [4, 2]]})
    assert few.complete
    assert verdicts(few)["shrink.2"] == {"options": "no", "layers": "yes", "rows": "yes"}


def test_a_run_inside_is_followed_too(workspace: Workspace) -> None:
    found = reach(workspace, reached.outer)
    assert found.complete
    assert verdicts(found) == {
        "inner/load": {"a": "yes", "b": "no"},
        "inner/shrink": {"a": "yes", "b": "no"},
        "shrink": {"a": "yes", "b": "yes"},
    }


def test_a_body_that_goes_ways_without_end_is_not_followed_for_ever(workspace: Workspace) -> None:
    found = reach(workspace, reached.looping)
    assert not found.complete
    assert "decides so often" in found.stops[0]
    assert verdicts(found)["load"] == {"goal": "no", "step": "no", "rows": "yes"}
    assert verdicts(found)["shrink"] == {"goal": "maybe", "step": "yes", "rows": "yes"}


def test_a_body_that_catches_everything_ends_all_the_same(workspace: Workspace) -> None:
    found = reach(workspace, reached.catching)
    assert "shrink" not in found.cells
    assert len(found.stops) == 1


def test_only_named_parameters_are_followed_and_wrong_names_are_refused(workspace: Workspace) -> None:
    assert reach(workspace, reached.chain, {"rows": 3}, params=["lr"]).params == ("lr",)
    with pytest.raises(ParameterError, match=r"has no parameter 'lrr'; did you mean 'lr'\?"):
        reach(workspace, reached.chain, params=["lrr"])
    with pytest.raises(ParameterError, match="rows"):
        reach(workspace, reached.chain, {"rows": "many"})
    assert reached.chain.reach(workspace=workspace, rows=3).params == ("rows", "k", "lr", "pca", "tag")


def test_keys_are_held_against_what_was_followed() -> None:
    found = Reach(
        ("a", "b"), {"fit": {"a": Cell("no"), "b": Cell("yes")}, "end": {"a": Cell("unknown"), "b": Cell("unknown")}}
    )
    shown = {
        "fit": {"a": Evidence(differ=1), "b": Evidence(differ=2)},
        "end": {"a": Evidence(same=3), "b": Evidence()},
        "late": {"a": Evidence(differ=1), "b": Evidence()},
    }
    both = found.with_keys(shown)
    said = {step: {name: cell.said for name, cell in row.items()} for step, row in both.cells.items()}
    assert said == {
        "fit": {"a": "yes, by keys", "b": "yes"},
        "end": {"a": "no, by keys", "b": "unknown"},
        "late": {"a": "yes, by keys", "b": "unknown"},
    }
    assert [both.cells["fit"][name].agrees for name in "ab"] == [False, True]
    assert both.of("end") == {"b"}
    assert both.record()["steps"]["late"]["a"]["keys"] == {"same": 0, "differ": 1}


def test_a_body_that_refuses_values_ends_there(workspace: Workspace) -> None:
    found = reach(workspace, reached.checked)
    assert found.complete
    assert verdicts(found) == {"load": {"rows": "yes", "k": "no"}, "shrink": {"rows": "yes", "k": "yes"}}


def test_what_numpy_and_formats_make_of_values_carries_their_origin(workspace: Workspace) -> None:
    found = reach(workspace, reached.numeric)
    assert found.complete
    assert verdicts(found) == {
        "load": {"n": "yes", "lr": "no", "name": "yes"},
        "shrink": {"n": "yes", "lr": "yes", "name": "yes"},
        "fit": {"n": "yes", "lr": "yes", "name": "yes"},
    }
