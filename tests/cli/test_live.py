"""The live view of a run: what it draws, what it costs, and that it never gets in the way."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from samples import bodies

from hpo_pipelines import Workspace
from hpo_pipelines.cli import live
from hpo_pipelines.cli.live import Display, PlainDisplay, TreeDisplay, shown
from hpo_pipelines.cli.tree import Node
from hpo_pipelines.progress import printing_above
from hpo_pipelines.run import Run


class Terminal(io.StringIO):
    """A terminal that keeps what is drawn on it."""

    def isatty(self) -> bool:
        return True

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Make this the standard output and error. Not in a fixture: pytest sets its own before each test."""
        with contextlib.redirect_stdout(self), contextlib.redirect_stderr(self):
            yield

    def screen(self) -> list[str]:
        """What is left standing after cursor movements and erasures, as far as they are those that rich makes."""
        rows: list[str] = [""]
        at, text = 0, self.getvalue()
        while text:
            if text.startswith("\x1b["):
                end = next(index for index, letter in enumerate(text) if letter.isalpha())
                code, number = text[end], text[2:end]
                if code == "A":
                    at -= int(number or 1)
                elif code == "K":
                    rows[at] = ""
                text = text[end + 1 :]
                continue
            if text[0] == "\n":
                at += 1
                rows += [""] * (at + 1 - len(rows))
            elif text[0] != "\r":
                rows[at] += text[0]
            text = text[1:]
        return [row.rstrip() for row in rows if row.strip()]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 100 columns and 30 lines."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "30")
    return Terminal()


