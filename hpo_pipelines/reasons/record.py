"""What is said of a step: values, for people as text, for programs as JSON."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

REMOVED = "removed"
"""The status of an origin that was deleted."""

MOST = 3
"""How many changes a line names; the rest it counts."""


@dataclass(frozen=True)
class Change:
    """One part of a step's key that an earlier execution had otherwise.

    ``kind`` is that of :class:`hpo_pipelines.engine.keys.Difference`; ``old`` and ``new`` are values as they are shown,
    None where there are none to be shown; ``text`` says it all, ``brief`` without what stands behind it.
    """

    kind: str
    name: str
    text: str
    brief: str
    old: Any = None
    new: Any = None
    diff: str = ""
    """A unified diff of the source, for code; empty where one of the two is not to be had, or both are alike."""
    source: str | None = None
    """The step that produced a changed input."""


@dataclass(frozen=True)
class Origin:
    """Another step: whose outcome was reused, or which this one is compared with. ``at`` is since the epoch."""

    task: str
    label: str
    """``churn#48/fit``"""
    status: str
    at: float | None
    seconds: float | None


@dataclass(frozen=True)
class Why:
    """Why the step ``task`` stands where it stands.

    ``verdict`` is ``reused``, ``ran``, ``runs``, ``waits``, ``skipped`` or ``stopped``. ``cause`` says why in a word:
    for what was reused ``recorded``, ``kept`` or ``computed meanwhile``; for what ran ``new`` (never seen before),
    ``changed``, ``repeated`` (the same work failed, was stopped or was forgotten), ``refresh``, ``ttl``, ``off``,
    ``not reusable``, ``missing artifact``, or ``other``; for the rest it is the verdict.
    """

    task: str
    label: str
    """``churn#48/fit``"""
    component: str
    verdict: str
    cause: str
    reason: str
    """What follows the verdict, on one line."""
    origin: Origin | None = None
    changes: tuple[Change, ...] = ()
    failure: str | None = None
    """How it ended, if it failed."""
    note: str | None = None
    """What could not be found out."""
    path: str = ""
    """What the step is called in the run that was asked about: ``fit``, or of a run inside ``churn.2/fit``."""

    @property
    def line(self) -> str:
        """``ran: lr 0.1 → 0.03``"""
        said = self.reason if self.verdict == "reused" else f"{self.verdict}: {self.reason}"
        return f"{said}; failed: {self.failure}" if self.failure else said

    @property
    def brief(self) -> str:
        """:attr:`line` without what stands behind each change."""
        if self.cause == "changed":
            return f"{self.verdict}: {listed([change.brief for change in self.changes])}"
        return self.line

    def record(self) -> dict[str, Any]:
        """Everything as JSON."""
        found = dataclasses.asdict(self)
        found["changes"] = list(found["changes"])
        return {**found, "line": self.line}

    def __str__(self) -> str:
        """The whole story, on as many lines as it takes."""
        lines = [f"{self.label} {self.line}"]
        if self.origin is not None:
            lines.append(f"  {'from' if self.verdict == 'reused' else 'compared with'} {described(self.origin)}")
        if self.note:
            lines.append(f"  {self.note}")
        for change in self.changes:
            lines.append(f"  {change.text}")
            lines += [f"    {line}" for line in change.diff.splitlines()]
        return "\n".join(lines)


def described(origin: Origin) -> str:
    """``churn#48/fit, failed at 2026-01-31 12:00:00 after 1.5 s``, in local time."""
    if origin.status == REMOVED:
        return f"a step that was deleted since ({origin.task})"
    parts = [origin.label]
    if origin.at is not None:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(origin.at))
        parts.append(f"{origin.status} at {moment}")
    took = f" after {origin.seconds:.1f} s" if origin.seconds is not None else ""
    return ", ".join(parts) + took


def listed(texts: list[str]) -> str:
    """The first few of ``texts`` on one line, and how many more there are."""
    more = [f"and {len(texts) - MOST} more"] if len(texts) > MOST + 1 else []
    return "; ".join([*(texts[:MOST] if more else texts), *more])
