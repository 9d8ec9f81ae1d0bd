"""The law of plans: what a definite verdict says is what then happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planning.conftest import held
from samples.planned import CALLS, program

from hpo_pipelines import Workspace

line = st.tuples(st.sampled_from(sorted(CALLS)), st.integers(0, 9), st.integers(0, 9)).map(list)
programs = st.lists(line, min_size=1, max_size=7)
refreshes = st.sampled_from([False, False, False, True, "add", "number", "add.2", "total"])


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("plans")) as opened:
        yield opened


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=programs, start=st.integers(0, 3), refresh=refreshes)
def test_definite_verdicts_are_right(workspace: Workspace, lines: list[Any], start: int, refresh: Any) -> None:
    held(workspace, program, lines=lines, start=start, refresh=refresh)


@pytest.mark.integration
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=programs, start=st.integers(0, 30), refresh=refreshes)
def test_definite_verdicts_are_right_in_worker_processes(
    workspace: Workspace, lines: list[Any], start: int, refresh: Any
) -> None:
    held(workspace, program, lines=lines, start=start, refresh=refresh, executor="local")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=programs, start=st.integers(0, 3))
def test_what_ran_is_reused_whole(workspace: Workspace, lines: list[Any], start: int) -> None:
    """After a run that succeeded, with nothing that is never reused in it, a plan is complete and runs nothing."""
    lines = [each for each in lines if each[0] not in ("unkept", "odd", "refuse")] or [["number", 0, 0]]
    held(workspace, program, lines=lines, start=start)
    again, run = held(workspace, program, lines=lines, start=start)
    assert run.error is None
    assert again.complete
    assert {step.verdict for step in again.steps} <= {"reuse"}
