"""What is recorded about executions, read once each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo_pipelines.errors import HpoPipelinesError, TaskNotFound
from hpo_pipelines.reasons.record import REMOVED, Origin
from hpo_pipelines.snapshot import Content
from hpo_pipelines.store.cache import MadeOf
from hpo_pipelines.task import Edge, Task
from hpo_pipelines.types import ArtifactRef

if TYPE_CHECKING:
    from hpo_pipelines.artifacts import ArtifactStore
    from hpo_pipelines.store import Store

LATEST = 50
"""How many earlier executions of a component are looked at."""

_FEW, _MANY = 32, 200
"""How many runs are read at first, and at most at a time: a step that is executed each time is found in the first."""
_MOST = 5000
"""How many steps are looked at."""


@dataclass(frozen=True)
class Execution:
    """A step that was computed, not reused; ``parts`` are those of its key, None where they are not recorded.

    Parts are recorded with an outcome: a step that failed has a key and no parts.
    """

    task: Task
    parts: Mapping[str, Any] | None


@dataclass(frozen=True)
class Fed:
    """An input that was the output ``name`` of ``step``; ``ref`` is what it was, None if it came to nothing."""

    step: Task
    name: str
    ref: ArtifactRef | None


class Reader:
    """Reads tasks, edges, outcomes and code, and keeps what it has read: for one question, not for long."""

    def __init__(self, store: Store, artifacts: ArtifactStore) -> None:
        self.store = store
        self.artifacts = artifacts
        self.lost: dict[str, str] = {}
        """Why the code of a snapshot is not to be had, by its digest."""
        self._tasks: dict[str, Task] = {}
        self._edges: dict[str, dict[str, list[Edge]]] = {}
        self._outputs: dict[str, dict[str, ArtifactRef]] = {}
        self._made_of: dict[str, MadeOf | None] = {}
        self._contents: dict[str, Content | None] = {}
        self._listed: dict[str, _Steps] = {}

    def task(self, id: str) -> Task:
        """The task ``id``, as it was when it was first asked for. Raises TaskNotFound."""
        if id not in self._tasks:
            self._tasks[id] = self.store.tasks.get(id)
        return self._tasks[id]

    def label(self, task: Task) -> str:
        """``churn#48/fit``"""
        return f"{self.task(task.parent).label}/{task.name}" if task.parent else task.name

    def origin(self, id: str) -> Origin:
        """The step ``id`` as one that another is measured by; its bare id where it is no longer there."""
        try:
            task = self.task(id)
        except TaskNotFound:
            return Origin(id, id, REMOVED, None, None)
        return Origin(id, self.label(task), str(task.status), task.finished_at or task.started_at, task.seconds)

    def know(self, tasks: Iterable[Task]) -> None:
        """``tasks`` were read already, and need not be again."""
        self._tasks |= {task.id: task for task in tasks}

    def expect(self, tasks: Sequence[Task]) -> None:
        """``tasks``, read already, are the children of a run that will be explained: read at once what that asks of
        each."""
        self.know(tasks)
        origins = self._all(_unique(task.reused_from for task in tasks))
        self._all(_unique(origin.parent for origin in origins))
        self._read_parts(_unique(task.key for task in tasks if task.reused_from is None))

    def made_of(self, key: str) -> MadeOf | None:
        """What the outcome recorded under ``key`` was made of."""
        self._read_parts([key])
        return self._made_of[key]

    def _read_parts(self, keys: Sequence[str]) -> None:
        fresh = [key for key in keys if key not in self._made_of]
        if fresh:
            self._made_of |= dict.fromkeys(fresh) | self.store.cache.made_of(fresh)

    def execution(self, task: Task) -> Execution:
        """``task``, a step, with the parts of its key."""
        made_of = self.made_of(task.key) if task.key is not None else None
        return Execution(task, None if made_of is None else made_of.parts)

    def fed(self, task: Task) -> dict[str, list[Fed]]:
        """The inputs of a step that were outputs, by argument; those inside containers stand under ``""``."""
        found: dict[str, list[Fed]] = {}
        for edge in self._edges_into(task):
            source = self.task(edge.source)
            found.setdefault(edge.input, []).append(Fed(source, edge.output, self._output(source.id, edge.output)))
        return found

    def _edges_into(self, task: Task) -> list[Edge]:
        if task.parent is None:
            return []
        if task.parent not in self._edges:
            grouped = self._edges[task.parent] = {}
            for edge in self.store.tasks.edges(task.parent):
                if edge.kind == "data":
                    grouped.setdefault(edge.target, []).append(edge)
        return self._edges[task.parent].get(task.id, [])

    def _output(self, task: str, name: str) -> ArtifactRef | None:
        if task not in self._outputs:
            self._outputs[task] = self.store.tasks.outputs(task)
        return self._outputs[task].get(name)

    def content(self, task: Task) -> Content | None:
        """The code that ``task`` ran, None where it is not to be had; :attr:`lost` then says why."""
        digest = task.snapshot
        if digest is None:
            return None
        if digest not in self._contents:
            self._contents[digest] = self._read(digest)
        return self._contents[digest]

    def _read(self, digest: str) -> Content | None:
        try:
            recorded = self.store.snapshots.get(digest)
            if recorded is None:
                self.lost[digest] = "its code was removed from the store"
                return None
            return Content.decode(self.artifacts.read_bytes(recorded.content))
        except HpoPipelinesError as error:
            self.lost[digest] = f"its code cannot be read: {error}"
            return None

    def earlier(self, task: Task) -> list[Task]:
        """The latest executions of the step's component that began before it: in its own pipeline, then in others."""
        own = self._earlier_in_pipeline(task)
        found = own if len(own) == LATEST else own + self._recorded(task, {task.id, *(each.id for each in own)})
        self._read_parts(_unique(each.key for each in found))
        return found

    def _recorded(self, task: Task, seen: Collection[str]) -> list[Task]:
        """The executions before ``task`` whose outcomes are the latest of its component, in whatever pipeline."""
        latest = self.store.cache.latest(str(task.component), LATEST)
        for entry in latest:
            self._made_of.setdefault(entry.key, MadeOf(entry.parts, entry.created_at))
        wanted = _unique(entry.task for entry in latest if entry.task < task.id and entry.task not in seen)
        return [found for found in self._all(wanted) if found.key is not None]

    def _all(self, ids: Sequence[str]) -> list[Task]:
        """The tasks ``ids``, in their order; those that are not there any more left out."""
        self._tasks |= self.store.tasks.get_all([id for id in ids if id not in self._tasks])
        return [self._tasks[id] for id in ids if id in self._tasks]

    def _earlier_in_pipeline(self, task: Task) -> list[Task]:
        found: list[str] = []
        for page in self._pages(task):
            found += [step for step, component in page if step < task.id and component == task.component]
            if len(found) >= LATEST:
                break
        return self._all(sorted(found, reverse=True)[:LATEST])

    def _pages(self, task: Task) -> Iterable[Sequence[tuple[str, str]]]:
        """The steps executed in the pipeline's runs up to the step's own, the newest runs first: read once for all its
        steps."""
        run = task.parent or task.id
        if run not in self._listed:
            self._listed[run] = _Steps(self.store, task, before=f"{run}~")  # sorts behind the run itself
        return self._listed[run]


def _unique(names: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(name for name in names if name is not None))


class _Steps:
    """The steps executed in the runs of a pipeline, read as far as they are asked for: through its runs, which have an
    index."""

    def __init__(self, store: Store, like: Task, *, before: str) -> None:
        self._store = store
        self._project, self._pipeline = like.project, str(like.pipeline)
        self._before: str | None = before
        self._known: list[Sequence[tuple[str, str]]] = []
        self._runs, self._left = _FEW, _MOST

    def __iter__(self) -> Iterator[Sequence[tuple[str, str]]]:
        number = 0
        while number < len(self._known) or self._read_on():
            yield self._known[number]
            number += 1

    def _read_on(self) -> bool:
        if self._before is None or self._left <= 0:
            return False
        found = self._store.overview.executions(self._project, self._pipeline, before=self._before, runs=self._runs)
        self._known.append(found.steps)
        self._before, self._runs = found.last, min(2 * self._runs, _MANY)
        self._left -= found.looked_at
        return found.last is not None
