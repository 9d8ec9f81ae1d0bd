"""What a study shows while it runs, and how anything else may print while something is drawn on the terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from hpo_pipelines.study.progress import Progress

LINE_TRIALS, LINE_SECONDS = 10, 5.0
"""Without a terminal there is a line after so many trials, or after so long if any trial ended."""

_REDRAWS_PER_SECOND = 2.0


@contextlib.contextmanager
def bar(progress: Progress) -> Iterator[Callable[[Progress], None]]:
    """Show ``progress`` on standard error while the block runs: a bar on a terminal, else a line now and then.

    Yields what is to be called after every change; it returns at once.
    """
    if not is_terminal(sys.stderr):
        lines = _Lines(progress, sys.stderr)
        try:
            yield lines.changed
        finally:
            lines.close()
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(file=sys.stderr)
    live = Live(
        console=console,
        get_renderable=lambda: drawn(progress),
        refresh_per_second=_REDRAWS_PER_SECOND,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with printing_above(console), live:
        yield lambda progress: None


def drawn(progress: Progress) -> RenderableType:
    """``progress`` as two lines for a terminal: how far it is, and what came of it."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    first = Table.grid(padding=(0, 1))
    cells: list[RenderableType] = [Text(progress.name, "bold")]
    if progress.total is not None:
        cells.append(ProgressBar(max(progress.total, 1), min(progress.done, progress.total), width=30))
    cells += [Text(part) for part in (_done(progress), *_counts(progress), _left(progress)) if part]
    first.add_row(*cells)
    second = Text("  ".join(_results(progress)), "dim", no_wrap=True, overflow="ellipsis")
    return Group(first, second) if second else first


def line(progress: Progress, *, over: bool = False) -> str:
    """``progress`` on one line: ``lr: 12/30 trials, 2 running, best 0.98 in churn#14, 40 of 90 steps reused``."""
    left = "" if over else _left(progress)
    parts = [f"{_done(progress)} trials", *_counts(progress), *_results(progress), left]
    return f"{progress.name}: {', '.join(part for part in parts if part)}"


def _done(progress: Progress) -> str:
    return str(progress.done) if progress.total is None else f"{progress.done}/{progress.total}"


def _counts(progress: Progress) -> list[str]:
    named = {"running": progress.running, "failed": progress.failed, "pruned": progress.pruned}
    return [f"{count} {name}" for name, count in named.items() if count]


def _results(progress: Progress) -> list[str]:
    parts = []
    if progress.best is not None:
        parts.append(f"best {progress.best:.6g}" + (f" in {progress.best_run}" if progress.best_run else ""))
    if progress.front is not None:
        parts.append(f"{progress.front} on the front")
    if progress.steps:
        parts.append(f"{progress.reused} of {progress.steps} steps reused")
    return parts + ([progress.note] if progress.note else [])


def _left(progress: Progress) -> str:
    left = progress.seconds_left
    return f"{duration(left)} left" if left else ""


class _Lines:
    """Progress as lines, few enough for the log of a build."""

    def __init__(self, progress: Progress, stream: TextIO) -> None:
        self._progress = progress
        self._stream = stream
        self._done = progress.done
        self._note = ""
        self._at = time.monotonic()
        self._written = ""
        self._lock = threading.Lock()

    def changed(self, progress: Progress) -> None:
        with self._lock:
            fresh = progress.done - self._done
            late = fresh > 0 and time.monotonic() - self._at >= LINE_SECONDS
            if fresh >= LINE_TRIALS or late or progress.note != self._note:
                self._write()

    def close(self) -> None:
        """The last line, unless it stands there already."""
        with self._lock:
            if self._written != line(self._progress, over=True):
                self._write(over=True)

    def _write(self, *, over: bool = False) -> None:
        self._done, self._note, self._at = self._progress.done, self._progress.note, time.monotonic()
        self._written = line(self._progress, over=over)
        print(self._written, file=self._stream, flush=True)


# -- printing while something is drawn


@contextlib.contextmanager
def printing_above(console: Console) -> Iterator[None]:
    """While the block runs, what Python code prints to a terminal appears above what ``console`` draws.

    Holds for ``sys.stdout`` and ``sys.stderr`` and for the log handlers that write to them. C code and child processes
    write past it.
    """
    above: dict[int, Any] = {}
    streams = {}
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if is_terminal(stream):
            streams[name] = stream
            above[id(stream)] = _Above(console, stream)
            setattr(sys, name, above[id(stream)])
    handlers = [(handler, handler.stream) for handler in _stream_handlers() if id(handler.stream) in above]
    for handler, stream in handlers:
        handler.setStream(above[id(stream)])
    try:
        yield
    finally:
        for handler, stream in handlers:
            handler.setStream(stream)
        for name, stream in streams.items():
            above[id(stream)].close()
            if getattr(sys, name) is above[id(stream)]:
                setattr(sys, name, stream)


def _stream_handlers() -> Iterator[logging.StreamHandler[Any]]:
    loggers = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    for logger in loggers:
        for handler in getattr(logger, "handlers", ()):
            if isinstance(handler, logging.StreamHandler):
                yield handler


class _Above:
    """A stream whose lines are printed above what a console draws; closed, it is the stream it stands for."""

    def __init__(self, console: Console, stream: TextIO) -> None:
        self._console = console
        self._stream = stream
        self._begun = ""
        self._closed = False
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        if self._closed:
            return self._stream.write(text)
        with self._lock:
            whole, newline, self._begun = (self._begun + text).rpartition("\n")
        if newline:
            self._print(whole)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for text in lines:
            self.write(text)

    def flush(self) -> None:
        """A line is shown when it is whole."""

    def close(self) -> None:
        with self._lock:
            self._closed = True
            left, self._begun = self._begun, ""
        if left:
            self._print(left)

    def _print(self, text: str) -> None:
        from rich.text import Text

        self._console.print(Text.from_ansi(collapsed(text)), soft_wrap=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def collapsed(text: str) -> str:
    """``text`` with every line that was drawn over (``\\r``) reduced to what was drawn last."""
    if "\r" not in text:
        return text
    return "\n".join(next((part for part in reversed(row.split("\r")) if part), "") for row in text.split("\n"))


def duration(seconds: float | None) -> str:
    """``0.3 s``, ``2 min 5 s``, ``1 h 12 min``; empty when unknown."""
    if seconds is None:
        return ""
    if seconds < 59.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def is_terminal(stream: Any) -> bool:
    """Whether ``stream`` leads to a terminal that can be drawn on."""
    try:
        return stream is not None and bool(stream.isatty()) and os.environ.get("TERM") not in ("dumb", "unknown")
    except ValueError:  # closed
        return False
