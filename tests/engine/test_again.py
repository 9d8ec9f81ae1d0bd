"""What is run more than once: what it reported, what it was asked for, and one identity for outputs and literals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from samples import again, bodies
from sqlalchemy import event

from hpo_pipelines import Status, Workspace
from hpo_pipelines.cache import Limits, collect
from hpo_pipelines.engine import engine as engine_module
from hpo_pipelines.engine.journal import Journal
from hpo_pipelines.run import Run


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


def start(workspace: Workspace, pipeline: Any, **params: Any) -> Run:
    return pipeline.run(**{"executor": "inline", "workspace": workspace, **params})  # type: ignore[no-any-return]


def series(run: Run, step: str, name: str) -> list[tuple[int, float]]:
    metrics = run.workspace.store.metrics.of([run.steps[step].id])
    return [(metric.step, metric.value) for metric in metrics if metric.name == name]


# -- reports


def test_a_retry_reports_in_the_place_of_the_attempt_before(workspace: Workspace, folder: Path) -> None:
    (folder / "break.1").touch()
    run = start(workspace, again.learning, folder=str(folder))
    assert run.status is Status.COMPLETED
    assert series(run, "learns", "loss") == [(epoch, 20.0 + epoch) for epoch in range(5)]
    assert workspace.store.check() == []


def test_a_step_that_a_resumed_run_tries_again_reports_anew(workspace: Workspace, folder: Path) -> None:
    for times in (1, 2, 3):
        (folder / f"break.{times}").touch()
    failed = start(workspace, again.learning, folder=str(folder))
    assert failed.status is Status.FAILED
    assert series(failed, "learns", "loss") == [(0, 30.0), (1, 31.0)]  # of the last attempt, until there is another
    resumed = failed.resume()
    assert resumed.status is Status.COMPLETED
    assert series(resumed, "learns", "loss") == [(epoch, 40.0 + epoch) for epoch in range(5)]
    assert workspace.store.check() == []


def test_a_body_that_sees_another_value_reports_it_instead(workspace: Workspace, folder: Path) -> None:
    (folder / "break").touch()
    failed = start(workspace, again.learning, folder=str(folder))
    (folder / "break").unlink()
    resumed = failed.resume(from_step="learns")
    assert resumed.status is Status.COMPLETED
    own = [(metric.name, metric.value) for metric in workspace.store.metrics.of([resumed.id])]
    assert own == [("score", 2.0)]
    assert workspace.store.check() == []


def test_a_replayed_body_reports_what_it_reported_once() -> None:
    journal = Journal(None, [], [], {("loss", 0): [1.0, 2.0], ("auc", 0): [float("nan")]}, ())  # type: ignore[arg-type]
    assert journal.reported("loss", 0, 1.0) == (False, [])
    assert journal.reported("loss", 0, 3.0) == (True, [1.0, 3.0])
    assert journal.reported("loss", 0, 2.0) == (False, [2.0])
    assert journal.reported("auc", 0, float("nan")) == (False, [])
    assert journal.reported("new", 0, 1.0) == (False, [1.0])


# -- what a run was asked for


@pytest.mark.parametrize("asked", [{"refresh": True}, {"refresh": ["kept.2"]}, {"reuse": False}])
def test_a_resumed_run_does_what_it_was_asked_for(workspace: Workspace, folder: Path, asked: dict[str, Any]) -> None:
    start(workspace, again.twice, folder=str(folder))
    (folder / "break").touch()
    failed = start(workspace, again.twice, folder=str(folder), **asked)
    (folder / "break").unlink()
    assert failed.resume().status is Status.COMPLETED
    # Its outcome is known, and would have been reused.
    assert (folder / "kept.2").read_text().count("x") == 2
    usual = start(workspace, again.twice, folder=str(folder))
    assert usual.steps["kept.2"].reused_from is not None
    assert (usual.steps["kept.2"].reused_from == failed.steps["kept.2"].id) is ("refresh" in asked)


def test_a_resumed_rerun_of_what_failed_still_keeps_what_completed(workspace: Workspace, folder: Path) -> None:
    (folder / "break").touch()
    failed = start(workspace, again.learning, folder=str(folder))
    rerun = failed.rerun(failed=True)
    assert rerun.status is Status.FAILED
    (folder / "break").unlink()
    # As if the driver had gone before anything of it was recorded.
    resumed = rerun.resume(from_step="learns")
    assert resumed.steps["learns"].reused_from == failed.steps["learns"].id
    assert (folder / "learns").read_text().count("x") == 1


def test_a_usual_run_says_nothing_of_how_it_was_started(workspace: Workspace, folder: Path) -> None:
    run = start(workspace, again.twice, folder=str(folder))
    assert {event.kind for event in workspace.store.events.story(run.id)} == {"created", "status"}


# -- what is kept in memory, and asked of the store


def test_what_is_remembered_is_bounded(workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for known in (workspace.engine.label_of, workspace.engine.metrics_of, workspace.engine.snapshot_ref):
        assert known.cache_info().maxsize == engine_module._REMEMBERED


def test_a_journal_is_read_in_as_many_queries_whatever_the_steps(workspace: Workspace, folder: Path) -> None:
    runs = [start(workspace, again.twice, folder=str(folder)), start(workspace, again.learning, folder=str(folder))]
    counts = []

    def count(*_: Any) -> None:
        counts[-1] += 1

    engine = workspace.store._database.engine
    event.listen(engine, "before_cursor_execute", count)
    for run in runs:
        counts.append(0)
        Journal.of(workspace.store, run.task)
    event.remove(engine, "before_cursor_execute", count)
    assert len(runs[0].steps) > len(runs[1].steps)
    assert counts[0] == counts[1]


# -- a big literal is written anew by whoever passes it


def test_sweeping_a_big_literal_breaks_neither_resume_nor_rerun(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo_pipelines.cache.collection.GRACE", -86400.0)
    (folder / "break").touch()
    failed = start(workspace, again.big, folder=str(folder))

    def sweep() -> None:
        for holding in workspace.store.holdings.outcomes():
            workspace.store.cache.forget(holding.id)
        swept = collect(workspace.store, workspace.artifacts, workspace.home, Limits(unknown=True), settle=0.0).swept
        assert swept.size >= 30_000 * 8

    sweep()
    (folder / "break").unlink()
    assert failed.resume(from_step="length").value == 30_000
    sweep()
    rerun = failed.rerun(refresh=True)
    assert (rerun.status, rerun.value) == (Status.COMPLETED, 30_000)


# -- an output and the same literal


@pytest.mark.parametrize("shape", ["list", "tuple", "dict", "dataclass", "set"])
@pytest.mark.parametrize("literal_first", [True, False])
def test_an_output_in_a_container_is_the_literal_that_it_equals(
    workspace: Workspace, shape: str, literal_first: bool
) -> None:
    first = start(workspace, again.holding, shape=shape, literal=literal_first)
    second = start(workspace, again.holding, shape=shape, literal=not literal_first)
    assert first.value == second.value
    assert second.steps["text"].reused_from == first.steps["text"].id


# -- why it ran


@pytest.mark.parametrize("executor", ["inline", "local"])
def test_a_refreshed_step_that_failed_ran_for_that_reason(workspace: Workspace, executor: str) -> None:
    failed = start(workspace, bodies.refusing, x=3, refresh=True, executor=executor)
    assert [(why.cause, why.reason) for why in failed.why("refuse")] == [("refresh", "refresh")]


# -- how long a step took


@pytest.mark.parametrize("executor", ["inline", "local"])
def test_a_step_took_as_long_as_its_component_wherever_that_is_said(
    workspace: Workspace, folder: Path, executor: str
) -> None:
    (folder / "break.1").touch()
    run = start(workspace, again.timed, folder=str(folder), executor=executor)
    assert run.status is Status.COMPLETED
    slept, counted = run.steps["sleeps"], run.steps["learns"]
    entry = next(entry for entry in workspace.store.cache.list("sleeps"))
    last = slept.attempts[-1]
    assert slept.seconds == pytest.approx(entry.seconds, abs=1e-3)
    assert slept.seconds == pytest.approx((last.finished_at or 0.0) - last.started_at, abs=1e-6)
    # Of a step that was retried, the attempt that counts.
    assert len(counted.attempts) == 2
    last = counted.attempts[-1]
    assert counted.seconds == pytest.approx((last.finished_at or 0.0) - last.started_at, abs=1e-6)
    executed = [attempt for step in run.steps.values() for attempt in step.attempts]
    spent = sum((attempt.finished_at or 0.0) - attempt.started_at for attempt in executed)
    assert run.accounting.spent == pytest.approx(spent)
    planned = run.plan().steps
    assert [step.seconds for step in planned if step.component == "sleeps"] == [pytest.approx(slept.seconds, abs=1e-3)]
    assert slept.seconds >= 0.2
