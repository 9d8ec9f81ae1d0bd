"""What executors still have of a run, and what is recorded of an attempt of which nobody heard that it began."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from engine.contract import eventually
from samples import queueing

from hpo_pipelines import Status, Workspace
from hpo_pipelines.engine.attempts import Attempts
from hpo_pipelines.executors.base import Assignment, Cancelled, Listener, Lost, Message, Started
from hpo_pipelines.executors.inline import InlineExecutor


class Losing(InlineExecutor):
    """Loses its first attempt before anybody hears that it began; keeps the listener of each."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[Assignment, Listener]] = []

    def submit(self, assignment: Assignment, listener: Listener) -> None:
        self.given.append((assignment, listener))
        if len(self.given) == 1:
            listener(assignment, Lost("its process was killed"))
        else:
            super().submit(assignment, listener)


@pytest.fixture
def losing(home: Path) -> Losing:
    return Losing()


def test_a_worker_that_is_killed_before_it_says_a_word_is_an_attempt_too(losing: Losing, folder: Path) -> None:
    with Workspace() as workspace:
        workspace.engine._executors["inline"] = losing
        run = queueing.quick.run(folder=str(folder), executor="inline", workspace=workspace)
        assert run.status is Status.COMPLETED
        lost, done = run.steps["last"].attempts
    assert (lost.number, lost.status, (lost.error or {})["type"]) == (1, Status.FAILED, "StepLost")
    assert (done.number, done.status) == (2, Status.COMPLETED)


def test_an_attempt_is_out_until_its_end_is_reported(losing: Losing, folder: Path) -> None:
    with Workspace() as workspace:
        workspace.engine._executors["inline"] = losing
        queueing.quick.run(folder=str(folder), executor="inline", workspace=workspace)
    assignment, _ = losing.given[0]
    heard: list[Message] = []
    attempts = Attempts()
    assert attempts.settle(0)
    listener = attempts.listened(assignment, lambda _, message: heard.append(message))
    listener(assignment, Started("w"))
    assert not attempts.settle(0)
    settled = threading.Thread(target=attempts.settle, args=(60.0,))
    settled.start()
    listener(assignment, Cancelled())
    eventually(lambda: not settled.is_alive())
    assert attempts.settle(0)
    assert heard == [Started("w"), Cancelled()]
    attempts.listened(assignment, lambda _, message: None)
    attempts.forget(assignment)
    assert attempts.settle(0)
