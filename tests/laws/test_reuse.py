"""The law of reuse: for any body, cached ≡ uncached ≡ erased."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laws.programs import INSTRUCTIONS, PHASES, Log, generated, interpret, is_kept, once, passed_on, programs
from laws.records import recorded

from hpo_pipelines import Status, Workspace
from hpo_pipelines.engine import RunOptions
from hpo_pipelines.run import Run

FAST = settings(max_examples=25, deadline=None, derandomize=True, phases=PHASES)
LONG = settings(max_examples=80, deadline=None, phases=PHASES)
starts = st.integers(-3, 12)


class Bench:
    """A workspace, and a new key space for every example: the path of its log is a part of every key."""

    def __init__(self, folder: Path) -> None:
        self.workspace = Workspace(home=folder / "home")
        self._logs = (Log(folder / f"ran{number}") for number in itertools.count())

    def log(self) -> Log:
        return next(self._logs)

    def run(self, program: list[Any], start: int, log: Log, *, reuse: bool = True) -> Run:
        params = {"program": program, "start": start, "log": str(log)}
        draft = self.workspace.draft(generated, params, executor="inline")
        run = self.workspace.start(draft.id, RunOptions(reuse=reuse, echo=False))
        assert run.status is Status.COMPLETED, run.error
        return run


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("reuse"))
    with made.workspace:
        yield made
        assert made.workspace.store.check() == []


def check(bench: Bench, program: list[Any], start: int) -> None:
    log, store = bench.log(), bench.workspace.store
    erased = interpret(program, start, str(log))
    executions = log.new()
    first = bench.run(program, start, log)
    assert log.new() == once(executions)
    second = bench.run(program, start, log)
    assert log.new() == [line for line in executions if not is_kept(line)]
    uncached = bench.run(program, start, log, reuse=False)
    assert log.new() == executions
    for run in (first, second, uncached):
        assert run.value == erased
        assert [type(value) for value in run.value] == [type(value) for value in erased]
        assert recorded(bench.workspace, run.id) == recorded(bench.workspace, uncached.id)
        assert run.metrics == uncached.metrics
    for step in second.steps.values():
        if step.status is Status.COMPLETED and step.component != "own":
            assert step.reused_from is not None
            assert step.attempts == []
    assert all(step.reused_from is None for step in uncached.steps.values())
    # Nothing of a run that has ended is still claimed.
    for step in (*first.steps.values(), *second.steps.values()):
        assert store.leases.holder(f"key:{step.task.key}") is None


@pytest.mark.parametrize("name", sorted(INSTRUCTIONS))
def test_every_instruction_twice(bench: Bench, name: str) -> None:
    check(bench, [[name, 0, 0], [name, 1, 0]], 5)


@pytest.mark.parametrize("looked", [True, False])
def test_an_output_and_its_value_are_one_input(bench: Bench, looked: bool) -> None:
    log = bench.log()

    def run(looked: bool) -> Run:
        params = {"x": 6, "log": str(log), "looked": looked}
        return bench.workspace.run(passed_on, params, executor="inline")

    first = run(looked)
    assert [line.partition("(")[0] for line in log.new()] == ["own", "halves", "wide", "plus", "total", "sized"]
    second = run(not looked)
    assert log.new() == ["own(6)"]
    assert second.value == first.value == [8, 103, 20000]


def test_what_is_gone_is_made_again(bench: Bench) -> None:
    log, program = bench.log(), [["wide", 0, 0], ["wide", 0, 0]]
    first = bench.run(program, 7, log)
    assert log.new() == ["wide(7)", "plus(20000, 7)"]
    bench.workspace.artifacts.delete(bench.workspace.store.tasks.outputs(first.steps["wide"].id)["value"])
    second = bench.run(program, 7, log)
    assert log.new() == ["wide(7)"]
    assert second.value == first.value
    assert (second.steps["wide"].reason or "").startswith("missing artifact: value")
    assert second.steps["wide.2"].reused_from == second.steps["wide"].id


@FAST
@given(program=programs, start=starts)
def test_cached_is_uncached(bench: Bench, program: list[Any], start: int) -> None:
    check(bench, program, start)


@pytest.mark.integration
@LONG
@given(program=programs, start=starts)
def test_cached_is_uncached_at_length(bench: Bench, program: list[Any], start: int) -> None:
    check(bench, program, start)
