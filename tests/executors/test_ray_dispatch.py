"""How the ray executor tells the story of an attempt, whatever order Ray, workers and mail tell it in."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from executors import steps
from executors.bench import Bench, Heard
from ray import exceptions
from services import wait_until

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.executors import ray as module
from hpo_pipelines.executors import ray_cluster, ray_runtime
from hpo_pipelines.executors.base import (
    Cancelled,
    Completed,
    Lost,
    Message,
    Reported,
    Started,
    TimedOut,
    Waiting,
)
from hpo_pipelines.executors.ray import RayExecutor
from hpo_pipelines.executors.ray_cluster import Cluster, Node
from hpo_pipelines.executors.ray_runtime import Runtime
from hpo_pipelines.executors.ray_worker import Report, Terms
from hpo_pipelines.types import Resources

DONE = Completed({}, 1.0)


def report(value: float) -> Reported:
    return Reported("m", value, None, 0.0)


class Call:
    """One call of the remote function: what Ray was given, and the reference that it gave back."""

    def __init__(self, order: bytes) -> None:
        self.assignment, terms = pickle.loads(order)
        self.terms: Terms = terms
        self.cancels: list[bool] = []
        self._callback: Callable[[Any], None] | None = None

    def _on_completed(self, callback: Callable[[Any], None]) -> None:
        self._callback = callback

    def answer(self, value: Any) -> None:
        assert self._callback is not None
        self._callback(value)

    def returns(self, ended: Any = DONE, *rest: tuple[int, Message], count: int | None = None) -> None:
        self.answer(pickle.dumps(Report(ended, len(rest) if count is None else count, rest)))


class Function:
    """The remote function, without a Ray behind it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.error: Exception | None = None

    def options(self, **options: Any) -> Function:
        if options["resources"] == {"odd": 1.5}:
            raise ValueError("no fractions")
        return self

    def remote(self, order: bytes) -> Call:
        if self.error is not None:
            raise self.error
        self.calls.append(Call(order))
        return self.calls[-1]


class Mail:
    name = "mail"
    started = False

    def start(self) -> None:
        self.started = True

    def close(self) -> None:
        self.started = False


@pytest.fixture
def function() -> Function:
    return Function()


@pytest.fixture
def executor(function: Function, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayExecutor]:
    monkeypatch.setattr(ray_runtime, "connect", lambda home: Runtime("cluster:1", here=True))
    monkeypatch.setattr(ray_runtime, "check", lambda: None)
    monkeypatch.setattr(module, "_generic_function", lambda: function)
    monkeypatch.setattr(module, "ray_nodes", lambda: [Node({"CPU": 2.0, "odd": 2.0})])
    monkeypatch.setattr(ray_cluster, "look", Cluster)
    monkeypatch.setattr(ray, "cancel", lambda call, force: call.cancels.append(force))
    monkeypatch.setattr(module, "CANCEL_BY_FORCE_SECONDS", 0.02)
    monkeypatch.setattr(module, "CANCEL_SECONDS", 0.04)
    monkeypatch.setattr(module, "MAILBOX_SECONDS", 0.02)
    made = RayExecutor()
    made._mail = Mail()  # type: ignore[assignment]
    yield made
    made.close()
    assert made._attempts == {}
    assert made._in_line == 0
    assert all(amount < 1e-6 for amount in made._capacity._used.values())


@pytest.fixture
def bench(executor: RayExecutor, tmp_path: Path) -> Bench:
    return Bench(executor, tmp_path, steps.nothing)


def mail(executor: RayExecutor, heard: Heard, *messages: tuple[int, Message]) -> None:
    letter = pickle.dumps((heard.assignment.id, messages))
    executor._inbox.put(lambda: executor._hear_mail([letter]))


def settle(executor: RayExecutor) -> None:
    """Wait until the dispatcher has done all that it was given."""
    done = threading.Event()
    executor._inbox.put(done.set)
    assert done.wait(10)


def test_all_comes_with_the_result(bench: Bench, function: Function) -> None:
    heard = bench.submit(steps.identity, 1)
    call = function.calls[0]
    assert call.assignment == heard.assignment
    assert call.terms == Terms("mail", announce=False, shared_files=True, folder=str(Path.cwd()))
    call.returns(DONE, (0, report(1)), (1, report(2)))
    assert heard.ended == DONE
    assert heard.messages == [Started("ray:cluster:1"), report(1), report(2), DONE]


