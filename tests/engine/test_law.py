"""The law of authoring: for any body, erased ≡ traced."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples.bodies import INSTRUCTIONS, interpreted

from hpo_pipelines import Workspace

instruction = st.tuples(st.sampled_from(INSTRUCTIONS), st.integers(0, 20), st.integers(0, 20)).map(list)
programs = st.lists(instruction, min_size=1, max_size=6)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Workspace(home=tmp_path_factory.mktemp("law")) as opened:
        yield opened


def check(workspace: Workspace, executor: str, program: list[Any], start: int) -> None:
    erased = interpreted(program, start)
    run = workspace.run(interpreted, {"program": program, "start": start}, executor=executor)
    assert run.error is None
    assert run.value == erased
    assert [type(value) for value in run.value] == [type(value) for value in erased]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs, start=st.integers(-3, 12))
def test_erased_is_traced_inline(workspace: Workspace, program: list[Any], start: int) -> None:
    check(workspace, "inline", program, start)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs, start=st.integers(-3, 12))
def test_erased_is_traced_in_worker_processes(workspace: Workspace, program: list[Any], start: int) -> None:
    check(workspace, "local", program, start)


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_every_instruction_alone(workspace: Workspace, name: str) -> None:
    for start in (1, 2):
        check(workspace, "inline", [[name, 0, 0], [name, 1, 0]], start)
