"""Steps in a child process of their worker: every promise of their executor holds there too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from executors import steps
from executors.bench import Bench, read_json
from executors.contract import ExecutorContract, ProcessContract, gone, living
from services import wait_until

from hpo_pipelines.executors.base import Cancelled, Executor, Lost, TimedOut
from hpo_pipelines.executors.environments import annexes
from hpo_pipelines.executors.inline import InlineExecutor
from hpo_pipelines.executors.local import LocalExecutor
from hpo_pipelines.types import Environment, Resources

APART = Environment(env={"HPO_TEST_APART": "yes"})


class Apart:
    """Mixed into a contract: every step has an environment of its own."""

    @pytest.fixture
    def bench(self, executor: Executor, tmp_path: Path) -> Bench:
        bench = Bench(executor, tmp_path, steps.nothing)
        bench.environment = APART
        return bench

    def test_it_is_another_process_which_is_kept(self, bench: Bench) -> None:
        first = bench.run(steps.where)["pid"]
        assert first == bench.run(steps.where)["pid"]
        plain = bench.submit(steps.where, environment=Environment())
        assert bench.value(plain)["pid"] != first
        assert bench.run(steps.where)["pid"] == first

    def test_its_variables_are_there_from_the_start(self, bench: Bench) -> None:
        assert bench.run(steps.initial_variable, "HPO_TEST_APART") == "yes"
        other = bench.submit(
            steps.initial_variable, "HPO_TEST_APART", environment=Environment(env={"HPO_TEST_APART": "no"})
        )
        assert bench.value(other) == "no"
        plain = bench.submit(steps.variable, "HPO_TEST_APART", environment=Environment())
        assert bench.value(plain) is None


@pytest.mark.integration
class TestLocalApart(Apart, ProcessContract):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        local = LocalExecutor(cpus=2)
        yield local
        local.close()


class TestChildren(Apart):
    """What is quick of it."""

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        local = LocalExecutor(cpus=2)
        yield local
        local.close()

    def test_how_one_died_is_said_and_another_takes_its_place(self, bench: Bench) -> None:
        heard = bench.submit(steps.die, 9, "last words")
        assert heard.ended == Lost("its process was killed by signal 9 (Killed)")
        assert heard.console == "last words\n"
        assert bench.run(steps.identity, 1) == 1

    def test_one_that_cannot_start_is_lost(self, bench: Bench, tmp_path: Path) -> None:
        broken = Environment(env={"PYTHONHOME": str(tmp_path)})
        heard = bench.submit(steps.identity, 1, environment=broken)
        assert heard.ended == Lost("its process exited with code 1")
        assert "No module named 'encodings'" in heard.console

    def test_grandchildren_of_a_cancelled_step_are_gone(self, bench: Bench) -> None:
        marker = bench.marker()
        heard = bench.submit(steps.family, str(marker))
        wait_until(marker.exists, "the family")
        bench.executor.cancel(heard.assignment.id)
        assert heard.ended == Cancelled()
        gone(read_json(marker))

    @pytest.mark.integration
    def test_a_timeout_counts_from_when_all_is_there(
        self, bench: Bench, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The build takes longer than the step may.
        program = tmp_path / "bin" / "uv"
        program.parent.mkdir()
        program.write_text('#!/bin/sh\nwhile [ "$1" != --target ]; do shift; done\nsleep 2.5; mkdir "$2"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        local = LocalExecutor(cpus=1)
        own = Bench(local, tmp_path / "own", steps.nothing)
        environment = Environment(packages=("anything==1",))
        assert own.run(steps.identity, 1, environment=environment, timeout=2.0) == 1
        slow = own.submit(steps.sleep, str(own.marker()), environment=environment, timeout=2.0)
        assert slow.ended == TimedOut(2.0)
        local.close()

    def test_idle_ones_do_not_count_as_memory_of_a_plain_step(self, bench: Bench) -> None:
        idle = bench.run(steps.where)["pid"]
        go = bench.marker()
        # On both workers, so that the one that keeps it is among them.
        both = [
            bench.submit(steps.wait, str(go), environment=Environment(), resources=Resources(memory="2GB"))
            for _ in range(2)
        ]
        for heard in both:
            heard.wait(lambda heard=heard: heard.messages, "the start")
        wait_until(lambda: living([idle]) == [], "the idle one to be gone")
        go.touch()
        assert [bench.value(heard) for heard in both] == ["waited", "waited"]

    def test_few_are_kept_and_none_is_left(self, tmp_path: Path) -> None:
        local = LocalExecutor(cpus=1)
        bench = Bench(local, tmp_path, steps.nothing)
        asked = [Environment(env={"NUMBER": str(number)}) for number in range(annexes.KEPT + 1)]
        pids = [bench.run(steps.where, environment=environment)["pid"] for environment in asked]
        assert len(set(pids)) == len(pids)
        wait_until(lambda: living(pids) == pids[1:], "the first to be gone")
        assert bench.run(steps.where, environment=asked[-1])["pid"] == pids[-1]
        local.close()
        assert living(pids) == []

    def test_a_worker_that_has_the_environment_is_preferred(self, bench: Bench) -> None:
        one, other = (Environment(env={"NUMBER": number}) for number in ("1", "2"))
        go = bench.marker()
        pair = [bench.submit(steps.wait, str(go), environment=environment) for environment in (one, other)]
        go.touch()
        assert [bench.value(heard) for heard in pair] == ["waited", "waited"]
        pids = {
            bench.run(steps.where, environment=environment)["pid"] for _ in range(3) for environment in (one, other)
        }
        assert len(pids) == 2


class TestInlineApart(Apart, ExecutorContract):
    @pytest.fixture
    def bench(self, executor: Executor, tmp_path: Path) -> Bench:
        assert isinstance(executor, InlineExecutor)
        bench = Bench(executor, tmp_path, steps.nothing)
        bench.environment = APART
        executor.use(bench.digest, bench.code)
        return bench

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        inline = InlineExecutor()
        yield inline
        inline.close()

    def test_it_is_not_this_process(self, bench: Bench) -> None:
        assert bench.run(steps.where)["pid"] != os.getpid()


@pytest.mark.integration
class TestRayApart(Apart, ExecutorContract):
    """Every promise, and of those about processes what has to do with Ray's worker."""

    cancelled = ProcessContract.cancelled
    test_children_go_with_a_cancel = ProcessContract.test_children_of_a_cancelled_step_are_gone
    test_timeout = ProcessContract.test_a_step_past_its_timeout_is_gone_with_its_children
    test_memory = ProcessContract.test_a_step_past_its_memory_limit_is_a_loss
    test_killed = ProcessContract.test_a_killed_worker_is_a_loss_and_its_console_is_there
    test_long_console = ProcessContract.test_a_long_console_arrives_whole
    test_reports_meanwhile = ProcessContract.test_reports_arrive_while_the_step_runs
    test_versions = ProcessContract.test_two_versions_of_a_module_never_mix

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        from hpo_pipelines.executors.ray import RayExecutor

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HPO_RAY_CPUS", "2")
            ray = RayExecutor(shared_files=False)
            yield ray
            ray.close()

    shares_files = False

    def test_it_is_another_process_which_is_kept(self, bench: Bench) -> None:
        """Ray chooses the worker, and each keeps its own."""
        assert len({bench.run(steps.where)["pid"] for _ in range(6)}) <= 2
