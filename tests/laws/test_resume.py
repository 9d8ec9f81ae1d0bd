"""The law of durability: for any body, interrupted at any point and resumed ≡ undisturbed."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laws.processes import Process
from laws.programs import INSTRUCTIONS, PHASES, Log, generated, interpret, is_kept, programs
from laws.records import recorded

from hpo_pipelines import Status, Workspace
from hpo_pipelines.engine import RunOptions
from hpo_pipelines.run import Run
from hpo_pipelines.task import Attempt, Task
from hpo_pipelines.types import Kind, new_id

FAST = settings(max_examples=12, deadline=None, derandomize=True, phases=PHASES)
LONG = settings(max_examples=50, deadline=None, phases=PHASES)
starts = st.integers(-3, 12)
points = st.integers(0, 200)


@dataclass(frozen=True)
class Undisturbed:
    """What a program gives that nobody disturbs: its value, its executions, its record, its commits."""

    value: list[Any]
    executions: list[str]
    record: dict[str, Any]
    commits: int


class Bench:
    """One home; a new log, which is a part of every key, for every run: no run reuses anything of another."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.workspace = Workspace(home=self.home)
        self._logs = (Log(folder / f"ran{number}") for number in itertools.count())

    def draft(self, program: list[Any], start: int) -> tuple[Run, Log]:
        log = next(self._logs)
        params = {"program": program, "start": start, "log": str(log)}
        return self.workspace.draft(generated, params, executor="inline"), log

    def start(self, run: Run) -> Run:
        return self.workspace.start(run.id, RunOptions(echo=False))

    def undisturbed(self, program: list[Any], start: int) -> Undisturbed:
        run, log = self.draft(program, start)
        process = Process(self.home)
        done = process.drive(run.id)
        assert done is not None
        assert done.status is Status.COMPLETED, done.error
        value = done.value
        process.end()
        executions = log.new()
        assert value == interpret(program, start, str(log))
        return Undisturbed(value, executions, recorded(self.workspace, run.id), process.commits)

    def over(self, run: Run) -> dict[str, tuple[Task, list[Attempt]]]:
        """The steps that have ended by themselves, in this run and those inside it."""
        tasks = self.workspace.store.tasks
        steps = [task for task in tasks.below([run.id]) if task.kind is Kind.STEP]
        ended = [task for task in steps if task.status in (Status.COMPLETED, Status.FAILED)]
        return {task.id: (task, tasks.attempts(task.id)) for task in ended}

    def check(self, run: Run, expected: Undisturbed) -> None:
        assert run.status is Status.COMPLETED, run.error
        assert run.value == expected.value
        assert recorded(self.workspace, run.id) == expected.record
        assert self.workspace.store.leases.holder(f"run:{run.id}") is None


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("resume"))
    with made.workspace:
        yield made
        assert made.workspace.store.check() == []


def check_failure(bench: Bench, program: list[Any], start: int, point: int) -> None:
    """A step raises, and the body does not catch it: that execution alone is made again."""
    expected = bench.undisturbed(program, start)
    run, log = bench.draft(program, start)
    if expected.executions:
        number = point % len(expected.executions)
        log.blow(number + 1)
        failed = bench.start(run)
        assert failed.status is Status.FAILED
        assert (failed.error or {})["message"] == expected.executions[number]
        over = bench.over(failed)
        log.blow(None)
        resumed = failed.resume()
        extra = [expected.executions[number]]
        for id, (task, attempts) in over.items():
            if id not in (failed.task.error or {})["ended_by"]:
                assert bench.over(resumed)[id] == (task, attempts)
    else:
        resumed, extra = bench.start(run), []
    bench.check(resumed, expected)
    assert Counter(log.new()) == Counter([*expected.executions, *extra])


def check_abort(bench: Bench, program: list[Any], start: int, point: int) -> None:
    """The run is aborted from elsewhere while a step is under way: only what was not over is made again."""
    expected = bench.undisturbed(program, start)
    run, log = bench.draft(program, start)
    number = point % max(1, len(expected.executions))
    with Workspace(home=bench.home) as driving:
        plain, submitted = driving.engine.submit, itertools.count()

        def submit(*arguments: Any) -> None:
            if next(submitted) == number:
                bench.workspace.abort(run.id)
            plain(*arguments)

        driving.engine.submit = submit  # type: ignore[method-assign, assignment]
        ended = driving.start(run.id, RunOptions(echo=False))
        assert ended.status is (Status.ABORTED if expected.executions else Status.COMPLETED)
        if expected.executions:
            # Nothing of an aborted run waits for anything, or is under way.
            tasks = bench.workspace.store.tasks.below([run.id])
            assert {task.status for task in tasks} <= {Status.COMPLETED, Status.FAILED, Status.ABORTED, Status.SKIPPED}
            over = bench.over(ended)
            ended = ended.resume()
            assert over.items() <= bench.over(ended).items()
    bench.check(run.refreshed(), expected)
    again = set(Counter(log.new()) - Counter(expected.executions))
    # A body that looks at nothing meanwhile goes on for a moment; what it starts then is not recorded either.
    assert set(expected.executions[number : number + 1]) <= again <= set(expected.executions[number:])


def check_meanwhile(bench: Bench, program: list[Any], start: int, point: int) -> None:
    """Between its failure and its resume another run does the same: what is known by then is not made again."""
    expected = bench.undisturbed(program, start)
    run, log = bench.draft(program, start)
    log.blow(1 + point % max(1, len(expected.executions)))
    failed = bench.start(run)
    log.blow(None)
    params = {"program": program, "start": start, "log": str(log)}
    other = bench.start(bench.workspace.draft(generated, params, executor="inline"))
    assert other.value == expected.value
    log.new()
    if failed.status is Status.FAILED:
        failed = failed.resume()
        assert [line for line in log.new() if is_kept(line)] == []
    bench.check(failed, expected)


