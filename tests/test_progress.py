"""What a study shows: lines without a terminal, a bar on one."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from typing import Any

import pytest

from hpo_pipelines import progress as shown
from hpo_pipelines.progress import bar, drawn, duration, is_terminal, line
from hpo_pipelines.study.progress import Progress


def state(**fields: Any) -> Progress:
    return Progress(**{"name": "lr", "total": 30, **fields})


def test_a_line_says_all_there_is() -> None:
    full = state(done=12, running=2, failed=1, pruned=3, steps=90, reused=40, best=0.98123456, best_run="churn#14")
    full.began = time.monotonic() - 24.0
    assert line(full) == (
        "lr: 12/30 trials, 2 running, 1 failed, 3 pruned, best 0.981235 in churn#14, 40 of 90 steps reused, 36.0 s left"
    )
    assert line(full, over=True).endswith("40 of 90 steps reused")
    assert line(state(total=None, done=3)) == "lr: 3 trials"
    assert line(state(done=30, note="timeout")) == "lr: 30/30 trials, timeout"


def test_lines_come_every_ten_trials_or_five_seconds_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    now = [100.0]
    monkeypatch.setattr(shown.time, "monotonic", lambda: now[0])
    progress = state(total=40)
    progress.began = 100.0
    with bar(progress) as changed:
        for done in range(1, 26):
            progress.done = done
            changed(progress)
        assert [text.split()[1] for text in stream.getvalue().splitlines()] == ["10/40", "20/40"]
        now[0] += 5.0
        changed(progress)  # five seconds, and five trials since the last line
        changed(progress)
        assert [text.split()[1] for text in stream.getvalue().splitlines()] == ["10/40", "20/40", "25/40"]
        now[0] += 60.0
        changed(progress)  # nothing ended since
        progress.note = "finishing what runs"
        changed(progress)
        assert len(stream.getvalue().splitlines()) == 4
        progress.done = 26
    assert stream.getvalue().splitlines()[-1] == "lr: 26/40 trials, finishing what runs"


def test_the_last_line_comes_also_when_the_study_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(KeyboardInterrupt), bar(state(done=1)):
        raise KeyboardInterrupt
    assert stream.getvalue() == "lr: 1/30 trials\n"


def rendered(progress: Progress, width: int) -> list[str]:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, legacy_windows=False)
    with console.capture() as capture:
        console.print(drawn(progress))
    return [text.rstrip() for text in capture.get().splitlines()]


def test_the_bar_says_all_there_is_on_two_lines() -> None:
    full = state(done=12, running=2, failed=1, steps=90, reused=40, best=0.98, best_run="churn#14", note="noted")
    full.began = time.monotonic() - 24.0
    first, second = rendered(full, 100)
    assert first.startswith("lr ━")
    assert "12/30 2 running 1 failed" in first
    assert first.endswith("s left")
    assert second == "best 0.98 in churn#14  40 of 90 steps reused  noted"
    assert rendered(state(total=None), 100) == ["lr 0"]
    assert len(rendered(full, 60)[-1]) <= 60
    assert rendered(state(done=40), 100)[0].endswith("40/30")  # more trials than asked for, from an earlier call


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_bar_is_left_standing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    progress = state(total=2)
    with contextlib.redirect_stderr(terminal), contextlib.redirect_stdout(terminal), bar(progress) as changed:
        print("from a body")
        progress.done = 2
        changed(progress)
    text = terminal.getvalue()
    assert text.index("from a body") < text.rindex("2/2")
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_what_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    closed = io.StringIO()
    closed.close()
    assert is_terminal(Terminal())
    assert not is_terminal(io.StringIO())
    assert not is_terminal(None)
    assert not is_terminal(closed)
    monkeypatch.setenv("TERM", "dumb")
    assert not is_terminal(Terminal())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (-0.2, "0.0 s"),
        (0.34, "0.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3599.6, "1 h 0 min"),
        (4320, "1 h 12 min"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
