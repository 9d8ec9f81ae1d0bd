"""Runs that end by asking for another attempt."""

from __future__ import annotations

import copy
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import agent
from engine.contract import eventually
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import retriggered
from samples.bodies import INSTRUCTIONS

from hpo_pipelines import Status, StepFailed, Workspace
from hpo_pipelines.errors import IllegalTransition
from hpo_pipelines.run import Run
from hpo_pipelines.types import Kind

TUNED = [0.9, pytest.approx(0.3), pytest.approx(0.1)]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


def run(workspace: Workspace, pipeline: Any, executor: str = "inline", **params: Any) -> Run:
    return pipeline.run(executor=executor, workspace=workspace, **params)  # type: ignore[no-any-return]


def attempts_of(run: Run) -> list[tuple[int, str, Status]]:
    return [(each.attempt, each.label, each.status) for each in run.attempts]


def check_tuned(workspace: Workspace, executor: str) -> None:
    last = run(workspace, retriggered.tuned, executor)
    assert (last.status, last.attempt, last.value) == (Status.COMPLETED, 3, retriggered.tuned())
    first, second, third = last.attempts
    assert third.id == last.id
    assert [each.params["lr"] for each in last.attempts] == TUNED
    assert first.reason == "retriggered: attempt 2 of at most 4 follows (auc 0.10 < 0.80)"
    assert [each.task.attempt_of for each in last.attempts] == [None, first.id, second.id]
    assert second.steps["load"].reused_from == first.steps["load"].id
    assert second.steps["fit"].reused_from is None
    assert first.value == last.value  # of the call
    assert [each.id for each in last.lineage()] == [second.id, first.id]
    assert workspace.store.check() == []


def test_the_run_ends_and_its_next_attempt_is_a_run_of_its_own(workspace: Workspace) -> None:
    check_tuned(workspace, "inline")


def test_in_worker_processes(workspace: Workspace) -> None:
    check_tuned(workspace, "local")


@pytest.mark.integration
def test_on_ray(workspace: Workspace) -> None:
    check_tuned(workspace, "ray")


def test_the_last_attempt_that_is_allowed_fails(workspace: Workspace) -> None:
    last = run(workspace, retriggered.tuned, most=2)
    assert (last.status, last.attempt) == (Status.FAILED, 2)
    assert (last.error or {})["type"] == "AttemptsExhausted"
    with pytest.raises(StepFailed, match="max_attempts=2"):
        _ = last.attempts[0].value


def test_a_failure_that_nobody_looked_at_goes_before(workspace: Workspace) -> None:
    failed = run(workspace, retriggered.careless)
    assert (failed.status, failed.attempt) == (Status.FAILED, 1)
    assert "nobody looked" in (failed.reason or "")
    assert failed.attempts[-1].id == failed.id


def test_a_body_that_catches_everything_takes_it_back(workspace: Workspace) -> None:
    assert run(workspace, retriggered.kept_back).value == retriggered.kept_back() == 12


def test_runs_inside_a_run(workspace: Workspace) -> None:
    outer = run(workspace, retriggered.twice)
    assert outer.value == pytest.approx(retriggered.twice())
    inside = [task for task in workspace.store.tasks.children(outer.id) if task.kind is Kind.PIPELINE]
    assert sorted(task.attempt for task in inside) == [1, 1, 2, 2, 3]
    assert {task.status for task in inside} == {Status.COMPLETED}
    assert workspace.store.check() == []


def test_refreshing_runs_each_step_once_for_all_attempts(workspace: Workspace) -> None:
    run(workspace, retriggered.tuned)
    last = retriggered.tuned.run(refresh=True, executor="inline", workspace=workspace)
    first, second, _ = last.attempts
    assert [step.reason for step in first.steps.values()] == ["refresh", "refresh"]
    assert second.steps["load"].reused_from == first.steps["load"].id
    assert second.steps["fit"].reason == "refresh"
    alone = retriggered.tuned.run(reuse=False, executor="inline", workspace=workspace)
    assert all(step.reused_from is None for each in alone.attempts for step in each.steps.values())


def test_a_plan_goes_through_all_attempts(workspace: Workspace) -> None:
    assert retriggered.tuned.plan(workspace=workspace).stop is not None
    run(workspace, retriggered.tuned)
    plan = retriggered.tuned.plan(workspace=workspace)
    assert [step.name for step in plan.steps] == [
        f"{attempt}{step}" for attempt in ("", "attempt 2/", "attempt 3/") for step in ("load", "fit")
    ]
    assert {step.verdict for step in plan.steps} == {"reuse"}


# -- going on


def ran(folder: Path) -> list[str]:
    return (folder / "ran").read_text().split()


def test_an_attempt_that_failed_is_resumed_and_asks_for_the_next(workspace: Workspace, folder: Path) -> None:
    broken = folder / "break.2"
    broken.touch()
    failed = run(workspace, retriggered.breaking, folder=str(folder))
    assert (failed.status, failed.attempt) == (Status.FAILED, 2)
    with pytest.raises(IllegalTransition, match=rf"hpo resume {failed.label}` goes on with its last attempt"):
        failed.attempts[0].resume()
    broken.unlink()
    resumed = failed.resume()
    assert (resumed.status, resumed.attempt, resumed.value) == (Status.COMPLETED, 3, 3)
    assert ran(folder) == ["1", "2", "2", "3"]
    assert [each.attempt for each in resumed.attempts] == [1, 2, 3]