def test_mail_and_result_overlap(bench: Bench, executor: RayExecutor, function: Function) -> None:
    heard = bench.submit(steps.identity, 1)
    mail(executor, heard, (0, report(0)), (1, report(1)))
    mail(executor, heard, (1, report(1)))
    function.calls[0].returns(DONE, (1, report(1)), (2, report(2)), count=3)
    assert heard.ended == DONE
    assert heard.reports == [report(0), report(1), report(2)]


def test_the_end_waits_for_mail_that_is_under_way(bench: Bench, executor: RayExecutor, function: Function) -> None:
    heard = bench.submit(steps.identity, 1)
    function.calls[0].returns(DONE, (2, report(2)), count=3)
    mail(executor, heard, (1, report(1)))
    settle(executor)
    assert heard.messages == [Started("ray:cluster:1")]
    mail(executor, heard, (0, report(0)))
    assert heard.ended == DONE
    assert heard.reports == [report(0), report(1), report(2)]


def test_but_not_for_ever(bench: Bench, function: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LATE_SECONDS", 0.02)
    heard = bench.submit(steps.identity, 1)
    function.calls[0].returns(DONE, (1, report(1)), count=2)
    assert heard.ended == DONE
    assert heard.reports == [report(1)]


def test_a_dead_workers_last_words(bench: Bench, executor: RayExecutor, function: Function) -> None:
    heard = bench.submit(steps.identity, 1)
    function.calls[0].answer(exceptions.WorkerCrashedError())
    mail(executor, heard, (0, report(0)), (1, Lost("out of memory: used 2 of 1")))
    assert heard.ended == Lost("out of memory: used 2 of 1")
    assert heard.reports == [report(0)]


def test_last_words_before_the_death(bench: Bench, executor: RayExecutor, function: Function) -> None:
    heard = bench.submit(steps.identity, 1)
    mail(executor, heard, (0, TimedOut(3.0)))
    settle(executor)
    assert len(heard.messages) == 1
    function.calls[0].answer(exceptions.WorkerCrashedError())
    assert heard.ended == TimedOut(3.0)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (exceptions.WorkerCrashedError(), "its process was killed, or crashed"),
        (exceptions.OutOfMemoryError("4 GB\nand more"), "out of memory: its node ran out of it: 4 GB"),
        (exceptions.NodeDiedError("gone\nand more"), "its node died: gone"),
        (exceptions.LocalRayletDiedError(), "its node died: "),
        (exceptions.TaskCancelledError(), "somebody else cancelled its Ray task"),
        (exceptions.RaySystemError("odd"), "RaySystemError: "),
    ],
)
def test_losses(
    bench: Bench, function: Function, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    monkeypatch.setattr(module, "LAST_WORDS_SECONDS", 0.0)
    heard = bench.submit(steps.identity, 1)
    function.calls[0].answer(error)
    assert isinstance(heard.ended, Lost)
    assert words in heard.ended.reason
    assert "\n" not in heard.ended.reason


def test_what_no_node_can_serve(bench: Bench, function: Function) -> None:
    heard = bench.submit(steps.identity, 1)
    function.calls[0].answer(exceptions.TaskUnschedulableError("needs a unicorn"))
    assert heard.failed.failure.type == "ConfigError"
    assert "needs a unicorn" in heard.failed.failure.message


def test_an_error_of_our_own_in_the_worker(bench: Bench, function: Function) -> None:
    heard = bench.submit(steps.identity, 1)
    cause = ModuleNotFoundError("No module named 'hpo_pipelines'")
    function.calls[0].answer(exceptions.RayTaskError("execute", "the remote traceback", cause))
    failure = heard.failed.failure
    assert (failure.type, failure.message) == ("ModuleNotFoundError", "No module named 'hpo_pipelines'")
    assert "the remote traceback" in failure.traceback


def test_a_report_that_cannot_be_read(bench: Bench, function: Function) -> None:
    heard = bench.submit(steps.identity, 1)
    function.calls[0].answer(b"of another version")
    assert isinstance(heard.ended, Lost)
    assert "cannot be read" in heard.ended.reason


def test_ray_is_gone(bench: Bench, function: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_WORDS_SECONDS", 0.0)
    function.error = ConnectionError("no raylet")
    assert bench.submit(steps.identity, 1).ended == Lost("ConnectionError: no raylet")


def test_what_ray_refuses(bench: Bench) -> None:
    with pytest.raises(ConfigError, match="bench#1/identity: Ray refuses what it asks for: no fractions"):
        bench.submit(steps.identity, 1, resources=Resources(custom={"odd": 1.5}))


class TestInLine:
    def test_who_waits_is_told_by_the_worker(self, bench: Bench, executor: RayExecutor, function: Function) -> None:
        first = bench.submit(steps.identity, 1, resources=Resources(cpu=2))
        second = bench.submit(steps.identity, 2)
        third = bench.submit(steps.identity, 3, resources=Resources(cpu=0))
        settle(executor)
        assert first.messages == [Started("ray:cluster:1")]
        assert second.messages == third.messages == []
        assert [call.terms.announce for call in function.calls] == [False, True, True]
        mail(executor, second, (0, Started("ray:here:7")))
        function.calls[2].returns(DONE, (0, Started("ray:here:8")))
        assert third.ended == DONE
        assert third.messages == [Started("ray:here:8"), DONE]
        function.calls[0].returns()
        function.calls[1].returns(DONE, count=1)
        assert first.ended == second.ended == DONE
        assert second.messages == [Started("ray:here:7"), DONE]
        # Nobody is in line any more.
        fourth = bench.submit(steps.identity, 4)
        assert fourth.messages == [Started("ray:cluster:1")]
        function.calls[3].returns()
        assert fourth.ended == DONE

    def test_who_never_started_has_used_nothing(self, bench: Bench, executor: RayExecutor, function: Function) -> None:
        first = bench.submit(steps.identity, 1, resources=Resources(cpu=2))
        second = bench.submit(steps.identity, 2)
        executor.cancel(second.assignment.id)
        function.calls[1].answer(exceptions.TaskCancelledError())
        assert second.ended == Cancelled()
        assert second.messages == [Cancelled()]
        function.calls[0].returns()
        assert first.ended == DONE

    def test_who_waits_is_told_what_for_once(self, bench: Bench, executor: RayExecutor, function: Function) -> None:
        first = bench.submit(steps.identity, 1, resources=Resources(cpu=2))
        second = bench.submit(steps.identity, 2)
        full = Cluster([Node({"CPU": 2.0}, {}, {"CPU": 2.0})], frozenset({"1 CPU"}))
        for cluster in (full, full, Cluster([Node({"CPU": 2.0})]), Cluster([Node({"CPU": 2.0})])):
            assert executor._hear_look(cluster)
        settle(executor)
        told = [Waiting("waits: needs 1 CPU, all 2 are in use"), Waiting("waits for a worker to start")]
        assert second.messages == told
        function.calls[1].returns(DONE, (0, Started("ray:here:8")))
        assert second.ended == DONE
        assert not executor._hear_look(full)
        function.calls[0].returns()
        assert first.ended == DONE


class TestCancel:
    def test_softly(self, bench: Bench, executor: RayExecutor, function: Function) -> None:
        heard = bench.submit(steps.identity, 1)
        executor.cancel(heard.assignment.id)
        call = function.calls[0]
        wait_until(lambda: call.cancels[:1] == [False], "the cancel")
        call.returns(Lost("interrupted"))
        assert heard.ended == Cancelled()

    def test_then_by_force_then_whatever_happens(self, bench: Bench, executor: RayExecutor, function: Function) -> None:
        heard = bench.submit(steps.identity, 1)
        executor.cancel(heard.assignment.id)
        assert heard.ended == Cancelled()
        assert function.calls[0].cancels == [False, True]
        function.calls[0].answer(exceptions.WorkerCrashedError())
        settle(executor)
        assert heard.ended == Cancelled()

    def test_a_result_after_a_cancel_is_none(self, bench: Bench, executor: RayExecutor, function: Function) -> None:
        heard = bench.submit(steps.identity, 1)
        executor.cancel(heard.assignment.id)
        function.calls[0].returns()
        assert heard.ended == Cancelled()

    def test_before_ray_has_it(self, bench: Bench, executor: RayExecutor, function: Function) -> None:
        heard = Heard(bench.assignment(steps.identity, 1))

        def listen(assignment: Any, message: Message) -> None:
            heard.listen(assignment, message)
            if isinstance(message, Started):
                executor.cancel(assignment.id)
                settle(executor)

        executor.submit(heard.assignment, listen)
        assert heard.ended == Cancelled()
        assert function.calls[0].cancels[0] is False

    def test_ray_is_gone(
        self, bench: Bench, executor: RayExecutor, function: Function, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def gone(call: Call, force: bool) -> None:
            raise RuntimeError("no Ray")

        monkeypatch.setattr(ray, "cancel", gone)
        monkeypatch.setattr(module, "CANCEL_SECONDS", 60.0)
        heard = bench.submit(steps.identity, 1)
        executor.cancel(heard.assignment.id)
        assert heard.ended == Cancelled()


class TestTimeout:
    def test_a_worker_that_cannot_enforce_it(
        self, bench: Bench, executor: RayExecutor, function: Function, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "TIMEOUT_SLACK_SECONDS", 0.01)
        monkeypatch.setattr(module, "LAST_WORDS_SECONDS", 0.01)
        heard = bench.submit(steps.identity, 1, timeout=0.01)
        assert function.calls[0].terms.announce
        settle(executor)
        assert len(heard.messages) == 1  # not before the worker has begun
        mail(executor, heard, (0, Started("ray:here:7")))
        assert heard.ended == TimedOut(0.01)
        assert heard.messages == [Started("ray:cluster:1"), TimedOut(0.01)]
        assert function.calls[0].cancels == [True]

    def test_one_that_can(self, bench: Bench, function: Function) -> None:
        heard = bench.submit(steps.identity, 1, timeout=5.0)
        function.calls[0].returns(TimedOut(5.0), (0, Started("ray:here:7")))
        assert heard.ended == TimedOut(5.0)


def test_the_mailbox_is_started_for_steps_that_last(bench: Bench, executor: RayExecutor, function: Function) -> None:
    quick = bench.submit(steps.identity, 1)
    function.calls[0].returns()
    assert quick.ended == DONE
    threading.Event().wait(0.05)
    settle(executor)
    assert not executor._mail.started
    slow = bench.submit(steps.identity, 2)
    wait_until(lambda: executor._mail.started, "the mailbox")
    function.calls[1].returns()
    assert slow.ended == DONE


def test_close_ends_everything(bench: Bench, executor: RayExecutor) -> None:
    everyone = [bench.submit(steps.identity, number) for number in range(4)]
    executor.close()
    assert {type(heard.ended) for heard in everyone} == {Cancelled}
    assert not executor._thread.is_alive()
    with pytest.raises(ConfigError, match="closed"):
        bench.submit(steps.identity, 1)


def test_a_call_without_a_connection_starts_no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ConfigError, match=r"ray\.shutdown"):
        ray_runtime.check()


def test_beyond_what_ray_holds_what_most_others_wait_for_goes_first(
    bench: Bench, executor: RayExecutor, function: Function
) -> None:
    heard = [bench.submit(steps.identity, at) for at in range(10)]
    ids = [each.assignment.id for each in heard]
    sent = [call.assignment.id for call in function.calls]
    assert sent == ids[:6]  # two run, and two for each CPU wait in Ray's line
    executor.urge(ids[9], 2)
    executor.urge(ids[0], 5)
    executor.urge("nobody's", 1)
    for at in (0, 1):  # what runs ends: Ray's line is as it was
        function.calls[at].returns()
        assert heard[at].ended == DONE
    settle(executor)
    assert len(function.calls) == 6
    mail(executor, heard[2], (0, Started("worker")))
    settle(executor)
    assert [call.assignment.id for call in function.calls[6:]] == [ids[9]]
    function.calls[3].returns()
    assert heard[3].ended == DONE
    settle(executor)
    assert [call.assignment.id for call in function.calls[7:]] == [ids[6]]
    executor.cancel(ids[7])
    assert heard[7].ended == Cancelled()
    for call in function.calls[4:8]:
        call.returns()
    function.calls[2].returns(DONE, count=1)
    wait_until(lambda: len(function.calls) == 9, "the last one to come into Ray's line")
    assert function.calls[8].assignment.id == ids[8]
    function.calls[8].returns()
    assert all(each.ended for each in heard)
    assert executor._windows._shapes == {}


def test_who_waits_for_something_rare_keeps_nobody_from_what_is_common(bench: Bench, function: Function) -> None:
    odd = [bench.submit(steps.identity, at, resources=Resources(custom={"odd": 2.0})) for at in range(8)]
    plain = bench.submit(steps.identity, 9)
    assert plain.assignment.id in [call.assignment.id for call in function.calls]
    assert odd[7].assignment.id not in [call.assignment.id for call in function.calls]


def test_a_cluster_that_is_not_ours_holds_all(
    bench: Bench, executor: RayExecutor, function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor._capacity, "_fixed", False)
    for at in range(20):
        bench.submit(steps.identity, at)
    assert len(function.calls) == 20
