"""A run as a tree of its steps: read from the store, then laid out as lines, for a terminal or for a page of text.

Reading and laying out are apart; laying out is pure: what a tree looks like follows from what was read, and the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hpo_pipelines.cli.describing import duration, number, short
from hpo_pipelines.task import Task, names_within
from hpo_pipelines.types import Status
from hpo_pipelines.waiting import waits_for

if TYPE_CHECKING:
    from hpo_pipelines.store import Store

FOLD = 6
"""From this many calls of one component on, those that are done are one line."""

MARKS = {
    Status.DRAFT: "·", Status.QUEUED: "·", Status.RUNNING: "●", Status.COMPLETED: "✓", Status.FAILED: "✗",
    Status.ABORTED: "■", Status.PRUNED: "✂", Status.SKIPPED: "○",
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """A run or a step as it stands; ``metrics`` are its last values, ``inside`` its steps and the runs inside it."""

    task: Task
    metrics: Mapping[str, float] = field(default_factory=dict)
    inside: tuple[Node, ...] = ()

    def named(self) -> list[tuple[str, Node]]:
        """What is inside, with the names that it has there: ``fit.2``, or ``churn.2`` of a run."""
        names = names_within(node.task for node in self.inside)
        return [(names[node.task.id], node) for node in self.inside]

    def steps(self) -> Iterator[Node]:
        """Every step, also of the runs inside."""
        for node in self.inside:
            yield from (node,) if node.task.component is not None else node.steps()


@dataclass(frozen=True)
class Line:
    """One line of a tree: ``guide`` are the branches before it, ``name`` is padded by whoever prints it."""

    guide: str
    status: Status
    name: str
    took: str = ""
    note: str = ""
    reused: bool = False

    @property
    def mark(self) -> str:
        return "↻" if self.reused else MARKS[self.status]


def read(store: Store, run: str) -> Node:
    """The tree of the run with the id ``run``, as it stands in the store now. Raises TaskNotFound."""
    task = store.tasks.get(run)
    task = replace(task, reason=waits_for(store, task) or task.reason)
    children = {task.id: store.tasks.children(task.id)}
    pending = [child for child in children[task.id] if child.component is None]
    while pending:
        inner = pending.pop()
        children[inner.id] = store.tasks.children(inner.id)
        pending += [child for child in children[inner.id] if child.component is None]
    latest: dict[str, dict[str, float]] = {}
    everything = [task.id, *(child.id for found in children.values() for child in found)]
    for (owner, name), value in store.metrics.latest(everything).items():
        latest.setdefault(owner, {})[name] = value

    def node(of: Task) -> Node:
        # By id, which is the order of the calls: a run inside has no position among the steps.
        inside = sorted(children.get(of.id, ()), key=lambda child: child.id)
        return Node(of, latest.get(of.id, {}), tuple(node(child) for child in inside))

    return node(task)


def lines(tree: Node, now: float, height: int | None = None) -> list[Line]:
    """``tree`` as lines, the run's own first; ``now`` (seconds since the epoch) makes durations of what is running.

    With a ``height`` there are at most that many lines: those of what is done go first.
    """
    laid = [_line("", tree.task.label, tree, now), *_below("", tree, now)]
    return laid if height is None or len(laid) <= height else _cut(laid, max(3, height))


def _below(guide: str, tree: Node, now: float) -> Iterator[Line]:
    groups = list(_grouped(tree.inside))
    names = {node.task.id: name for name, node in tree.named()}
    for index, group in enumerate(groups):
        last = index == len(groups) - 1
        own = guide + ("└─ " if last else "├─ ")
        if isinstance(group, Node):
            yield _line(own, names[group.task.id], group, now)
            yield from _below(guide + ("   " if last else "│  "), group, now)
        else:
            yield _folded(own, group)


def _grouped(nodes: Sequence[Node]) -> Iterator[Node | list[Node]]:
    """``nodes`` in their order; the done calls of an often called component as one list, where the first stood."""
    calls: dict[str, list[Node]] = {}
    for node in nodes:
        if node.task.component is not None:
            calls.setdefault(node.task.component, []).append(node)
    folded: dict[str, list[Node]] = {}
    for called in calls.values():
        group = [node for node in called if node.task.status in (Status.COMPLETED, Status.QUEUED)]
        if len(called) >= FOLD and len(group) > 1:
            folded |= {node.task.id: group for node in group}
    for node in nodes:
        group = folded.get(node.task.id, [node])
        if group[0] is node:
            yield node if len(group) == 1 else group


def _folded(guide: str, nodes: list[Node]) -> Line:
    done = [node for node in nodes if node.task.status is Status.COMPLETED]
    reused = sum(node.task.reused_from is not None for node in done)
    waiting = len(nodes) - len(done)
    counts = [f"{waiting} waiting" if waiting else "", f"{reused} reused" if reused else ""]
    if len(done) > reused:
        counts.insert(0, f"{len(done) - reused} completed")
    status = Status.QUEUED if waiting else Status.COMPLETED
    took = duration(sum(node.task.seconds or 0.0 for node in done)) if len(done) > reused else ""
    name = f"{nodes[0].task.component} ×{len(nodes)}"
    return Line(guide, status, name, took, ", ".join(filter(None, counts)), reused == len(nodes))


def _line(guide: str, name: str, node: Node, now: float) -> Line:
    task = node.task
    reused = task.reused_from is not None
    started = task.started_at if task.status is Status.RUNNING else None
    took = "" if reused else duration(task.seconds if started is None else now - started)
    if task.status in (Status.SKIPPED, Status.QUEUED, Status.DRAFT):
        took = ""
    metrics = ", ".join(f"{name}={number(value)}" for name, value in list(node.metrics.items())[:4])
    reason = short(_reason(task))
    label = task.label if guide and task.component is None else ""  # a run inside, as it is called elsewhere
    return Line(guide, task.status, name, took, "  ".join(filter(None, (label, metrics, reason))), reused)


def _reason(task: Task) -> str:
    """Why the task stands where it stands, where that is news: not for a step that simply ran."""
    if task.reason is None or (task.status in (Status.COMPLETED, Status.RUNNING) and task.reused_from is None):
        return ""
    return task.reason


def _cut(laid: list[Line], height: int) -> list[Line]:
    """``height`` lines of ``laid``: the first, then what is not done, then the latest of what is, in their order."""
    rest = range(1, len(laid))
    ranked = sorted(rest, key=lambda index: (laid[index].status is Status.COMPLETED, -index))
    kept = sorted(ranked[: height - 2])
    left_out = len(laid) - 1 - len(kept)
    more = Line("├─ ", Status.COMPLETED, f"… {left_out} more")
    return [laid[0], more, *(laid[index] for index in kept)]


def summary(tree: Node) -> str:
    """``5 steps, 2 reused, 1 failed`` of a run; empty without steps."""
    steps = list(tree.steps())
    if not steps:
        return ""
    reused = sum(node.task.reused_from is not None for node in steps)
    failed = sum(node.task.status is Status.FAILED for node in steps)
    parts = [f"{len(steps)} step{'s' if len(steps) != 1 else ''}"]
    parts += [f"{reused} reused"] if reused else []
    parts += [f"{failed} failed"] if failed else []
    return ", ".join(parts)


def widths(laid: Sequence[Line]) -> tuple[int, int]:
    """Of the two columns, name (with what stands before it) and time, that all lines share."""
    return max(len(line.guide) + len(line.name) + 2 for line in laid), max(len(line.took) for line in laid)
