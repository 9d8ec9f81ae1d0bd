"""A run inside another that uses what the other has not finished yet."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine.contract import eventually
from samples import closing

from hpo_pipelines import Status, Workspace
from hpo_pipelines.run import Run


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("within")) as opened:
        yield opened


def inner(run: Run) -> Run:
    children = run.workspace.store.tasks.children(run.id)
    return Run(run.workspace, next(task for task in children if task.component is None))


def test_a_step_inside_waits_for_a_step_of_the_run_around(workspace: Workspace, tmp_path: Path) -> None:
    run = closing.around.run(gate=str(tmp_path / "gate"), executor="local", workspace=workspace)
    assert (run.status, run.value) == (Status.COMPLETED, 1111)
    steps = inner(run).steps
    assert [step.outputs["value"] for step in steps.values()] == [11, 111]
    edges = {(edge.source, edge.target) for edge in workspace.store.tasks.edges(inner(run).id)}
    assert (run.steps["held"].id, steps["plus"].id) in edges
    assert workspace.store.check() == []
    assert [why.verdict for why in run.why()] == ["ran"] * 4


def test_its_failure_is_that_of_the_run_inside(workspace: Workspace, tmp_path: Path) -> None:
    run = closing.around.run(gate=str(tmp_path / "gate"), say="fail", executor="local", workspace=workspace)
    assert run.status is Status.FAILED
    assert (run.error or {})["message"] == "told to fail"
    assert inner(run).steps["plus"].status is Status.SKIPPED
    assert inner(run).steps["plus"].reason == "upstream held failed"
    assert workspace.store.check() == []


def test_the_body_inside_may_catch_it(workspace: Workspace, tmp_path: Path) -> None:
    run = closing.catching.run(gate=str(tmp_path / "gate"), executor="local", workspace=workspace)
    assert (run.status, run.value) == (Status.COMPLETED, "caught told to fail")


def test_both_are_resumed(workspace: Workspace, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    failed = closing.around.run(gate=str(gate), say="fail", executor="local", workspace=workspace)
    assert failed.status is Status.FAILED
    gate.write_text("go on")
    resumed = failed.resume()
    assert resumed.value == 1111
    assert workspace.store.check() == []


def test_an_abort_ends_what_waits_inside(workspace: Workspace, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    draft = closing.stopping.draft(gate=str(gate), executor="local", workspace=workspace)
    driven = threading.Thread(target=draft.run)
    driven.start()
    eventually(lambda: Path(f"{gate}.began").exists(), 60)
    eventually(lambda: any(task.component is None for task in workspace.store.tasks.children(draft.id)), 60)
    draft.abort()
    driven.join(60)
    assert not driven.is_alive()
    assert draft.status is Status.ABORTED
    assert inner(draft).status is Status.ABORTED
