"""A run as a tree of lines: pure, from what was read and the time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_pipelines.cli.live import drawn
from hpo_pipelines.cli.tree import FOLD, Line, Node, lines, summary, widths
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status


def step(name: str, status: Status = Status.COMPLETED, **fields: Any) -> Node:
    metrics = fields.pop("metrics", {})
    component = name.partition(".")[0]
    times = {"started_at": 100.0, "finished_at": 102.5} if status.finished else {"started_at": 100.0}
    task = Task(id=name, kind=Kind.STEP, name=name, project="p", status=status, component=component)
    return Node(Task(**{**vars(task), **times, **fields}), metrics)


def run(*inside: Node, status: Status = Status.RUNNING, number: int = 1, **fields: Any) -> Node:
    task = Task(id=f"run{number}", kind=Kind.PIPELINE, name="churn", project="p", status=status, pipeline="churn")
    return Node(Task(**{**vars(task), "number": number, "started_at": 90.0, **fields}), {}, inside)


def texts(tree: Node, height: int | None = None) -> list[str]:
    return [
        f"{line.guide}{line.mark} {line.name} {line.took} {line.note}".rstrip() for line in lines(tree, 110.0, height)
    ]


def test_a_line_for_each_step_with_why_it_waits() -> None:
    tree = run(
        step("load", reused_from="x", reason="reused from churn#1/load"),
        step("fit", Status.RUNNING, metrics={"loss": 0.25}, reason="never seen before"),
        step("fit.2", Status.FAILED, reason="boom\nand more"),
        step("score", Status.QUEUED, reason="waits for fit"),
        step("last", Status.SKIPPED, reason="upstream fit.2 failed"),
    )
    assert texts(tree) == [
        "● churn#1 20.0 s",
        "├─ ↻ load  reused from churn#1/load",
        "├─ ● fit 10.0 s loss=0.25",
        "├─ ✗ fit.2 2.5 s boom and more",
        "├─ · score  waits for fit",
        "└─ ○ last  upstream fit.2 failed",
    ]
    assert summary(tree) == "5 steps, 1 reused, 1 failed"


def test_a_run_inside_a_run_is_a_branch() -> None:
    tree = run(step("a"), run(step("b"), step("c"), number=2), step("d"))
    assert [line.guide for line in lines(tree, 110.0)] == ["", "├─ ", "├─ ", "│  ├─ ", "│  └─ ", "└─ "]
    assert [line.name for line in lines(tree, 110.0)] == ["churn#1", "a", "churn", "b", "c", "d"]
    assert lines(tree, 110.0)[2].note == "churn#2"
    assert summary(tree) == "4 steps"
    assert summary(run()) == ""


def test_often_called_components_are_one_line_but_for_what_is_news() -> None:
    calls = [step("fit" if index == 0 else f"fit.{index + 1}") for index in range(FOLD)]
    assert texts(run(*calls)) == ["● churn#1 20.0 s", f"└─ ✓ fit ×{FOLD} {2.5 * FOLD:.1f} s {FOLD} completed"]
    assert len(texts(run(*calls[:-1]))) == FOLD
    mixed = [*calls[:4], step("fit.5", Status.RUNNING), step("fit.6", Status.FAILED), step("fit.7", Status.QUEUED)]
    assert texts(run(*mixed))[1:] == [
        "├─ · fit ×5 10.0 s 4 completed, 1 waiting",
        "├─ ● fit.5 10.0 s",
        "└─ ✗ fit.6 2.5 s",
    ]
    reused = [step(f"fit.{index}", reused_from="x") for index in range(FOLD)]
    assert texts(run(*reused))[1:] == [f"└─ ↻ fit ×{FOLD}  {FOLD} reused"]


def test_what_is_done_makes_room_for_what_is_not() -> None:
    steps = [step(f"s{index}") for index in range(10)] + [step("now", Status.RUNNING), step("then", Status.QUEUED)]
    shown = [line.name for line in lines(run(*steps), 110.0, 6)]
    assert shown == ["churn#1", "… 8 more", "s8", "s9", "now", "then"]


@given(
    statuses=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(Status)), st.booleans()), max_size=40),
    height=st.integers(3, 30),
)
def test_any_tree_fits_and_draws(statuses: list[tuple[str, Status, bool]], height: int) -> None:
    nodes = [
        step(f"{name}.{index}", status, reused_from="x" if reused and status is Status.COMPLETED else None)
        for index, (name, status, reused) in enumerate(statuses)
    ]
    laid = lines(run(*nodes), 110.0, height)
    assert len(laid) <= height
    assert laid[0].name == "churn#1"
    text = drawn(laid, "note").plain.split("\n")
    assert len(text) == len(laid)
    name_width, _ = widths(laid)
    assert {line.index("  ", name_width) for line in text if len(line) > name_width + 1} <= {name_width}
    everything = lines(run(*nodes), 110.0)
    failed = [line.name for line in everything if line.status is Status.FAILED]
    assert failed == [f"{name}.{index}" for index, (name, status, _) in enumerate(statuses) if status is Status.FAILED]


@pytest.mark.parametrize("status", Status)
def test_every_status_has_a_mark_and_a_colour(status: Status) -> None:
    assert drawn([Line("", status, "x")]).plain.startswith(Line("", status, "x").mark)
