"""What every run keeps to, whichever executor runs its steps: inherited by a test class for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from samples import bodies

from hpo_pipelines import Status, StepFailed, StepLost, Workspace, result
from hpo_pipelines.errors import ParameterError
from hpo_pipelines.run import Run


def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for ``condition`` to hold and return what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition never came to hold"
        threading.Event().wait(0.01)
    return found


class RunContract:
    """Every executor."""

    executor: str

    @pytest.fixture(scope="class")
    @classmethod
    def workspace(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
        with Workspace(home=tmp_path_factory.mktemp(cls.executor)) as opened:
            yield opened

    def run(self, workspace: Workspace, pipeline: Any, **params: Any) -> Run:
        return pipeline.run(executor=self.executor, workspace=workspace, **params)  # type: ignore[no-any-return]

    def test_a_run_is_recorded(self, workspace: Workspace) -> None:
        run = self.run(workspace, bodies.simple, x=41, y=1)
        assert run.status is Status.COMPLETED
        assert run.value == 42
        assert run.params == {"x": 41, "y": 1}
        assert list(run.steps) == ["number", "add"]
        assert run.steps["add"].outputs == {"value": 42}
        edge = workspace.store.tasks.edges(run.id)[0]
        assert (edge.kind, edge.output, edge.input) == ("data", "value", "x")

    def test_the_second_run_reuses_and_has_the_next_number(self, workspace: Workspace) -> None:
        first = self.run(workspace, bodies.simple, x=7)
        second = self.run(workspace, bodies.simple, x=7)
        assert second.number == (first.number or 0) + 1
        assert second.value == first.value
        for name, step in second.steps.items():
            assert step.status is Status.COMPLETED
            assert step.reused_from is not None
            assert "reused from" in (step.reason or ""), name

    def test_a_scalar_output_and_the_same_literal_have_one_key(self, workspace: Workspace) -> None:
        run = self.run(workspace, bodies.simple, x=1001, y=5)
        assert run.steps["add"].reused_from is None
        again = self.run(workspace, bodies.refusing, x=1002)
        assert again.value == 1003
        # add(number(1001), 5) and the chain below give the same inputs to `add` by other ways.
        other = self.run(workspace, bodies.interpreted, program=[["add", 0, 0]], start=1000)
        assert other.value[1] == 1003

    def test_refresh_runs_anew(self, workspace: Workspace) -> None:
        self.run(workspace, bodies.simple, x=70)
        named = bodies.simple.run(x=70, executor=self.executor, workspace=workspace, refresh=["number"])
        assert named.steps["number"].reused_from is None
        assert named.steps["number"].reason == "refresh"
        assert named.steps["add"].reused_from is not None  # its input is the same value
        everything = bodies.simple.run(x=70, executor=self.executor, workspace=workspace, refresh=True)
        assert [step.reused_from for step in everything.steps.values()] == [None, None]

    def test_the_body_looks_and_triggers_again(self, workspace: Workspace) -> None:
        run = self.run(workspace, bodies.training, x=1, epochs=2)
        assert run.value == {"model": 5, "epochs": 4}
        assert list(run.steps) == ["number", "fit", "number.2", "fit.2"]
        assert run.metrics["fit.auc"] == pytest.approx(0.1 + 0.3)
        assert run.metrics["fit.2.auc"] == pytest.approx(0.1 + 0.3)
        series = workspace.store.metrics.of([run.steps["fit"].id])
        assert [(m.step, round(m.value, 3)) for m in series] == [(0, 0.1), (1, 0.2)]
        controls = {(e.source, e.target) for e in workspace.store.tasks.edges(run.id) if e.kind == "control"}
        assert (run.steps["fit"].id, run.steps["number.2"].id) in controls
        assert run.console().strip() == "the body says 5"

    def test_metrics_of_a_reused_step_are_there_too(self, workspace: Workspace) -> None:
        self.run(workspace, bodies.training, x=3, epochs=3)
        again = self.run(workspace, bodies.training, x=3, epochs=3)
        assert again.steps["fit"].reused_from is not None
        assert again.metrics["fit.auc"] == pytest.approx(0.3 + 0.2)

    def test_a_failure_is_raised_where_it_is_looked_at_as_the_users_own(self, workspace: Workspace) -> None:
        run = self.run(workspace, bodies.refusing, x=3, catch=True)
        assert run.status is Status.COMPLETED
        assert run.value == "caught 3"
        assert run.steps["refuse"].status is Status.FAILED
        assert (run.steps["refuse"].error or {})["type"] == "Refused"

    def test_a_failure_that_is_not_caught_fails_the_run_and_skips_what_uses_it(self, workspace: Workspace) -> None:
        run = self.run(workspace, bodies.refusing, x=5)
        assert run.status is Status.FAILED
        assert run.steps["add"].status is Status.SKIPPED
        assert run.steps["add"].reason == "upstream refuse failed"
        assert "refused 5" in (run.error or {})["message"]
        assert "raise Refused(x)" in (run.error or {})["traceback"]
        with pytest.raises(StepFailed, match="refused 5"):
            _ = run.value

    def test_a_failure_nobody_looked_at_fails_the_run(self, workspace: Workspace) -> None:
        run = self.run(workspace, bodies.unseen, x=7)
        assert run.status is Status.FAILED
        assert "nobody looked" in (run.reason or "")

    def test_retries_are_attempts_of_their_own(self, workspace: Workspace, tmp_path: Path) -> None:
        run = self.run(workspace, bodies.flaking, counter=str(tmp_path / "count"))
        assert run.value == 2
        attempts = run.steps["flaky"].attempts
        assert [attempt.status for attempt in attempts] == [Status.FAILED, Status.FAILED, Status.COMPLETED]
        assert "not yet (0)" in (attempts[0].error or {})["message"]
        assert run.steps["flaky"].console(2).strip() == "attempt 2"
        assert run.steps["flaky"].console().split("\n")[:3] == ["attempt 1", "attempt 2", "attempt 3"]

    def test_a_clone_runs_with_other_parameters(self, workspace: Workspace) -> None:
        base = self.run(workspace, bodies.simple, x=90, y=1)
        draft = base.clone(y=2)
        assert draft.status is Status.DRAFT
        assert draft.task.cloned_from == base.id
        run = draft.run(executor=self.executor)
        assert run.id == draft.id
        assert run.value == 92
        assert run.params == {"x": 90, "y": 2}
        assert run.steps["number"].reused_from is not None
        assert [ancestor.id for ancestor in run.lineage()] == [base.id]

    def test_wrong_parameters_are_refused_before_anything_runs(self, workspace: Workspace) -> None:
        before = len(workspace.runs(limit=1000))
        with pytest.raises(ParameterError, match=r"no parameter 'xx'"):
            self.run(workspace, bodies.simple, xx=1)
        with pytest.raises(ParameterError, match="'x'"):
            self.run(workspace, bodies.simple, x="many")
        assert len(workspace.runs(limit=1000)) == before

    def test_rerun_from_a_step_and_of_what_failed(self, workspace: Workspace) -> None:
        base = self.run(workspace, bodies.simple, x=55)
        again = base.rerun(from_step="number")
        assert again.task.rerun_of == base.id
        assert [step.reused_from for step in again.steps.values()] == [None, None]
        kept = base.rerun(failed=True)
        assert all(step.reused_from for step in kept.steps.values())

    def test_a_pipeline_inside_a_pipeline_is_a_run_of_its_own(self, workspace: Workspace) -> None:
        run = self.run(workspace, bodies.outer, x=5)
        assert run.value == 115
        inner = [task for task in workspace.store.tasks.children(run.id) if task.component is None]
        assert [task.label.split("#")[0] for task in inner] == ["simple"]
        assert inner[0].status is Status.COMPLETED

    def test_the_console_of_each_step_and_of_the_body_apart(self, workspace: Workspace) -> None:
        run = self.run(workspace, bodies.loud, x=time.time_ns())
        assert run.console().startswith("controller")
        printed = run.steps["noisy"].console()
        assert "out" in printed
        assert "err" in printed
        assert "controller" not in printed

    def test_an_output_is_stored_in_the_format_it_asks_for(self, workspace: Workspace) -> None:
        run = self.run(workspace, bodies.formatted)
        refs = {name: workspace.store.tasks.outputs(step.id) for name, step in run.steps.items()}
        assert {name: ref.format for name, ref in refs["tables"].items()} == {"left": "parquet", "right": "arrow"}
        assert refs["table"]["value"].format == "parquet"
        assert run.value == 6

    def test_an_unknown_format_fails_the_step_and_names_those_there_are(self, workspace: Workspace) -> None:
        run = self.run(workspace, bodies.misformatted)
        assert run.status is Status.FAILED
        assert "parquet" in (run.error or {})["message"]

    def test_a_failure_is_caught_as_step_failed_too(self, workspace: Workspace) -> None:
        run = self.run(workspace, bodies.catching)
        assert run.value == "StepFailed: refused 1"

    def test_an_output_can_be_looked_at_after_its_run(self, workspace: Workspace) -> None:
        held: list[Any] = []
        bodies_pipeline = bodies.simple
        token = held.append(bodies_pipeline.run(x=1, executor=self.executor, workspace=workspace).value)
        assert token is None
        assert result(held[0]) == 3


class ProcessContract(RunContract):
    """Executors that run steps in processes of their own."""

    shares_files = True
    """Whether workers write console files themselves: of others the last moment of one that is killed is lost."""

    def start(self, workspace: Workspace, pipeline: Any, **params: Any) -> tuple[Run, threading.Thread]:
        draft = pipeline.draft(executor=self.executor, workspace=workspace, **params)
        thread = threading.Thread(target=lambda: workspace.start(draft.id), daemon=True)
        thread.start()
        return draft, thread

    def test_independent_steps_start_at_once_wherever_they_stand(self, workspace: Workspace, tmp_path: Path) -> None:
        gate, mark = tmp_path / "gate", tmp_path / "mark"
        draft, thread = self.start(workspace, bodies.early, gate=str(gate), mark=str(mark))
        eventually(mark.exists)  # marks() ran although use(waits()) stands before it and waits() has not ended
        assert not gate.exists()
        gate.touch()
        thread.join(20)
        assert draft.refreshed().status is Status.COMPLETED

    def test_all_of_the_console_is_captured(self, workspace: Workspace) -> None:
        run = self.run(workspace, bodies.loud, x=time.time_ns())
        printed = run.steps["noisy"].console()
        assert "child" in printed
        assert "raw" in printed

    def test_a_killed_worker_is_a_lost_attempt_and_then_another(self, workspace: Workspace, tmp_path: Path) -> None:
        run = self.run(workspace, bodies.dying, counter=str(tmp_path / "count"))
        assert run.value == 1
        attempts = run.steps["killed"].attempts
        assert [attempt.status for attempt in attempts] == [Status.FAILED, Status.COMPLETED]
        assert [attempt.number for attempt in attempts] == [1, 2]
        assert (attempts[0].error or {})["type"] == "StepLost"

    def test_a_worker_that_is_always_killed_is_lost_with_the_end_of_its_log(
        self, workspace: Workspace, tmp_path: Path
    ) -> None:
        run = self.run(workspace, bodies.dying, counter=str(tmp_path / "count"), times=9)
        assert run.status is Status.FAILED
        error = run.steps["killed"].error or {}
        assert error["type"] == StepLost.__name__
        assert not self.shares_files or "about to die" in error["log"]

    def test_a_step_that_overruns_its_time_is_gone_with_its_children(
        self, workspace: Workspace, tmp_path: Path
    ) -> None:
        run = self.run(workspace, bodies.overdue, pids=str(tmp_path / "pids"))
        assert run.status is Status.FAILED
        assert run.steps["endless"].reason == "timeout"
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        eventually(lambda: not any(_alive(pid) for pid in pids[1:]))

    def test_an_abort_stops_steps_and_their_children_within_two_seconds(
        self, workspace: Workspace, tmp_path: Path
    ) -> None:
        pids = tmp_path / "pids"
        draft, thread = self.start(workspace, bodies.hanging, pids=str(pids))
        children = [int(pid) for pid in eventually(lambda: pids.exists() and pids.read_text()).split()]
        began = time.monotonic()
        with Workspace(home=workspace.home) as elsewhere:
            aborted = elsewhere.abort(draft.id)
        assert aborted.status is Status.ABORTED
        eventually(lambda: not _alive(children[1]))
        thread.join(20)
        assert time.monotonic() - began < 5.0  # 2 s on an idle machine
        run = draft.refreshed()
        assert run.status is Status.ABORTED
        assert run.steps["forever"].status is Status.ABORTED

    def test_a_step_beyond_its_memory_is_stopped_and_says_so(self, workspace: Workspace) -> None:
        run = self.run(workspace, bodies.starving)
        assert run.status is Status.FAILED
        assert "out of memory: used" in (run.steps["hungry"].error or {})["message"]


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
