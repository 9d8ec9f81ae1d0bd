"""The steps of a run as a graph: what was called, and, while it goes on, what an earlier run lets expect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hpo_pipelines.server.layout import Drawing, Edge, drawing
from hpo_pipelines.store import Store, TaskFilter
from hpo_pipelines.task import Attempt, Task
from hpo_pipelines.task import Edge as StoredEdge
from hpo_pipelines.types import Kind, Status

PLANNED = "planned"
"""Where a step stands that the run has not called yet."""
REUSED = "reused"
"""What a reused step is shown as, whose status is completed."""
_ORDER = ("completed", REUSED, "running", "queued", "failed", "aborted", "pruned", "skipped", "draft", PLANNED)


@dataclass(frozen=True)
class Node:
    """One step, or one run inside. ``shown`` is its status, ``reused`` for what was reused, ``planned``."""

    name: str
    component: str
    shown: str
    id: str | None = None
    run: str | None = None
    """The id of a run inside."""
    note: str = ""
    origin: str | None = None
    """Label of the run that a reused step comes from; ``origin_run`` is its id."""
    origin_run: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    created_at: float | None = None
    attempts: int = 1
    expected: float | None = None
    """Seconds it took in the run that the expectation comes from."""

    @property
    def seconds(self) -> float | None:
        """None where it is not known, and of what was skipped, which did nothing."""
        if self.started_at is None or self.finished_at is None or self.shown == Status.SKIPPED:
            return None
        return self.finished_at - self.started_at

    @property
    def is_planned(self) -> bool:
        return self.shown == PLANNED


@dataclass(frozen=True)
class Link:
    """An edge between nodes by index; ``labels`` say which output goes to which input."""

    source: int
    target: int
    kind: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of the calls, with the edges between them."""

    nodes: tuple[Node, ...]
    like: str | None
    """Label of the run that tells what to expect."""
    linked: Callable[[], tuple[Link, ...]]
    """Reads the edges, which only a drawing needs."""

    @cached_property
    def links(self) -> tuple[Link, ...]:
        return self.linked()

    @cached_property
    def drawing(self) -> Drawing:
        return drawing(len(self.nodes), tuple(Edge(link.source, link.target) for link in self.links))

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many nodes stand where, in the order in which a bar shows them."""
        found = Counter(node.shown for node in self.nodes)
        return {shown: found[shown] for shown in _ORDER if shown in found}

    @property
    def done(self) -> int:
        return sum(node.shown in ("completed", REUSED) for node in self.nodes)

    def node(self, name: str | None) -> Node | None:
        return next((node for node in self.nodes if node.name == name), None)

    def record(self) -> dict[str, Any]:
        """Everything as JSON, with the drawing."""
        drawn = self.drawing
        return {
            "width": drawn.width,
            "height": drawn.height,
            "expected_like": self.like,
            "nodes": [
                {**vars(node), "seconds": node.seconds, "x": x, "y": y}
                for node, (x, y) in zip(self.nodes, drawn.places, strict=True)
            ],
            "edges": [
                {
                    "source": self.nodes[link.source].name,
                    "target": self.nodes[link.target].name,
                    "kind": link.kind,
                    "labels": list(link.labels),
                    "path": path,
                }
                for link, path in zip(self.links, drawn.paths, strict=True)
            ],
        }


def graph_of(store: Store, task: Task, children: Sequence[Task], attempts: Mapping[str, Sequence[Attempt]]) -> Graph:
    """The graph of the run ``task`` with these ``children`` as it stands now; ``attempts`` by the ids of its steps."""
    called = _nodes(store, children, attempts)
    names = {child.id: child.name if child.kind is Kind.STEP else child.label for child in children}
    like = None if task.status.finished else _expectation(store, task)
    planned, expected = _planned(store, like, {node.name for node in called}) if like is not None else ([], [])
    nodes = (*called, *planned)

    def linked() -> tuple[Link, ...]:
        links: dict[tuple[str, str, str], list[StoredEdge]] = {}
        for edge in store.tasks.edges(task.id):
            if edge.source in names and edge.target in names:
                links.setdefault((names[edge.source], names[edge.target], edge.kind), []).append(edge)
        for key in expected:
            links.setdefault(key, [])
        return _links(links, {node.name: i for i, node in enumerate(nodes)})

    return Graph(nodes, like.label if like is not None and planned else None, linked)


def _links(links: Mapping[tuple[str, str, str], Sequence[StoredEdge]], place: Mapping[str, int]) -> tuple[Link, ...]:
    """One link between two nodes: data where there is any, else control. Those against the order are left out."""
    best: dict[tuple[int, int], Link] = {}
    for (source, target, kind), edges in links.items():
        pair = place[source], place[target]
        labels = tuple(dict.fromkeys(f"{edge.output} → {edge.input}" for edge in edges if edge.input))
        if pair[0] != pair[1] and (pair not in best or kind == "data"):
            best[pair] = Link(*pair, kind, labels)
    return tuple(best.values())


def _nodes(store: Store, children: Sequence[Task], attempts: Mapping[str, Sequence[Attempt]]) -> list[Node]:
    origins = store.tasks.get_all([task.reused_from for task in children if task.reused_from])
    runs = store.tasks.get_all([task.parent for task in origins.values() if task.parent])
    return [_node(task, origins, runs, len(attempts.get(task.id, ()))) for task in children if _is_called(task)]


def _is_called(task: Task) -> bool:
    # What a resumed run has withdrawn has no place among its calls.
    return task.kind is Kind.PIPELINE or task.position is not None or task.status is not Status.SKIPPED


def _node(task: Task, origins: Mapping[str, Task], runs: Mapping[str, Task], attempts: int) -> Node:
    source = origins.get(task.reused_from or "")
    origin = None if source is None else runs.get(str(source.parent))
    reused = task.reused_from is not None and task.status is Status.COMPLETED
    note = ""
    if reused:
        # Of the same pipeline, which is nearly always so, the number says it all.
        known = None if origin is None else f"#{origin.number}" if origin.pipeline == task.pipeline else origin.label
        note = f"reused from {known}" if known else "reused"
    elif task.status in (Status.QUEUED, Status.DRAFT, Status.SKIPPED, Status.ABORTED, Status.PRUNED):
        note = task.reason or str(task.status)
    elif task.status is Status.FAILED:
        note = _failure(task)
    return Node(
        name=task.name if task.kind is Kind.STEP else task.label,
        component=task.component or str(task.pipeline),
        shown=REUSED if reused else str(task.status),
        id=task.id,
        run=task.id if task.kind is Kind.PIPELINE else None,
        note=note,
        origin=None if origin is None else origin.label,
        origin_run=None if origin is None else origin.id,
        started_at=task.started_at,
        finished_at=task.finished_at,
        created_at=task.created_at,
        attempts=attempts,
    )


def _failure(task: Task) -> str:
    error = task.error or {}
    message = str(error.get("message") or task.reason or "failed").partition("\n")[0]
    return f"{error['type']}: {message}" if "type" in error else message


def _expectation(store: Store, run: Task) -> Task | None:
    """The latest completed run of the same code, if there is one."""
    if run.snapshot is None:
        return None
    where = TaskFilter(
        kind=Kind.PIPELINE, project=run.project, pipeline=run.pipeline, status=Status.COMPLETED, top=True
    )
    return next((task for task in store.tasks.list(where, limit=20) if task.snapshot == run.snapshot), None)


def _planned(store: Store, like: Task, known: set[str]) -> tuple[list[Node], list[tuple[str, str, str]]]:
    """The steps of ``like`` that are not among the ``known``, and the edges into them."""
    steps = [task for task in store.tasks.children(like.id) if task.kind is Kind.STEP and _is_called(task)]
    names = {task.id: task.name for task in steps}
    fresh = [task for task in steps if task.name not in known]
    nodes = [Node(task.name, str(task.component), PLANNED, note="not yet", expected=task.seconds) for task in fresh]
    there = known | {task.name for task in fresh}
    wanted = {task.id for task in fresh}
    edges = [edge for edge in store.tasks.edges(like.id) if edge.target in wanted and names.get(edge.source) in there]
    return nodes, [(names[edge.source], names[edge.target], edge.kind) for edge in edges]
