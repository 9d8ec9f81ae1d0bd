from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from executors import steps
from executors.bench import Bench, Heard
from executors.contract import ExecutorContract

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.executors.base import Assignment, Cancelled, Executor, Message, Reported
from hpo_pipelines.executors.inline import InlineExecutor
from hpo_pipelines.types import Resources


class TestInline(ExecutorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        inline = InlineExecutor()
        yield inline
        inline.close()
        inline.close()

    @pytest.fixture
    def bench(self, executor: InlineExecutor, tmp_path: Path) -> Bench:  # type: ignore[override]
        bench = Bench(executor, tmp_path, steps.nothing)
        executor.use(bench.digest, bench.code)
        return bench

    def test_everything_happens_in_the_callers_thread(self, bench: Bench) -> None:
        heard = Heard(bench.assignment(steps.reports, "m", [1.0]))
        bench.executor.submit(heard.assignment, heard.listen)
        assert len(heard.messages) == 3
        assert heard.threads == {"MainThread"}

    def test_a_failure_keeps_the_exception_itself(self, bench: Bench) -> None:
        error = bench.submit(steps.fail_brittle).failed.error
        assert isinstance(error, steps.Brittle)
        assert error.lock is not None

    @pytest.mark.parametrize(
        ("limit", "options"), [("timeout", {"timeout": 1.0}), ("memory", {"resources": Resources(memory="1GB")})]
    )
    def test_limits_are_refused(self, bench: Bench, limit: str, options: Any) -> None:
        with pytest.raises(ConfigError, match=f"identity has {limit}=.*executor='local'"):
            bench.submit(steps.identity, 1, **options)

    def test_a_cancelled_step_ends_at_its_next_report(self, bench: Bench) -> None:
        heard = Heard(bench.assignment(steps.reports, "m", [1.0, 2.0, 3.0, 4.0]))

        def listen(assignment: Assignment, message: Message) -> None:
            heard.listen(assignment, message)
            if isinstance(message, Reported) and message.value == 2.0:
                bench.executor.cancel(assignment.id)

        bench.executor.submit(heard.assignment, listen)
        assert heard.ended == Cancelled()
        assert [m.value for m in heard.reports] == [1.0, 2.0]
        assert bench.run(steps.reports, "m", [1.0, 2.0]) == 2

    def test_ctrl_c_cancels_the_step_and_goes_on_to_the_caller(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(value: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(steps.identity, "function", interrupt)
        heard = Heard(bench.assignment(steps.identity, 1))
        with pytest.raises(KeyboardInterrupt):
            bench.executor.submit(heard.assignment, heard.listen)
        assert heard.ended == Cancelled()