def check_deaths(bench: Bench, program: list[Any], start: int, deaths: list[tuple[int, bool]]) -> None:
    """Its process is killed, more than once: each death costs one execution at most."""
    expected = bench.undisturbed(program, start)
    run, log = bench.draft(program, start)
    over: dict[str, tuple[Task, list[Attempt]]] = {}
    died = 0
    for point, before in deaths:
        process = Process(bench.home, dies_at=1 + point % expected.commits, before=before)
        survived = process.drive(run.id)
        process.end()
        now = bench.over(run.refreshed())
        assert over.items() <= now.items()
        over = now
        if survived is not None or bench.workspace.store.tasks.status(run.id).finished:
            break
        died += 1
    else:
        last = Process(bench.home)
        last.drive(run.id)
        last.end()
    done = run.refreshed()
    assert over.items() <= bench.over(done).items()
    bench.check(done, expected)
    executions = Counter(log.new())
    assert not Counter(expected.executions) - executions
    assert (executions - Counter(expected.executions)).total() <= died


@pytest.mark.parametrize("name", sorted(INSTRUCTIONS))
def test_every_instruction_fails_and_goes_on(bench: Bench, name: str) -> None:
    check_failure(bench, [[name, 0, 0], ["within", 1, 0]], 5, 0)


@pytest.mark.parametrize("name", sorted(INSTRUCTIONS))
def test_every_instruction_is_aborted_and_goes_on(bench: Bench, name: str) -> None:
    for point in range(3):
        check_abort(bench, [[name, 0, 0]], 5, point)


@FAST
@given(program=programs, start=starts, point=points)
def test_resumed_after_a_failure_is_undisturbed(bench: Bench, program: list[Any], start: int, point: int) -> None:
    check_failure(bench, program, start, point)


@FAST
@given(program=programs, start=starts, point=points)
def test_resumed_after_an_abort_is_undisturbed(bench: Bench, program: list[Any], start: int, point: int) -> None:
    check_abort(bench, program, start, point)


@FAST
@given(program=programs, start=starts, point=points)
def test_resumed_after_another_did_the_same_is_undisturbed(
    bench: Bench, program: list[Any], start: int, point: int
) -> None:
    check_meanwhile(bench, program, start, point)


@pytest.mark.parametrize(("name", "point"), [("chain", 1), ("within", 0), ("containers", 0), ("swap", 0)])
def test_a_step_that_was_skipped_is_known_when_its_run_goes_on(bench: Bench, name: str, point: int) -> None:
    check_meanwhile(bench, [[name, 0, 0]], 5, point)


def test_a_run_inside_that_is_over_is_not_stopped_for_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine looks who was ended from elsewhere just when the body of an inner run gives its value again."""
    expected = bench.undisturbed([["within", 0, 0], ["chain", 1, 1]], 5)
    run, log = bench.draft([["within", 0, 0], ["chain", 1, 1]], 5)
    log.blow(len(expected.executions))
    failed = bench.start(run)
    log.blow(None)
    engine = bench.workspace.engine
    enter = engine.enter

    def entered(controller: Any) -> None:
        enter(controller)
        engine._tend()

    monkeypatch.setattr(engine, "enter", entered)
    bench.check(failed.resume(), expected)


def test_an_abort_leaves_nothing_to_wait_for(bench: Bench) -> None:
    """Whether or not anybody drives the run: here its driver is gone, and left this."""
    tasks = bench.workspace.store.tasks
    run = tasks.create(Task(new_id(), Kind.PIPELINE, "left", "laws", Status.RUNNING, "left"))
    inside = tasks.create(replace(run, id=new_id(), name="inner", pipeline="inner", parent=run.id))
    left = [Status.QUEUED, Status.RUNNING, Status.COMPLETED, Status.FAILED]
    steps = [
        tasks.create(Task(new_id(), Kind.STEP, status, "laws", status, parent=parent, component="fit", position=index))
        for parent in (run.id, inside.id)
        for index, status in enumerate(left)
    ]
    assert bench.workspace.abort(run.id).status is Status.ABORTED
    assert tasks.status(inside.id) is Status.ABORTED
    expected = [Status.ABORTED, Status.ABORTED, Status.COMPLETED, Status.FAILED]
    assert [tasks.status(step.id) for step in steps] == expected * 2


deaths = st.lists(st.tuples(points, st.booleans()), min_size=1, max_size=3)


@FAST
@given(program=programs, start=starts, deaths=deaths)
def test_resumed_after_deaths_is_undisturbed(
    bench: Bench, program: list[Any], start: int, deaths: list[tuple[int, bool]]
) -> None:
    check_deaths(bench, program, start, deaths)


@pytest.mark.integration
@LONG
@given(program=programs, start=starts, point=points)
def test_resumed_after_a_failure_at_length(bench: Bench, program: list[Any], start: int, point: int) -> None:
    check_failure(bench, program, start, point)


@pytest.mark.integration
@LONG
@given(program=programs, start=starts, point=points)
def test_resumed_after_an_abort_at_length(bench: Bench, program: list[Any], start: int, point: int) -> None:
    check_abort(bench, program, start, point)


@pytest.mark.integration
@LONG
@given(program=programs, start=starts, point=points)
def test_resumed_after_another_did_the_same_at_length(bench: Bench, program: list[Any], start: int, point: int) -> None:
    check_meanwhile(bench, program, start, point)


@pytest.mark.integration
@LONG
@given(program=programs, start=starts, deaths=deaths)
def test_resumed_after_deaths_at_length(
    bench: Bench, program: list[Any], start: int, deaths: list[tuple[int, bool]]
) -> None:
    check_deaths(bench, program, start, deaths)
