"""Writes down what becomes of one run's steps, in as few transactions as there are ends.

An end is written at once, before anybody acts on it. What led there (that the step was called, waits, was started,
reported) waits for the end, or for the engine's watcher, which comes by every quarter of a second: a quick step is
one write.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from hpo_pipelines.engine.liveness import Liveness
from hpo_pipelines.engine.step import StepCall
from hpo_pipelines.errors import IllegalTransition
from hpo_pipelines.store import Store
from hpo_pipelines.task import Attempt, CacheEntry, Edge, Metric, Task
from hpo_pipelines.types import Kind, Status


@dataclass
class _Unwritten:
    """What is not in the store yet of one step: its first states if it has no row, else its moves; its reports."""

    story: list[Task] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    moves: list[tuple[Status, Mapping[str, Any]]] = field(default_factory=list)
    reports: list[Metric] = field(default_factory=list)

    def apply(self, status: Status, changes: Mapping[str, Any]) -> None:
        if not self.story:
            self.moves.append((status, changes))
            return
        now, last = time.time(), self.story[-1]
        moved = replace(
            last,
            status=status,
            started_at=now if status is Status.RUNNING and last.started_at is None else last.started_at,
            finished_at=now if status.finished else None,
            **changes,
        )
        if status is last.status:
            self.story[-1] = moved
        else:
            self.story.append(moved)


class Recorder:
    """The steps of one ``run`` on their way into ``store``. For one thread at a time: the scheduler's lock is ours."""

    def __init__(self, store: Store, run: Task, liveness: Liveness, executor_of: Callable[[StepCall], str]) -> None:
        self._store = store
        self._run = run
        self._liveness = liveness
        self._executor_of = executor_of
        self._unwritten: dict[str, _Unwritten] = {}

    # -- to be written soon

    def note(self, step: StepCall, status: Status, **changes: Any) -> None:
        """The step goes to ``status``, with ``changes`` to its record."""
        unwritten = self._unwritten.setdefault(step.id, _Unwritten())
        if step.recorded:
            return unwritten.apply(status, changes)
        step.recorded = True
        unwritten.edges = _edges(step)
        unwritten.story = [self._task(step, status, changes)]
        return None

    def report(self, metric: Metric) -> None:
        """One value that a step reported."""
        self._unwritten.setdefault(metric.task, _Unwritten()).reports.append(metric)

    def _task(self, step: StepCall, status: Status, changes: Mapping[str, Any]) -> Task:
        now = time.time()
        return Task(
            id=step.id,
            kind=Kind.STEP,
            name=step.name,
            project=self._run.project,
            status=status,
            pipeline=self._run.pipeline,
            parent=self._run.id,
            component=step.component.name,
            position=step.position,
            params=step.arguments.shown,
            snapshot=self._run.snapshot,
            executor=self._executor_of(step),
            created_at=now,
            started_at=now if status is not Status.QUEUED else None,
            finished_at=now if status.finished else None,
            **changes,
        )

    # -- writing

    def write(self) -> None:
        """Write all that is noted. Raises IllegalTransition for a step, or a run, that somebody else has ended."""
        if self._unwritten:
            unwritten, self._unwritten = self._unwritten, {}
            with self._store.transaction():
                self._put(list(unwritten.items()))

    def forget(self) -> None:
        """Nothing more is written."""
        self._unwritten.clear()

    def end(self, step: StepCall, status: Status, *, attempt: Attempt | None = None, **changes: Any) -> None:
        """Write at once that the step goes to ``status``, and how its ``attempt`` ended."""
        with self._ending(step, status, attempt, changes):
            pass

    def reuse(self, step: StepCall, entry: CacheEntry) -> None:
        """Write at once that the step takes a recorded outcome."""
        changes = {"reason": step.reason, "key": entry.key, "reused_from": entry.task}
        with self._ending(step, Status.COMPLETED, None, changes):
            self._store.tasks.set_outputs(step.id, entry.outputs, first=True, known=True)

    def complete(self, step: StepCall, attempt: Attempt | None, entry: CacheEntry | None) -> None:
        """Write at once that the step gave ``step.outputs``, and ``entry``, its outcome to be reused.

        If another step's outcome for the key was recorded while this one was under way (its process was thought to be
        gone), that one stands: ``step.outputs`` become its, and the step's reason says so.
        """
        with self._ending(step, Status.COMPLETED, attempt, {"reason": step.reason}):
            if entry is not None and not self._store.cache.record(entry, over=step.supersedes):
                self._give_way(step, entry.key)
            self._store.tasks.set_outputs(step.id, step.outputs, first=True)

    def _give_way(self, step: StepCall, key: str) -> None:
        first = self._store.cache.lookup(key)
        if first is not None and first.outputs != step.outputs:
            step.outputs = first.outputs
            step.reason = f"{step.reason}; dropped: another step's outcome was recorded first"
            self._store.tasks.update(step.id, reason=step.reason)

    @contextmanager
    def _ending(
        self, step: StepCall, status: Status, attempt: Attempt | None, changes: Mapping[str, Any]
    ) -> Iterator[None]:
        self.note(step, status, **changes)
        unwritten = self._unwritten.pop(step.id)
        with self._store.transaction():
            self._put([(step.id, unwritten)])
            if attempt is not None:
                self._store.tasks.finish_attempt(attempt)
            yield
            if step.lease:
                self._liveness.release(step.lease)
        step.lease = ""

    def _put(self, unwritten: list[tuple[str, _Unwritten]]) -> None:
        store = self._store
        new = [each for _, each in unwritten if each.story]
        if new:
            self._refuse_if_over([each.story[-1] for each in new])
            store.tasks.record([each.story for each in new], [edge for each in new for edge in each.edges])
        for id, each in unwritten:
            for status, changes in each.moves:
                _move(store, id, status, changes)
        reports = [metric for _, each in unwritten for metric in each.reports]
        if reports:
            store.metrics.add(reports)

    def _refuse_if_over(self, new: Iterable[Task]) -> None:
        """A run that somebody else has ended gets no more steps than those it takes to say that they were stopped."""
        if all(task.status is Status.ABORTED for task in new):
            return
        status = self._store.tasks.status(self._run.id)
        if status.finished:
            raise IllegalTransition(f"{self._run.label} is {status}; its steps go on no more.", [])


def _move(store: Store, id: str, status: Status, changes: Mapping[str, Any]) -> None:
    if status is Status.QUEUED and store.tasks.status(id) is Status.QUEUED:
        store.tasks.update(id, **changes)
    else:
        store.tasks.transition(id, status, **changes)


def _edges(step: StepCall) -> list[Edge]:
    edges = step.arguments.edges(step.id)
    sources = {edge.source for edge in edges}
    return edges + [Edge(each.id, step.id, "control") for each in step.after if each.id not in sources]
