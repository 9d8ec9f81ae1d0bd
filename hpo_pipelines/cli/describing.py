"""Runs and steps as text, and as the JSON of :mod:`hpo_pipelines.description`: what every command prints."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from hpo_pipelines.accounting import Accounting
from hpo_pipelines.description import described, described_accounting, described_step, number, parameter, picture
from hpo_pipelines.progress import duration

if TYPE_CHECKING:
    from hpo_pipelines.run import Run

__all__ = [
    "COLOURS", "accounting_text", "attempt_text", "described", "described_accounting", "described_step", "duration",
    "number", "parameter", "picture", "short", "styled", "table", "when",
]  # fmt: skip

COLOURS = {
    "completed": "green", "failed": "red", "running": "blue", "queued": "cyan", "aborted": "yellow",
    "pruned": "magenta", "skipped": "bright_black", "draft": "white",
}  # fmt: skip


def accounting_text(sums: Accounting) -> str:
    """What a run or a study has cost and saved on one line; empty where no step was executed or reused."""
    if not sums.executions and not sums.reused:
        return ""
    parts = [f"{duration(sums.spent)} spent"]
    if sums.reused:
        at_least = "at least " if sums.unknown else ""
        parts.append(f"{at_least}{duration(sums.saved)} saved by reuse")
    if sums.wasted:
        causes = ", ".join(f"{cause} {duration(seconds)}" for cause, seconds in sums.wasted_by.items())
        parts.append(f"{duration(sums.wasted)} wasted ({causes})")
    return ", ".join(parts)


def when(moment: float | None) -> str:
    """A moment in local time, to the second; empty when unknown."""
    return "" if not moment else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def short(text: str, width: int = 60) -> str:
    """``text`` on one line of at most ``width`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def styled(status: str, text: str | None = None) -> str:
    """``text`` (default: the status itself) in the colour of ``status``."""
    return click.style(status if text is None else text, fg=COLOURS.get(status))


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """``rows`` as aligned columns under their names, empty columns left out, statuses in their colours."""
    every = dict.fromkeys(name for row in rows for name in row)
    names = [name for name in every if any(row.get(name) for row in rows)]
    widths = {name: max(len(name), *(len(row.get(name, "")) for row in rows)) for name in names}
    lines = ["  ".join(click.style(name.ljust(widths[name]), dim=True) for name in names).rstrip()]
    for row in rows:
        cells = []
        for name in names:
            cell = row.get(name, "").ljust(widths[name])
            cells.append(styled(row.get(name, ""), cell) if name == "status" else cell)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def attempt_text(run: Run) -> str | None:
    """Which attempt of its call the run is, and what came before and after; None for one that is the only one."""
    attempts = run.attempts
    if len(attempts) == 1 and run.attempt == 1:
        return None
    shown = [f"{each.label} (this)" if each.id == run.id else each.label for each in attempts]
    return f"{run.attempt} of {attempts[-1].attempt}: {' → '.join(shown)}"
