"""What every executor promises (:class:`hpo_pipelines.executors.base.Executor`): inherited by a test class for each."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from executors import steps
from executors.bench import Bench, Heard, read_json
from executors.versions import version
from services import wait_until

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.executors.base import Cancelled, Completed, Executor, Failed, Lost, NodeUse, Started, TimedOut
from hpo_pipelines.failure import rebuilt
from hpo_pipelines.types import Resources

CANCEL_SECONDS = 2.0
"""Of the port's own promise."""


def living(pids: list[int]) -> list[int]:
    """Those of ``pids`` that still run."""
    found = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except psutil.NoSuchProcess:
            continue
    return found


def gone(pids: list[int]) -> None:
    """They have ended, or the kernel is just about it."""
    wait_until(lambda: living(pids) == [], f"{pids} to be gone", 1.0)


class ExecutorContract:
    """Every executor."""

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        raise NotImplementedError

    @pytest.fixture
    def bench(self, executor: Executor, tmp_path: Path) -> Bench:
        return Bench(executor, tmp_path, steps.nothing)

    def test_a_result_is_stored_and_the_start_is_told(self, bench: Bench) -> None:
        heard = bench.submit(steps.identity, {"a": [1, 2.5, None, "x"]})
        assert bench.value(heard) == {"a": [1, 2.5, None, "x"]}
        assert isinstance(heard.messages[0], Started)
        assert heard.messages[0].worker.startswith(bench.executor.name)
        assert 0 <= heard.completed.seconds < 60

    def test_named_outputs_are_stored_apart(self, bench: Bench) -> None:
        heard = bench.submit(steps.halves, 7)
        assert list(heard.completed.outputs) == ["low", "high"]
        assert (bench.value(heard, "low"), bench.value(heard, "high")) == (3, 4)

    def test_inputs_travel_as_artifacts_and_are_the_steps_own(self, bench: Bench) -> None:
        array = bench.store.put(np.arange(100_000, dtype=float))
        for _ in range(2):
            assert bench.run(steps.spoil, array) == 2.0 * sum(range(100_000))
        assert bench.store.get(array)[-1] == 99_999

    def test_a_failure_holds_the_users_exception(self, bench: Bench) -> None:
        failure = bench.submit(steps.fail, 3).failed.failure
        assert (failure.type, failure.message) == ("Broken", "broken with code 3")
        assert failure.pickled is not None
        error = rebuilt(bench.code.load(failure.pickled))
        assert type(error) is steps.Broken
        assert error.code == 3
        assert "raise Broken(code)" in failure.traceback
        assert "worker.py" not in failure.traceback
        assert failure.retryable

    def test_a_failure_that_cannot_be_pickled_keeps_its_words(self, bench: Bench) -> None:
        failure = bench.submit(steps.fail_brittle).failed.failure
        assert (failure.type, failure.message, failure.pickled) == ("Brittle", "brittle", None)
        assert "raise Brittle" in failure.traceback

    def test_a_value_that_cannot_be_stored_is_a_failure(self, bench: Bench) -> None:
        failure = bench.submit(steps.unstorable).failed.failure
        assert failure.type == "NotSerializable"
        assert "unstorable.value" in failure.message

    def test_leaving_is_a_failure(self, bench: Bench) -> None:
        failure = bench.submit(steps.leave, 3).failed.failure
        assert (failure.type, failure.message, failure.retryable) == ("SystemExit", "3", False)

    def test_reports_come_in_order_before_the_end(self, bench: Bench) -> None:
        begun = time.time()
        heard = bench.submit(steps.reports, "auc", [0.1, 0.2, 0.3])
        assert bench.value(heard) == 3
        assert [(m.name, m.value, m.step) for m in heard.reports] == [("auc", v, None) for v in (0.1, 0.2, 0.3)]
        assert begun - 1 <= heard.reports[0].at <= heard.reports[-1].at <= time.time() + 1

    def test_what_is_printed_is_in_the_console_file_at_the_end(self, bench: Bench) -> None:
        heard = bench.submit(steps.say, "first words")
        assert heard.completed.outputs == {}
        assert heard.console == "first words\n"
        assert bench.submit(steps.identity, 1).completed
        assert heard.console == "first words\n"

    def test_variables_hold_while_the_step_runs(self, bench: Bench) -> None:
        name = "HPO_TEST_VARIABLE"
        assert bench.run(steps.variable, name, variables={name: "set"}) == "set"
        assert bench.run(steps.variable, name) is None

    def test_steps_run_in_the_drivers_folder(self, bench: Bench) -> None:
        assert bench.run(steps.where)["folder"] == os.getcwd()

    def test_cancelling_what_is_unknown_or_over_does_nothing(self, bench: Bench) -> None:
        bench.executor.cancel("nobody.1")
        heard = bench.submit(steps.identity, 1)
        assert heard.completed
        bench.executor.cancel(heard.assignment.id)
        assert bench.run(steps.identity, 2) == 2
        assert len(heard.messages) == 2

    def test_a_listener_that_fails_ends_nothing(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        broken = Heard(bench.assignment(steps.identity, 1))

        def listen(assignment: Any, message: Any) -> None:
            broken.listen(assignment, message)
            if not isinstance(message, Started):
                raise RuntimeError("the listener is broken")

        try:
            bench.executor.submit(broken.assignment, listen)
        except RuntimeError:
            assert bench.executor.name == "inline", "only there is the listener's caller its own"
        assert broken.completed
        assert bench.run(steps.identity, 2) == 2
        assert bench.executor.name == "inline" or "listener" in caplog.text


class ProcessContract(ExecutorContract):
    """Executors that run steps in processes of their own, two of them at least at a time."""

    shares_files = True
    """Whether workers write console files themselves."""

    # -- side by side

    def test_steps_run_side_by_side_each_with_its_console(self, bench: Bench) -> None:
        go = bench.marker()
        pair = [bench.submit(steps.say_and_wait, words, str(go)) for words in ("one", "two")]
        for heard, words in zip(pair, ("one", "two")):
            # While it runs.
            wait_until(lambda heard=heard, words=words: heard.console == f"{words}\n", f"console {words}")
        go.touch()
        for heard, words in zip(pair, ("one", "two")):
            assert heard.completed
            assert heard.console == f"{words}\nover\n"

    def test_the_console_is_caught_at_the_descriptors(self, bench: Bench) -> None:
        heard = bench.submit(steps.say_in_every_way, "a")
        assert heard.completed
        kinds = ["print", "stderr", "write", "printf", "child", "child-err"]
        assert heard.console.splitlines() == [f"a {kind}" for kind in kinds]

    def test_a_long_console_arrives_whole(self, bench: Bench) -> None:
        heard = bench.submit(steps.say_much, 20_000)
        assert heard.completed
        assert heard.console.splitlines() == [f"line {number:08d} {'x' * 80}" for number in range(20_000)]

    def test_reports_arrive_while_the_step_runs(self, bench: Bench) -> None:
        heard = bench.submit(steps.reports, "loss", [float(n) for n in range(8)], 0.2)
        heard.wait(lambda: heard.reports, "the first report")
        assert not isinstance(heard.messages[-1], Failed)
        assert len(heard.reports) < 8
        assert bench.value(heard) == 8
        assert [m.value for m in heard.reports] == [float(n) for n in range(8)]

    def test_messages_come_from_one_thread(self, bench: Bench) -> None:
        everyone = [bench.submit(steps.reports, "m", [1.0, 2.0]) for _ in range(4)]
        for heard in everyone:
            assert heard.completed
        # `submit` itself may tell of the start.
        assert len(set().union(*(h.threads for h in everyone)) - {threading.current_thread().name}) == 1

    # -- in line

    def test_what_does_not_fit_waits_its_turn(self, bench: Bench) -> None:
        go = bench.marker()
        first = bench.submit(steps.wait, str(go), resources=Resources(cpu=2))
        second = bench.submit(steps.identity, 2, resources=Resources(cpu=2))
        first.wait(lambda: first.messages, "the start")
        threading.Event().wait(0.3)
        assert second.messages == []
        go.touch()
        assert bench.value(first) == "waited"
        assert bench.value(second) == 2
        assert isinstance(second.messages[0], Started)

    def test_many_more_than_fit(self, bench: Bench) -> None:
        everyone = [bench.submit(steps.identity, number) for number in range(40)]
        assert [bench.value(heard) for heard in everyone] == list(range(40))

    def test_many_at_a_time_some_of_them_cancelled(self, bench: Bench) -> None:
        everyone: list[list[Heard]] = [[] for _ in range(4)]

        def submit(mine: list[Heard]) -> None:
            for number in range(20):
                mine.append(bench.submit(steps.identity, number))
                if number % 3 == 0:
                    bench.executor.cancel(mine[-1].assignment.id)

        threads = [threading.Thread(target=submit, args=(mine,)) for mine in everyone]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for mine in everyone:
            for number, heard in enumerate(mine):
                if number % 3:
                    assert bench.value(heard) == number
                else:
                    assert isinstance(heard.ended, Cancelled | Completed)
        assert bench.run(steps.identity, 1) == 1

    def test_a_waiting_step_is_cancelled_unstarted(self, bench: Bench) -> None:
        go = bench.marker()
        first = bench.submit(steps.wait, str(go), resources=Resources(cpu=2))
        second = bench.submit(steps.identity, 2)
        bench.executor.cancel(second.assignment.id)
        assert second.ended == Cancelled()
        assert second.messages == [Cancelled()]
        go.touch()
        assert bench.value(first) == "waited"

    def test_what_runs_holds_a_part_of_its_node(self, bench: Bench) -> None:
        go = bench.marker()
        heard = bench.submit(steps.wait, str(go), resources=Resources(cpu=1.5))
        task = heard.assignment.task

        def held() -> list[NodeUse]:
            return [node for node in bench.executor.nodes() if task in node.holders]

        wait_until(lambda: any(node.used.get("CPU", 0.0) >= 1.5 for node in held()), "its node to say so")
        (node,) = held()
        assert node.holders[task]["CPU"] == 1.5
        assert 1.5 <= node.used["CPU"] <= node.resources["CPU"]
        assert node.resources["memory"] > 0
        go.touch()
        assert heard.completed
        wait_until(lambda: not held(), "it to be free again")

    # -- cancelled

    def cancelled(self, bench: Bench, component: Any, *more: Any) -> Path:
        """Run ``component`` and cancel it as soon as it has said, by the returned file, that it runs."""
        marker = bench.marker()
        heard = bench.submit(component, str(marker), *more)
        wait_until(lambda: marker.exists() and marker.read_text() != "", f"{component.name} to run")
        begun = time.monotonic()
        bench.executor.cancel(heard.assignment.id)
        assert heard.ended == Cancelled()
        assert time.monotonic() - begun < CANCEL_SECONDS
        return marker

    @pytest.mark.parametrize("component", [steps.sleep, steps.spin, steps.swallow])
    def test_a_running_step_is_cancelled(self, bench: Bench, component: Any) -> None:
        self.cancelled(bench, component)
        assert bench.run(steps.identity, 1) == 1

    def test_a_cancelled_step_may_tidy_up(self, bench: Bench) -> None:
        tidied = bench.marker("tidied")
        self.cancelled(bench, steps.tidy, str(tidied))
        assert tidied.read_text() == "tidied"

    @pytest.mark.integration
    def test_a_stubborn_step_is_ended_by_force(self, bench: Bench) -> None:
        marker = self.cancelled(bench, steps.stubborn)
        gone([int(marker.read_text())])

    def test_children_of_a_cancelled_step_are_gone(self, bench: Bench) -> None:
        pids = read_json(self.cancelled(bench, steps.family))
        assert len(pids) == 3
        gone(pids)

    @pytest.mark.integration
    def test_cancelling_at_once(self, bench: Bench) -> None:
        for _ in range(3):
            heard = bench.submit(steps.sleep, str(bench.marker()))
            begun = time.monotonic()
            bench.executor.cancel(heard.assignment.id)
            bench.executor.cancel(heard.assignment.id)
            assert heard.ended == Cancelled()
            assert time.monotonic() - begun < CANCEL_SECONDS
        assert bench.run(steps.identity, 1) == 1

    # -- too long, too much, killed

    @pytest.mark.integration
    def test_a_step_past_its_timeout_is_gone_with_its_children(self, bench: Bench) -> None:
        marker = bench.marker()
        heard = bench.submit(steps.family, str(marker), timeout=3.0)
        assert heard.ended == TimedOut(3.0)
        gone(read_json(marker))

    @pytest.mark.integration
    def test_a_stubborn_step_past_its_timeout(self, bench: Bench) -> None:
        marker = bench.marker()
        heard = bench.submit(steps.stubborn, str(marker), timeout=3.0)
        assert heard.ended == TimedOut(3.0)
        gone([int(marker.read_text())])

    def test_a_step_within_its_timeout(self, bench: Bench) -> None:
        assert bench.run(steps.identity, 1, timeout=60.0) == 1

    def test_a_killed_worker_is_a_loss_and_its_console_is_there(self, bench: Bench) -> None:
        heard = bench.submit(steps.die, signal.SIGKILL.value, "last words")
        assert isinstance(heard.ended, Lost)
        assert "kill" in heard.ended.reason
        if self.shares_files:
            assert heard.console == "last words\n"
        assert bench.run(steps.identity, 1) == 1

    def test_a_worker_that_exits_is_a_loss(self, bench: Bench) -> None:
        assert isinstance(bench.submit(steps.exit_hard, 3).ended, Lost)
        assert bench.run(steps.identity, 1) == 1

    @pytest.mark.integration
    @pytest.mark.parametrize("component", [steps.take_memory, steps.child_takes_memory])
    def test_a_step_past_its_memory_limit_is_a_loss(self, bench: Bench, component: Any) -> None:
        heard = bench.submit(component, 4000, resources=Resources(memory="600MB"))
        assert isinstance(heard.ended, Lost)
        assert heard.ended.reason.startswith("out of memory: used ")
        assert heard.ended.reason.endswith(" of 600 MB")
        assert bench.run(steps.identity, 1) == 1

    def test_a_step_within_its_memory_limit(self, bench: Bench) -> None:
        assert bench.run(steps.identity, 1, resources=Resources(memory="2GB")) == 1

    # -- refused

    @pytest.mark.parametrize(
        ("resources", "word"),
        [
            (Resources(cpu=4096), "4096 CPU"),
            (Resources(gpu=64), "64 GPU"),
            (Resources(custom={"moonstone": 1}), "1 moonstone"),
        ],
    )
    def test_what_can_never_be_served_is_refused(self, bench: Bench, resources: Resources, word: str) -> None:
        with pytest.raises(ConfigError, match=f"bench#1/identity needs {word}"):
            bench.submit(steps.identity, 1, resources=resources)

    # -- code

    def test_two_versions_of_a_module_never_mix(self, bench: Bench, tmp_path: Path) -> None:
        versions = [version(bench, tmp_path / f"v{number}", number) for number in (1, 2)]
        everyone = []
        for _ in range(3):
            for number, (own, module) in enumerate(versions, start=1):
                everyone.append((own, own.submit(module.ask, 0), number))
        for own, heard, number in everyone:
            assert own.value(heard) == [number, number, number]
