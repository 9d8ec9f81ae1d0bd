"""The law of clones: clone(override) ≡ a fresh run with the same parameters, with no more executions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laws.programs import PHASES, Config, Log, Mode, programs, typed
from laws.records import recorded

from hpo_pipelines import Status, Workspace
from hpo_pipelines.run import Run

FAST = settings(max_examples=12, deadline=None, derandomize=True, phases=PHASES)
LONG = settings(max_examples=40, deadline=None, phases=PHASES)

parameters = st.fixed_dictionaries(
    {},
    optional={
        "start": st.integers(-3, 12),
        "rate": st.sampled_from([0.0, -0.0, 1.0, 2.5, 1e-300, math.inf]),
        "on": st.booleans(),
        "mode": st.sampled_from(Mode),
        "name": st.sampled_from(["", "1", "1.0", "true", "None", "é\ud800"]),
        "limit": st.none() | st.integers(0, 2),
        "weights": st.none() | st.dictionaries(st.sampled_from("ab"), st.sampled_from([0.5, 1.0]), max_size=2),
        "config": st.builds(Config, st.integers(0, 2), st.sampled_from([0.5, 1.0])),
    },
)


class Bench:
    """Two homes to which the same happens, but that one clones where the other runs anew."""

    def __init__(self, folder: Path) -> None:
        self.cloning = Workspace(home=folder / "cloning")
        self.fresh = Workspace(home=folder / "fresh")
        self.other = Workspace(home=folder / "cloning")
        """As another process: it has the code from its snapshot, not from its modules."""
        self._logs = ((Log(folder / f"a{number}"), Log(folder / f"b{number}")) for number in itertools.count())

    def logs(self) -> tuple[Log, Log]:
        return next(self._logs)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("clone"))
    with made.cloning, made.fresh, made.other:
        yield made
        assert made.cloning.store.check() == []


def run(workspace: Workspace, log: Log, params: dict[str, Any]) -> Run:
    done = workspace.run(typed, {**params, "log": str(log)}, executor="inline")
    assert done.status is Status.COMPLETED, done.error
    return done


def check(bench: Bench, base: dict[str, Any], override: dict[str, Any], *, elsewhere: bool) -> None:
    one, two = bench.logs()
    origin = run(bench.cloning, one, base)
    run(bench.fresh, two, base)
    assert one.new() == two.new()
    place = bench.other if elsewhere else bench.cloning
    clone = Run(place, origin.task).clone(**override).run()
    fresh = run(bench.fresh, two, {**base, **override})
    assert clone.status is Status.COMPLETED, clone.error
    assert one.new() == two.new()
    assert clone.value == fresh.value
    assert {**clone.task.params, "log": ""} == {**fresh.task.params, "log": ""}
    here = bench.cloning.get(clone.id)
    assert isinstance(here, Run)
    assert {**here.params, "log": ""} == {**fresh.params, "log": ""}
    assert [type(value) for value in here.params.values()] == [type(value) for value in fresh.params.values()]
    assert recorded(place, clone.id) == recorded(bench.fresh, fresh.id)
    reused = [(step.name, step.reused_from is not None) for step in clone.steps.values()]
    assert reused == [(step.name, step.reused_from is not None) for step in fresh.steps.values()]
    assert (clone.task.cloned_from, clone.task.snapshot) == (origin.id, origin.task.snapshot)
    assert bench.cloning.store.tasks.get(origin.id) == origin.task


@FAST
@given(program=programs, base=parameters, override=parameters, elsewhere=st.booleans())
def test_a_clone_is_a_fresh_run(
    bench: Bench, program: list[Any], base: dict[str, Any], override: dict[str, Any], elsewhere: bool
) -> None:
    check(bench, {**base, "program": program}, override, elsewhere=elsewhere)


@pytest.mark.integration
@LONG
@given(program=programs, base=parameters, override=parameters, elsewhere=st.booleans())
def test_a_clone_is_a_fresh_run_at_length(
    bench: Bench, program: list[Any], base: dict[str, Any], override: dict[str, Any], elsewhere: bool
) -> None:
    check(bench, {**base, "program": program}, override, elsewhere=elsewhere)
