"""Which executor a step's queue asks for, and what becomes of one that nothing serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo_pipelines import Resources, Workspace, component, pipeline

QUEUES = """
[queues.gpu]
labels = {accelerator = "a100"}
resources = {"queue:gpu" = 1}
[queues.small]
"""


@component(resources=Resources(queue="gpu"))
def on_gpu() -> int:
    return 1


@component(resources=Resources(queue="small"))
def on_small() -> int:
    return 2


@pipeline
def placed() -> int:
    return on_gpu()


@pipeline
def hidden(name: str = "gpu") -> int:
    # Not named in the body: it is only seen when it is called.
    return next(component for component in ALL if component.options.resources.queue == name)()


ALL = [on_gpu, on_small]


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    (home / "config.toml").write_text(QUEUES)
    with Workspace() as workspace:
        yield workspace


@pytest.mark.parametrize(
    ("resources", "executor"),
    [
        (Resources(), "local"),
        (Resources(queue="default"), "local"),
        (Resources(queue="small"), "ray"),
        (Resources(queue="gpu"), "ray"),
        (Resources(queue="nowhere"), "ray"),
        (Resources(gpu=1), "ray"),
    ],
)
def test_the_default_queue_alone_needs_no_ray(workspace: Workspace, resources: Resources, executor: str) -> None:
    assert workspace.engine.executor_for(resources) == executor


def test_a_default_queue_with_a_place_does(home: Path) -> None:
    (home / "config.toml").write_text('[queues.default]\nlabels = {zone = "a"}\n')
    with Workspace() as workspace:
        assert workspace.engine.executor_for(Resources()) == "ray"


def test_the_local_executor_places_nothing(workspace: Workspace) -> None:
    run = placed.run(executor="local", workspace=workspace)
    assert run.status == "failed"
    assert "needs 1 queue:gpu; the local executor has CPUs and memory only" in str(run.steps["on_gpu"].reason)
    assert hidden.run(name="small", executor="local", workspace=workspace).value == 2


def test_a_queue_that_nobody_could_see_coming_fails_its_step(home: Path) -> None:
    with Workspace() as workspace:
        run = hidden.run(executor="local", workspace=workspace)
        assert run.status == "failed"
        assert "there is no queue 'gpu'" in str(run.steps["on_gpu"].reason)
        assert "Known: default, services" in str(run.steps["on_gpu"].reason)