@pytest.fixture
def place(home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    with Workspace(home=home) as opened:
        yield opened


def drafted(place: Workspace, pipeline: Any, **params: Any) -> Run:
    draft: Run = pipeline.draft(workspace=place, executor="inline", **params)
    return draft


def test_on_a_terminal_the_tree_is_left_standing_and_prints_stand_above_it(
    place: Workspace, terminal: Terminal
) -> None:
    draft = drafted(place, bodies.training)
    with terminal.installed(), shown(draft, plain=False):
        draft.run()
    screen = terminal.screen()
    assert screen[0] == "the body says 5"
    assert screen[1].startswith("✓ training#1")
    assert screen[1].endswith("completed  4 steps, 1 reused") or screen[1].endswith("completed  4 steps")
    assert [line.split()[2] for line in screen[2:]] == ["number", "fit", "number.2", "fit.2"]
    assert "\x1b[?25h" in terminal.getvalue()  # the cursor is back


def test_a_failure_is_drawn_too(place: Workspace, terminal: Terminal) -> None:
    draft = drafted(place, bodies.refusing, x=3)
    with terminal.installed(), shown(draft, plain=False):
        draft.run()
    screen = "\n".join(terminal.screen())
    assert "✗ refusing#1" in screen
    assert "✗ refuse" in screen
    assert "refused 3" in screen
    assert "upstream refuse failed" in screen


def test_while_it_runs_the_tree_says_what_runs_and_what_waits(
    place: Workspace, terminal: Terminal, tmp_path: Path
) -> None:
    gate, mark = tmp_path / "gate", tmp_path / "mark"
    draft = bodies.early.draft(workspace=place, executor="local", gate=str(gate), mark=str(mark))

    seen: list[str] = []

    def open_the_gate() -> None:
        try:
            until(lambda: "waits for waits" in "\n".join(terminal.screen()))
            seen.extend(terminal.screen())
        finally:
            gate.touch()

    opening = threading.Thread(target=open_the_gate)
    opening.start()
    with terminal.installed(), shown(draft):
        finished = draft.run()
    opening.join()
    assert finished.status == "completed", finished.error
    assert [line.split()[1:3] for line in seen if "├─ ●" in line] == [["●", "waits"]]
    assert "✓ use" in "\n".join(terminal.screen())


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came to hold"
        threading.Event().wait(0.02)


def test_inline_runs_leave_the_terminal_to_a_debugger(place: Workspace, terminal: Terminal) -> None:
    draft = drafted(place, bodies.simple)
    with terminal.installed(), shown(draft):
        draft.run()
    assert "\x1b[?25l" not in terminal.getvalue()
    assert "simple#1/add  \x1b" in terminal.getvalue()


def test_a_breakpoint_gets_the_terminal(place: Workspace, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    stops: list[bool] = []
    display = TreeDisplay(terminal)
    monkeypatch.setattr(sys, "breakpointhook", lambda: stops.append(display._live.is_started))
    with display.opened():
        assert display._live.is_started
        breakpoint()
        display.show(node(status="completed"), time.time())
    assert stops == [False]
    assert "✓ churn#1" in "\n".join(terminal.screen())


def node(status: str) -> Node:
    from hpo_pipelines.task import Task
    from hpo_pipelines.types import Kind, Status

    times = {"started_at": 1.0, "finished_at": 2.0}
    return Node(Task("id", Kind.PIPELINE, "churn", "p", Status(status), "churn", number=1, **times))


def test_lines_are_said_once_and_in_the_order_of_what_happened(place: Workspace) -> None:
    stream = io.StringIO()
    draft = drafted(place, bodies.outer, x=5)
    run = draft.run()
    display = PlainDisplay(stream)
    from hpo_pipelines.cli.tree import read

    tree = read(place.store, run.id)
    display.show(tree, time.time())
    display.show(tree, time.time())
    names = [line.split("  ")[:2] for line in stream.getvalue().splitlines()]
    inner = "outer#1/simple"
    assert names == [
        [inner, "completed"], [f"{inner}/number", "completed"], [f"{inner}/add", "completed"],
        ["outer#1/add", "completed"], ["outer#1", "completed"],
    ]  # fmt: skip


def test_a_step_that_waits_says_why_only_after_a_while() -> None:
    from dataclasses import replace

    from hpo_pipelines.task import Task
    from hpo_pipelines.types import Kind, Status

    waiting = Task(
        "s", Kind.STEP, "fit", "p", Status.QUEUED, component="fit", reason="waits for load", created_at=100.0
    )
    tree = Node(replace(node("running").task), {}, (Node(waiting),))
    stream = io.StringIO()
    display = PlainDisplay(stream)
    display.show(tree, 100.5)
    assert stream.getvalue() == "churn#1  running\n"
    display.show(tree, 101.5)
    display.show(tree, 102.5)
    assert stream.getvalue() == "churn#1  running\nchurn#1/fit  queued  waits for load\n"


# -- never in the way


class Failing(Display):
    def show(self, tree: Node, now: float) -> None:
        raise OSError("the terminal has gone")


def test_what_goes_wrong_in_showing_never_reaches_the_run(
    place: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(live, "PlainDisplay", lambda stream: Failing())
    draft = drafted(place, bodies.simple)
    with shown(draft):
        run = draft.run()
    assert run.status == "completed"
    assert capsys.readouterr().err.splitlines() == [
        "the run goes on, but cannot be shown: OSError: the terminal has gone"
    ]


def test_a_run_that_is_interrupted_is_shown_as_it_ended(place: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    from hpo_pipelines import pipeline

    @pipeline
    def interrupted() -> None:
        raise KeyboardInterrupt

    draft = drafted(place, interrupted)
    with pytest.raises(KeyboardInterrupt), shown(draft):
        draft.run()
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted#1  aborted  interrupted"
    assert not [thread for thread in threading.enumerate() if thread.name == "hpo-live"]


def test_the_more_a_look_costs_the_longer_until_the_next(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    spent = iter([0.0, 0.0, 1.0, 1.05, 2.0, 2.0001])

    class Slow(Display):
        def show(self, tree: Node, now: float) -> None: ...

    class Over(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0.0)
            return len(waited) > 3

    follower = live._Follower(drafted(place, bodies.simple), Slow())
    follower._over = Over()
    monkeypatch.setattr(live.time, "thread_time", lambda: next(spent))
    follower._follow()
    assert waited == [0.0, 0.2, pytest.approx(2.5), 0.2]  # 0.05 s of CPU are 2 % of 2.5 s


@pytest.mark.integration
def test_the_view_takes_less_than_two_percent_of_a_cpu(place: Workspace, terminal: Terminal, tmp_path: Path) -> None:
    gate, mark = tmp_path / "gate", tmp_path / "mark"
    draft = bodies.early.draft(workspace=place, executor="local", gate=str(gate), mark=str(mark))
    looks: list[float] = []

    class Counting(live._Follower):
        def _try(self) -> None:
            began = time.thread_time()
            super()._try()
            looks.append(time.thread_time() - began)

    display = TreeDisplay(terminal)
    follower = Counting(draft, display)
    driving = threading.Thread(target=draft.run)
    driving.start()
    until(lambda: Path(f"{gate}.began").exists())
    with display.opened():
        began = time.monotonic()
        follower.start()
        until(lambda: time.monotonic() - began > 6)
        share = sum(looks) / (time.monotonic() - began)
        gate.touch()
        driving.join()
        follower.stop()
    assert 3 <= len(looks) <= 5 * 8
    assert share < 0.02


# -- printing above


def test_prints_and_logs_stand_above_what_is_drawn(terminal: Terminal) -> None:
    from rich.console import Console
    from rich.live import Live

    logger = logging.getLogger("tests.above")
    handler = logging.StreamHandler(terminal)
    logger.addHandler(handler)
    other = logging.StreamHandler(io.StringIO())
    logger.addHandler(other)
    console = Console(file=terminal)
    quiet = Live("drawn", console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
    try:
        with terminal.installed(), printing_above(console), quiet:
            print("[bold]not markup[/bold]")
            print("10%\r100%")
            logger.warning("logged %s", 1)
            sys.stderr.write("begun")
            sys.stderr.flush()
            sys.stdout.writelines(["a\n", "b\n"])
            kept = sys.stdout
            assert kept.isatty()
        print("below", file=terminal)
        print("kept", file=kept)  # whoever holds on to the stream writes on
    finally:
        logger.removeHandler(handler)
        logger.removeHandler(other)
    assert handler.stream is terminal
    lines = terminal.screen()
    assert lines[:5] == ["[bold]not markup[/bold]", "100%", "logged 1", "a", "b"]
    assert sorted(lines[5:7]) == ["begun", "drawn"]
    assert lines[7:] == ["below", "kept"]
