"""When each step of a run waited and worked, in parts of the run's whole time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpo_pipelines.run import Run
from hpo_pipelines.server.graph import Graph, Node
from hpo_pipelines.task import Attempt


@dataclass(frozen=True)
class Bar:
    """A stretch of time, in per cent of the run's; ``kind`` is ``wait`` or what is shown of the attempt."""

    left: float
    width: float
    kind: str


@dataclass(frozen=True)
class Row:
    """One step with its bars; ``end`` is where its text begins."""

    node: Node
    bars: Sequence[Bar]
    end: float


@dataclass(frozen=True)
class Timeline:
    """``ticks`` are (per cent, seconds) of the axis."""

    rows: Sequence[Row]
    ticks: Sequence[tuple[float, float]]
    seconds: float


_ROOM = 1.14
"""The axis goes on past the end, so that what is written behind the last bars fits."""


def timeline_of(run: Run, graph: Graph, attempts: Mapping[str, Sequence[Attempt]]) -> Timeline:
    """The timeline of ``run`` as it stands now; of one that goes on up to this moment. ``attempts`` by steps' ids."""
    task = run.task
    start = task.started_at or task.created_at
    ends = [node.finished_at or node.started_at or start for node in graph.nodes]
    end = max([task.finished_at or (start if task.started_at is None else time.time()), *ends])
    whole = max((end - start) * _ROOM, 1e-3)
    rows = [_row(node, attempts.get(node.id or "", ()), start, end, whole) for node in graph.nodes]
    return Timeline(rows, _ticks(whole), whole)


def _row(node: Node, attempts: Sequence[Attempt], start: float, end: float, whole: float) -> Row:
    def bar(begun: float, ended: float, kind: str) -> Bar:
        left = min(max((begun - start) / whole * 100, 0.0), 100.0)
        return Bar(round(left, 3), round(max(min((ended - begun) / whole * 100, 100.0 - left), 0.0), 3), kind)

    bars = []
    if attempts:
        first = attempts[0].started_at
        if node.created_at and first - node.created_at > 0.01 * whole:
            bars.append(bar(node.created_at, first, "wait"))
        for attempt in attempts:
            kind = str(attempt.status) if attempt.finished_at else "running"
            bars.append(bar(attempt.started_at, attempt.finished_at or end, kind))
    elif node.started_at is not None:
        bars.append(bar(node.started_at, node.finished_at or end, node.shown))
    elif node.created_at is not None:
        bars.append(bar(node.created_at, node.finished_at or end, "wait"))
    return Row(node, bars, max((each.left + each.width for each in bars), default=0.0))


_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


def _ticks(whole: float) -> list[tuple[float, float]]:
    """At most seven round times."""
    step = next((step for step in _STEPS if whole / step <= 7), 7 * 86400)
    return [(round(i * step / whole * 100, 3), i * step) for i in range(int(whole / step) + 1)]
