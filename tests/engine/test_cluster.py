"""Runs on a Ray of several nodes, which have homes of their own and share the artifact store only."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import Nodes, attached, marked, short_folder
from engine.contract import ProcessContract
from engine.going import Going
from samples import spread
from services import wait_until

from hpo_pipelines import Status, Workspace
from hpo_pipelines.engine import RunOptions
from hpo_pipelines.types import Queue

pytestmark = pytest.mark.integration

QUEUES = {
    "one": {"labels": {"node": "one"}},
    "two": {"labels": {"node": "two"}, "resources": {"queue:two": 1}},
    "later": {"labels": {"node": "later"}},
}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with short_folder() as folder:
        made = Nodes(folder)
        try:
            made.add("one", num_cpus=2, labels={"node": "one"})
            made.add("two", num_cpus=2, labels={"node": "two"}, resources={"queue:two": 1})
            with attached(made.address, made.variables):
                yield made
        finally:
            made.end()


@pytest.fixture(scope="module")
def workspace(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_QUEUES", json.dumps(QUEUES))
        with Workspace(home=folder / "home", artifacts=f"file://{folder / 'artifacts'}") as opened:
            yield opened


class TestTwoNodes(ProcessContract):
    """What every run keeps to, with every other step on the other node."""

    executor = "ray"
    shares_files = False

    @pytest.fixture(scope="class")
    @classmethod
    def workspace(cls, workspace: Workspace) -> Iterator[Workspace]:
        """The module's, with steps sent to the nodes by turns: Ray would send each to the first that has room."""
        declared, turns = workspace.engine.queue, itertools.cycle(("one", "two"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                workspace.engine,
                "queue",
                lambda name: Queue(name, {"node": next(turns)}) if name == "default" else declared(name),
            )
            yield workspace

    def test_steps_run_on_both(self, workspace: Workspace) -> None:
        run = self.run(workspace, spread.anywhere, times=4)
        assert set(run.value) == {"one one one", "two two two"}


def visits(folder: Path, kind: str) -> list[str]:
    """Where each execution of a step was, in the order of their beginnings."""
    return [path.read_text() for path in sorted(folder.glob(f"{kind}.*"))]


def going(workspace: Workspace, pipeline: Any, **params: Any) -> Going:
    return Going(workspace, pipeline, executor="ray", **params)


def end(run: Going) -> Any:
    run._thread.join(120)
    return run.end()


def test_steps_go_where_their_queues_are_and_share_the_artifacts_only(
    nodes: Nodes, workspace: Workspace, tmp_path: Path
) -> None:
    run = spread.across.run(workspace=workspace, folder=str(tmp_path))
    assert run.value == sum(range(300_000)), run.error
    assert visits(tmp_path, "on_one") == ["one one one"]
    assert visits(tmp_path, "on_two") == ["two two two"]
    assert run.metrics["on_one.size"] == 3.0
    assert run.metrics["on_two.total"] == sum(range(300_000))
    for name, node in (("on_one", "one"), ("on_two", "two")):
        step = run.steps[name]
        assert step.console() == f"printed on {node} {node} {node}\n"
        assert str(step.attempts[0].worker).startswith("ray:")
    assert [path.name for path in (nodes.folder / "homes").glob("*/hpo")] == [], "a worker needed a home"
    again = spread.across.run(workspace=workspace, folder=str(tmp_path))
    assert [step.reused_from is not None for step in again.steps.values()] == [True, True]


def test_a_queue_caps_how_many_steps_run_and_the_others_say_so(workspace: Workspace, tmp_path: Path) -> None:
    run = going(workspace, spread.crowded, folder=str(tmp_path))
    names = ("capped", "capped.2", "capped.3")
    said = "waits: needs 1 queue:two, all 1 are in use"
    wait_until(lambda: sorted(run.reason(name) == said for name in names) == [False, True, True], "two to wait")
    assert len(list(tmp_path.glob("capped*"))) == 1
    (tmp_path / "go").touch()
    assert end(run).value == [0, 1, 2]


def test_one_key_is_computed_once(workspace: Workspace, tmp_path: Path) -> None:
    one, two = (going(workspace, spread.shared, folder=str(tmp_path), x=x) for x in (1.0, 2.0))
    wait_until(lambda: len(visits(tmp_path, "lasting")) == 1, "the shared step to begin")
    wait_until(lambda: "computing in" in one.reason("lasting") + two.reason("lasting"), "the other to wait for it")
    (tmp_path / "go").touch()
    ended = [end(each) for each in (one, two)]
    assert {run.value.split()[-1] for run in ended} == {"1", "2"}
    assert len(visits(tmp_path, "lasting")) == 1
    assert [run.steps["lasting"].reused_from is None for run in ended].count(True) == 1


class TestNothingIsLeft:
    """However a step is ended, the processes that it has started end with it, on whichever node they are."""

    @pytest.fixture
    def family(self, nodes: Nodes, tmp_path: Path) -> Callable[[], int]:
        """How many processes of the step there are."""
        return lambda: len(marked(spread.FAMILY, str(tmp_path)))

    def run(self, workspace: Workspace, tmp_path: Path, **params: Any) -> Going:
        return going(workspace, spread.grown, folder=str(tmp_path), mark=str(tmp_path), **params)

    def test_after_an_abort(self, workspace: Workspace, tmp_path: Path, family: Callable[[], int]) -> None:
        run = self.run(workspace, tmp_path)
        wait_until(lambda: family() == 2, "the grandchild")
        run.run.abort()
        assert end(run).status is Status.ABORTED
        wait_until(lambda: family() == 0, "the family to end")

    def test_after_a_timeout(self, workspace: Workspace, tmp_path: Path, family: Callable[[], int]) -> None:
        run = self.run(workspace, tmp_path, hasty=True)
        wait_until(lambda: family() == 2, "the grandchild")
        ended = end(run)
        assert (ended.status, ended.steps["hasty_parents"].reason) == (Status.FAILED, "timeout")
        wait_until(lambda: family() == 0, "the family to end")

    def test_after_pruning(self, workspace: Workspace, tmp_path: Path, family: Callable[[], int]) -> None:
        draft = spread.grown.draft(executor="ray", workspace=workspace, folder=str(tmp_path), mark=str(tmp_path))
        watch = lambda component, name, value, step: "hopeless" if family() == 2 else None  # noqa: E731
        ended = workspace.start(draft.id, RunOptions(watch=watch))
        assert (ended.status, ended.reason) == (Status.PRUNED, "hopeless")
        assert ended.metrics["parents.epoch"] >= 0
        wait_until(lambda: family() == 0, "the family to end")


def test_a_step_that_uses_too_much_memory_says_how_much(workspace: Workspace) -> None:
    run = spread.overflowing.run(executor="ray", workspace=workspace)
    assert run.status is Status.FAILED
    error = run.steps["greedy"].error
    assert error is not None
    assert error["type"] == "StepLost"
    assert "out of memory: used" in error["message"]
    assert "of 400 MB" in error["message"]


def test_a_step_says_what_it_waits_for_and_runs_when_that_comes(nodes: Nodes, workspace: Workspace) -> None:
    run = going(workspace, spread.patient)
    wait_until(lambda: run.reason("on_later") == "waits: needs label node=later, no node has it", "the reason")
    assert run.step("on_later").status is Status.QUEUED  # type: ignore[union-attr]
    nodes.add("later", num_cpus=1, labels={"node": "later"})
    assert end(run).value == "later later later"


def test_a_node_that_dies_takes_no_run_with_it(nodes: Nodes, workspace: Workspace, tmp_path: Path) -> None:
    run = going(workspace, spread.surviving, folder=str(tmp_path))
    wait_until(lambda: run.reason("first") == "waits: needs 1 pair, cluster has 0", "the reason")
    nodes.add("doomed", num_cpus=2, resources={"pair": 2})
    wait_until(lambda: len(visits(tmp_path, "second1") + visits(tmp_path, "second2")) == 2, "two steps on it")
    nodes.add("heir", num_cpus=2, resources={"pair": 2})
    nodes.kill("doomed")
    ended = end(run)
    assert ended.value == 3, ended.error
    assert visits(tmp_path, "first") == ["doomed doomed doomed"], "its output came from the artifact store"
    for name in ("second", "second.2"):
        lost, done = ended.steps[name].attempts
        assert lost.status is Status.FAILED
        assert "its node died" in str(lost.error) or "its process was killed" in str(lost.error)
        assert done.status is Status.COMPLETED
    assert visits(tmp_path, "second1")[1:] == visits(tmp_path, "second2")[1:] == ["heir heir heir"]
