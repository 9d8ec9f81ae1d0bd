"""The timeout of a run as a whole, on local workers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import marked
from engine.going import Going
from samples import spread
from services import wait_until

from hpo_pipelines import Status, Workspace, component, pipeline
from hpo_pipelines.engine import deadline
from hpo_pipelines.errors import ConfigError, RunTimedOut

pytestmark = pytest.mark.integration

GATE = threading.Event()


@component(cache=False)
def waiting(folder: str) -> int:
    spread.visit(folder, "waiting")
    spread.stay(folder)
    return 7


@component(cache=False)
def quick(folder: str) -> int:
    spread.visit(folder, "quick")
    return 1


@pipeline(timeout=3.0)
def limited(folder: str) -> int:
    return quick(folder) + waiting(folder)


@pipeline
def around(folder: str, caught: bool = False) -> Any:
    if not caught:
        return limited(folder)
    try:
        return limited(folder)
    except RunTimedOut as error:
        return str(error)


@pipeline
def unlimited(folder: str) -> int:
    return waiting(folder)


@pipeline(timeout="3s")
def limited_around(folder: str) -> Any:
    try:
        return unlimited(folder)
    except RunTimedOut:
        return quick(folder)  # there is no time left for this


@pipeline(timeout=1)
def deaf(folder: str) -> int:
    GATE.wait(60)  # looks at nothing
    return quick(folder)


@pipeline(timeout="6 s")
def family(folder: str, mark: str) -> Any:
    return spread.parents(folder, mark)


@pipeline
def hasty(folder: str) -> Any:
    return quick(folder), quick(folder)


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    """With workers that are up."""
    with Workspace() as opened:
        start_workers(opened)
        yield opened


def start_workers(workspace: Workspace) -> None:
    """Have as many as are needed: how long that takes is nothing of a run's time that a test could count on."""
    folder = workspace.home / "hasty"
    folder.mkdir(exist_ok=True)
    hasty.run(workspace=workspace, executor="local", folder=str(folder))


def resumed(run: Any, folder: Path) -> Any:
    """``run``, resumed when what it waits for is there, and again a worker for the one that the timeout ended."""
    (folder / "go").touch()
    start_workers(run.workspace)
    return run.resume()


def check_timed_out(run: Any, label: str | None = None, seconds: float = 3) -> None:
    assert (run.status, run.reason) == (Status.FAILED, "timeout"), run.error
    assert run.error["type"] == "RunTimedOut"
    assert run.error["message"] == f"{label or run.label} ran longer than its timeout of {seconds:g} s"


def test_a_run_past_its_timeout_fails_and_resumed_has_all_of_it_again(workspace: Workspace, tmp_path: Path) -> None:
    run = limited.run(workspace=workspace, executor="local", folder=str(tmp_path))
    check_timed_out(run)
    assert run.steps["quick"].status is Status.COMPLETED
    assert (run.steps["waiting"].status, run.steps["waiting"].reason) == (Status.ABORTED, "timeout")
    again = resumed(run, tmp_path)
    assert (again.status, again.value) == (Status.COMPLETED, 8)
    assert len(list(tmp_path.glob("quick.*"))) == 1


def test_a_run_in_time_is_not_touched(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    before = threading.active_count()
    long = pipeline(timeout="1h")(limited.function)
    assert long.run(workspace=workspace, executor="local", folder=str(tmp_path)).value == 8
    wait_until(lambda: not any(isinstance(t, threading.Timer) for t in threading.enumerate()), f"{before} threads")


def test_a_run_inside_has_a_timeout_of_its_own(workspace: Workspace, tmp_path: Path) -> None:
    outer = around.run(workspace=workspace, executor="local", folder=str(tmp_path))
    (inner,) = [task for task in workspace.store.tasks.children(outer.id) if task.component is None]
    check_timed_out(workspace.get(inner.id))
    assert outer.status is Status.FAILED
    assert outer.error is not None
    assert outer.error["type"] == "RunTimedOut"
    assert resumed(outer, tmp_path).value == 8


def test_a_body_may_live_with_the_timeout_of_a_run_inside(workspace: Workspace, tmp_path: Path) -> None:
    outer = around.run(workspace=workspace, executor="local", folder=str(tmp_path), caught=True)
    assert outer.status is Status.COMPLETED
    assert "ran longer than its timeout of 3 s" in outer.value


def test_a_run_ends_those_inside_it_and_no_body_goes_on(workspace: Workspace, tmp_path: Path) -> None:
    outer = limited_around.run(workspace=workspace, executor="local", folder=str(tmp_path))
    check_timed_out(outer)
    (inner,) = [task for task in workspace.store.tasks.children(outer.id) if task.component is None]
    check_timed_out(workspace.get(inner.id), outer.label)
    assert list(tmp_path.glob("quick.*")) == []
    assert resumed(outer, tmp_path).value == 7


def test_a_body_that_looks_at_nothing_is_not_waited_for(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "GRACE_SECONDS", 0.2)
    GATE.clear()
    run = Going(workspace, deaf, executor="local", folder=str(tmp_path))
    wait_until(lambda: run.run.refreshed().status.finished, "the end")
    GATE.set()
    ended = run.end()
    check_timed_out(ended, seconds=1)
    assert ended.steps == {}


def test_its_steps_are_gone_with_all_that_they_started(workspace: Workspace, tmp_path: Path) -> None:
    run = Going(workspace, family, executor="local", folder=str(tmp_path), mark=str(tmp_path))
    wait_until(lambda: len(marked(spread.FAMILY, str(tmp_path))) == 2, "the grandchild")
    check_timed_out(run.end(), seconds=6)
    wait_until(lambda: marked(spread.FAMILY, str(tmp_path)) == [], "the family to end")


def test_inline_nothing_could_be_stopped(workspace: Workspace, tmp_path: Path) -> None:
    draft = limited.draft(workspace=workspace, executor="inline", folder=str(tmp_path))
    with pytest.raises(ConfigError, match=r"timeout=3 s, and the inline executor cannot stop a step.*'local'"):
        draft.run()
    assert draft.refreshed().status is Status.DRAFT
    run = around.run(workspace=workspace, executor="inline", folder=str(tmp_path))
    assert run.error is not None
    assert run.error["type"] == "ConfigError"
