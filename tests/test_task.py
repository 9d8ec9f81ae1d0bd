from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hpo_pipelines.task import TRANSITIONS, Event, Task
from hpo_pipelines.types import Kind, Status, new_id

FINISHED = {status for status in Status if status.finished}


def task(**fields: object) -> Task:
    return dataclasses.replace(Task(new_id(), Kind.PIPELINE, "churn", "retention", pipeline="churn"), **fields)


def test_every_status_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert all(status not in after for status, after in TRANSITIONS.items())


def test_a_success_is_final_and_any_other_end_can_be_resumed() -> None:
    assert TRANSITIONS[Status.COMPLETED] == set()
    for status in FINISHED - {Status.COMPLETED}:
        assert TRANSITIONS[status] == {Status.QUEUED, Status.RUNNING}


def test_every_status_is_reached_and_every_task_can_end() -> None:
    reached, new = set(), {Status.DRAFT}
    while new:
        reached |= new
        new = {after for status in new for after in TRANSITIONS[status]} - reached
    assert reached == set(Status)
    for status in set(Status) - FINISHED:
        assert TRANSITIONS[status] & FINISHED


class StateMachine(RuleBasedStateMachine):
    """Whatever is tried, a task ends unsuccessful only after it was under way or waiting, and never leaves success."""

    def __init__(self) -> None:
        super().__init__()
        self.path = [Status.DRAFT]

    @rule(status=st.sampled_from(Status))
    def move(self, status: Status) -> None:
        if status in TRANSITIONS[self.path[-1]]:
            self.path.append(status)

    @invariant()
    def holds(self) -> None:
        for before, after in zip(self.path, self.path[1:], strict=False):
            if after in FINISHED:
                assert before not in FINISHED
                assert before is not Status.DRAFT or after is Status.ABORTED
            if after is Status.DRAFT:
                assert before is Status.QUEUED
        assert Status.COMPLETED not in self.path[:-1]


TestStateMachine = StateMachine.TestCase
TestStateMachine.settings = settings(max_examples=30, stateful_step_count=15, deadline=None)


names = st.sampled_from(["lr", "epochs", "path", "depth"])
params = st.dictionaries(names, st.none() | st.integers() | st.text(max_size=3), max_size=4)


@given(params, params, st.sampled_from(Status))
def test_a_clone_is_a_draft_with_parameters_laid_over(base: dict, changes: dict, status: Status) -> None:
    original = task(
        params=base, status=status, number=48, parent="p", position=3, study="s", trial=7, key="k", reused_from="r",
        reason="why", error={"type": "E"}, notes="n", rerun_of="x", cloned_from="older", snapshot="code", tags=("a",),
        git={"commit": "c"}, executor="ray", queue="gpu", created_at=1.0, started_at=2.0, finished_at=3.0,
    )  # fmt: skip
    clone = original.clone(changes)
    assert clone.id != original.id
    assert clone.params == {**base, **changes}
    assert clone.cloned_from == original.id
    fresh = task(
        id=clone.id, params=clone.params, cloned_from=original.id, snapshot="code", tags=("a",), git={"commit": "c"},
        executor="ray", queue="gpu",
    )  # fmt: skip
    assert clone == fresh
    assert original.params == base


def test_cloning_without_changes_keeps_the_parameters() -> None:
    assert task(params={"lr": 1}).clone().params == {"lr": 1}


def test_labels_and_seconds() -> None:
    assert task(number=48).label == "churn#48"
    assert Task(new_id(), Kind.STEP, "fit.2", "retention").label == "fit.2"
    assert task().seconds is None
    assert task(started_at=2.0).seconds is None
    assert task(started_at=2.0, finished_at=5.5).seconds == 3.5


@pytest.mark.parametrize(
    ("kind", "data", "line"),
    [
        ("status", {"from": "queued", "to": "running", "reason": None}, "queued -> running"),
        ("status", {"from": "running", "to": "failed", "reason": "timeout"}, "running -> failed: timeout"),
        ("metrics", {"first": 3, "last": 5}, "metrics first=3 last=5"),
        ("custom", {}, "custom"),
    ],
)
def test_an_event_is_one_line_of_a_story(kind: str, data: dict, line: str) -> None:
    assert Event(1, 1_700_000_000.1234, "t", kind, data).line == f"2023-11-14 22:13:20.123Z {line}"
