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
from hpo_pipelines.planning import reach
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


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs, base=values, other=values)
def test_no_is_never_said_where_keys_differ(
    workspace: Workspace, program: list[Any], base: dict[str, Any], other: dict[str, Any]
) -> None:
    sound(workspace, program, base, other)


@pytest.mark.integration
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs, base=values, other=values)
def test_no_is_never_said_where_keys_differ_in_many_bodies(
    workspace: Workspace, program: list[Any], base: dict[str, Any], other: dict[str, Any]
) -> None:
    sound(workspace, program, base, other)


@pytest.mark.integration
@pytest.mark.parametrize("call", reached.CALLS)
def test_every_call_alone(workspace: Workspace, call: str) -> None:
    base = {"a": 1, "b": 2, "c": 5, "on": True, "mode": reached.Mode.PLAIN}
    other = {"a": 4, "b": 5, "c": 0, "on": False, "mode": reached.Mode.DOUBLE}
    sound(workspace, [[call, 0, 2], ["constant", 0, 0]], base, other)