def test_a_run_goes_on_in_an_attempt_inside_it(workspace: Workspace, folder: Path) -> None:
    broken = folder / "break.3"
    broken.touch()
    failed = run(workspace, retriggered.breaking_inside, folder=str(folder))
    assert failed.status is Status.FAILED
    assert ran(folder) == ["1", "2", "3"]
    broken.unlink()
    resumed = failed.resume()
    assert (resumed.status, resumed.value) == (Status.COMPLETED, 8)
    inside = [task for task in workspace.store.tasks.children(failed.id) if task.kind is Kind.PIPELINE]
    assert [(task.attempt, task.status) for task in sorted(inside, key=lambda task: task.id)] == [
        (1, "completed"), (2, "completed"), (3, "completed"), (1, "completed"), (2, "completed"),
    ]  # fmt: skip
    assert ran(folder) == ["1", "2", "3", "3"]
    assert workspace.store.check() == []


DRIVER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from hpo_pipelines import Workspace
from hpo_pipelines.engine import controller, retriggers
from samples import retriggered

def die(*args, **kwargs):
    os._exit(9)

if sys.argv[3] == "before":
    retriggers._next = die  # the first attempt is not yet recorded as over
else:
    controller.Controller.again = die  # it is, and the second as begun
retriggered.breaking.run(folder=sys.argv[2], executor="inline")
"""


@pytest.mark.integration
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_between_two_attempts_loses_nothing(home: Path, folder: Path, when: str) -> None:
    tests = str(Path(retriggered.__file__).parent.parent)
    driver = subprocess.run([sys.executable, "-c", DRIVER, tests, str(folder), when], timeout=120, check=False)
    assert driver.returncode == 9
    with Workspace() as workspace:
        left = workspace.runs()[0]
        assert left.is_abandoned
        assert left.attempt == (1 if when == "before" else 2)
        last = left.resume()
        assert attempts_of(last) == [(n, f"breaking#{n}", Status.COMPLETED) for n in (1, 2, 3)]
        assert ran(folder) == ["1", "2", "3"]
        assert len(workspace.runs()) == 3


def test_agents_drive_each_attempt_from_the_queue(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_EXECUTOR", "inline")
    with Workspace() as workspace:
        draft = retriggered.tuned.draft(workspace=workspace)
        draft.enqueue(priority=3)
        other = retriggered.tuned.draft(rows=9, workspace=workspace)
        other.enqueue(priority=3)
        with agent(home) as taking:
            last = draft.wait(60)
            assert other.wait(60).attempt == 3
        assert taking.driven == 6
        assert (last.status, last.attempt, last.value) == (Status.COMPLETED, 3, retriggered.tuned())
        assert workspace.store.queues.counts() == {}
        assert {each.task.queue for each in last.attempts} == {"services"}


def test_an_attempt_keeps_the_place_of_its_call_in_the_queue(home: Path) -> None:
    with Workspace() as workspace:
        draft = retriggered.tuned.draft(workspace=workspace)
        draft.enqueue(priority=3)
        before = workspace.store.queues.entry(draft.id)
        assert before is not None
        later = retriggered.tuned.draft(workspace=workspace)
        later.enqueue(priority=3)
        from hpo_pipelines.agent import Agent

        taking = Agent(workspace, ["services"], max_runs=1)
        taken = taking._waiting()
        assert taken is not None
        workspace.store.tasks.update(draft.id, executor="inline")
        taking._carry(taken)
        after = workspace.store.queues.entry(Run(workspace, workspace.store.tasks.get(draft.id)).last_attempt.id)
        assert after is not None
        assert (after.position, after.priority) == (before.position, before.priority)
        assert workspace.store.queues.first(["services"]) == after


def test_aborting_the_call_aborts_the_attempt_that_is_under_way(workspace: Workspace, folder: Path) -> None:
    ended: list[Run] = []
    gate = folder / "gate"
    draft = retriggered.gated.draft(gate=str(gate), executor="local", workspace=workspace)
    thread = threading.Thread(target=lambda: ended.append(draft.run()))
    thread.start()
    eventually(lambda: (folder / "gate.began").exists(), 60)
    aborted = draft.refreshed().abort()
    assert aborted.attempt == 2
    thread.join(60)
    assert attempts_of(ended[0]) == [(1, "gated#1", Status.COMPLETED), (2, "gated#2", Status.ABORTED)]


def test_whoever_stops_the_first_attempt_stops_the_one_under_way(workspace: Workspace, folder: Path) -> None:
    ended: list[Any] = []
    draft = retriggered.gated.draft(gate=str(folder / "gate"), executor="local", workspace=workspace)
    controller, values = workspace.controller(draft.task)
    thread = threading.Thread(target=lambda: ended.append(controller.drive(values)))
    thread.start()
    eventually(lambda: (folder / "gate.began").exists(), 60)
    controller.stop(Status.PRUNED, "not worth it")
    thread.join(60)
    assert (ended[0].attempt, ended[0].status, ended[0].reason) == (2, Status.PRUNED, "not worth it")


# -- the law


@pytest.fixture(scope="module")
def lawful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("retriggers")) as opened:
        yield opened


_names = st.sampled_from([*INSTRUCTIONS, *["again"] * 6])
programs = st.lists(st.tuples(_names, st.integers(0, 20), st.integers(0, 20)).map(list), min_size=1, max_size=7)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs, start=st.integers(-3, 12), most=st.integers(1, 4), nested=st.booleans())
def test_erased_is_traced(lawful: Workspace, program: list[Any], start: int, most: int, nested: bool) -> None:
    pipeline: Any = retriggered.around if nested else retriggered.again
    params = {"program": program, "start": start, "most": most, **({} if nested else {"done": [9]})}
    erased = pipeline(**copy.deepcopy(params))
    traced = run(lawful, pipeline, **params)
    assert traced.error is None
    assert traced.value == erased
    again = sum(name == "again" for name, *_ in program)
    if not nested:
        assert traced.attempt == min(again + 1, most)
