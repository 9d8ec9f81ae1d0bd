"""Writes down what becomes of one run's steps, in as few transactions as there are ends.

An end is written at once, before anybody acts on it. What led there (that the step was called, waits, was started,
reported) waits for the end, or for the engine's watcher, which comes by every quarter of a second: a quick step is
one write.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NoReturn

from hpo_pipelines.engine.borrowing import snapshot_of
from hpo_pipelines.engine.liveness import Liveness
from hpo_pipelines.engine.step import StepCall
from hpo_pipelines.errors import IllegalTransition
from hpo_pipelines.store import Store
from hpo_pipelines.task import Attempt, CacheEntry, Edge, Metric, Task
from hpo_pipelines.types import Kind, Status

_TAKEN = "is no longer driven from here: this process was away for too long, and another took it over."
WATCH_SECONDS = 0.25
"""How far the store may be behind what is under way."""

_OPEN = frozenset({Status.QUEUED, Status.RUNNING})


@dataclass(frozen=True)
class _Move:
    """A recorded step goes to ``status``, if it is in one of ``sources``; None: in any that this may follow."""

    status: Status
    changes: Mapping[str, Any]
    sources: frozenset[Status] | None


@dataclass
class _Unwritten:
    """What is not in the store yet of one step: its first states if it has no row, else its moves; its reports."""

    row: dict[str, Any] = field(default_factory=dict)
    """The fields of its task as they stand, and in ``story`` the statuses and reasons it had before."""
    story: list[tuple[Status, str | None]] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    moves: list[_Move] = field(default_factory=list)
    reports: list[Metric] = field(default_factory=list)
    anew: bool = False
    """What is recorded of its reports is of an attempt that does not count."""

    def apply(self, status: Status, changes: Mapping[str, Any], began: float | None = None) -> None:
        row, now = self.row, time.time()
        if status is not row["status"]:
            self.story.append((row["status"], row.get("reason")))
        if status is Status.RUNNING and row["started_at"] is None:
            row["started_at"] = began or now
        row.update({"finished_at": now if status.finished else None, **changes, "status": status})


class Recorder:
    """The steps of one ``run`` on their way into ``store``. For one thread at a time: the scheduler's lock is ours."""

    def __init__(
        self, store: Store, run: Task, liveness: Liveness, executor_of: Callable[[StepCall], str], lease: str
    ) -> None:
        self._store = store
        self._run = run
        self._liveness = liveness
        self._lease = lease
        self._executor_of = executor_of
        self._unwritten: dict[str, _Unwritten] = {}
        self._ours: set[str] = set()
        """The steps that we have moved; nobody but us sets them going again."""
        self.outer: Recorder | None = None
        """That of the run around, whose steps may be what steps of this one use."""
        self._refused = ""
        """Said once somebody else has ended the run, or drives it: from then on nothing of it is written."""

    # -- to be written soon

    def note(self, step: StepCall, status: Status, *, began: float | None = None, **changes: Any) -> None:
        """The step goes to ``status``, with ``changes`` to its record; if it runs, since ``began`` (default: now)."""
        unwritten = self._unwritten.setdefault(step.id, _Unwritten())
        known, ours = step.recorded, step.id in self._ours
        step.recorded = True
        self._ours.add(step.id)
        if unwritten.row:
            return unwritten.apply(status, changes, began)
        if known:
            if status is Status.RUNNING and not step.begun:
                # When it began, not when that is written.
                step.begun = began or time.time()
                changes = {"started_at": step.begun, **changes}
            if status.finished:
                changes = {"finished_at": time.time(), **changes}
            if step.recalled is not None and step.recalled.is_withdrawn and not ours:
                unwritten.edges = _edges(step)
            # A step of a resumed run goes on from how it ended; from there on, an end that is not ours stays.
            return unwritten.moves.append(_Move(status, changes, _OPEN if ours else None))
        unwritten.edges = _edges(step)
        unwritten.row = self._row(step, status, changes, began)
        return None

    def report(self, metric: Metric) -> None:
        """One value that a step reported."""
        self._unwritten.setdefault(metric.task, _Unwritten()).reports.append(metric)

    def report_anew(self, step: StepCall) -> None:
        """What the step has reported until now was of an attempt that does not count."""
        unwritten = self._unwritten.setdefault(step.id, _Unwritten())
        unwritten.reports.clear()
        unwritten.anew = True

    def _row(self, step: StepCall, status: Status, changes: Mapping[str, Any], began: float | None) -> dict[str, Any]:
        now = time.time()
        return dict(
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
            snapshot=snapshot_of(step.component, self._run),
            executor=self._executor_of(step),
            created_at=now,
            started_at=began or now if status is not Status.QUEUED else None,
            finished_at=now if status.finished else None,
            **changes,
        )

    # -- writing

    def write(self) -> None:
        """Write all that is noted. Raises IllegalTransition for a step that somebody else has ended."""
        if not self._unwritten or self._refused:
            return
        with self._store.transaction():
            if self._hold().finished:
                return  # by somebody else: the steps will be ended too, and written then
            self._put([each for id in list(self._unwritten) for each in self._take(id)])

    def end(self, step: StepCall, status: Status, *, attempt: Attempt | None = None, **changes: Any) -> None:
        """Write at once that the step goes to ``status``, and how its ``attempt`` ended.

        Raises IllegalTransition for a step that somebody else has ended. Of a run that somebody else has ended, nothing
        is left to be said.
        """
        try:
            with self._ending(step, status, attempt, changes):
                pass
        except IllegalTransition:
            if not (self._refused and status.finished):
                raise

    def reuse(self, step: StepCall, entry: CacheEntry, reports: Iterable[Metric]) -> bool:
        """Write at once that the step takes a recorded outcome; ``False``, and nothing, if it is recorded no more."""
        changes = {"reason": step.reason, "key": entry.key, "reused_from": entry.task}
        with self._store.transaction():
            if not self._store.cache.has(entry.key) and not step.kept:
                return False
            for metric in reports:
                self.report(metric)
            with self._ending(step, Status.COMPLETED, None, changes):
                self._store.tasks.set_outputs(step.id, entry.outputs, first=step.recalled is None, known=True)
        return True

    def complete(self, step: StepCall, attempt: Attempt | None, entry: CacheEntry | None) -> None:
        """Write at once that the step gave ``step.outputs``, and ``entry``, its outcome to be reused.

        If another step's outcome for the key was recorded while this one was under way (its process was thought to be
        gone), that one stands: ``step.outputs`` become its, and the step's reason says so.
        """
        with self._ending(step, Status.COMPLETED, attempt, {"reason": step.reason}):
            if entry is not None and not self._store.cache.record(entry, over=step.supersedes):
                self._give_way(step, entry.key)
            self._store.tasks.set_outputs(step.id, step.outputs, first=step.recalled is None)

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
        if attempt is not None and status.finished:
            # A step took as long as the attempt that counts.
            changes = {"started_at": attempt.started_at, "finished_at": attempt.finished_at, **changes}
        self.note(step, status, **changes)
        unwritten = self._take(step.id)
        try:
            if self._refused:
                raise IllegalTransition(self._refused)
            with self._store.transaction():
                if status is not Status.ABORTED:
                    self._refuse_if_over()
                self._put(unwritten)
                if attempt is not None:
                    self._store.tasks.finish_attempt(attempt)
                yield
                if step.lease and status.finished:  # between two attempts the step still is the one to compute its key
                    self._liveness.release(step.lease)
        except IllegalTransition:
            # Somebody else has ended it: who waits for its key does not wait for us.
            if step.lease:
                self._liveness.release(step.lease)
                step.lease = ""
            raise
        if status.finished:
            step.lease = ""

    def _take(self, id: str) -> list[tuple[str, _Unwritten]]:
        """What is unwritten of a step, of this run or of one around, after what is of those that its edges name."""
        unwritten = self._unwritten.pop(id, None)
        if unwritten is None:
            return self.outer._take(id) if self.outer is not None else []
        before = [each for edge in unwritten.edges for each in self._take(edge.source)]
        return [*before, (id, unwritten)]

    def _put(self, unwritten: list[tuple[str, _Unwritten]]) -> None:
        store = self._store
        if not self._liveness.check(self._lease):
            self._refuse(_TAKEN)
        new = [each for _, each in unwritten if each.row]
        if new:
            stories = [(Task(**each.row), each.story) for each in new]
            store.tasks.record(stories, [edge for each in new for edge in each.edges])
        late = [edge for _, each in unwritten if not each.row for edge in each.edges]
        if late:
            store.tasks.add_edges(late)
        # In the order of the calls, like an abort from elsewhere: where rows are locked one by one, two orders are a
        # deadlock.
        for id, each in sorted(unwritten, key=itemgetter(0)):
            for move in each.moves:
                _carry_out(store, id, move)
        anew = [id for id, each in unwritten if each.anew]
        if anew:
            store.metrics.withdraw(anew)
        reports = [metric for _, each in unwritten for metric in each.reports]
        if reports:
            store.metrics.add(reports)

    def refuse_if_taken(self) -> None:
        """Raise IllegalTransition if another process drives the run: before what is not undone by refusing its record.

        Asks the store only when this process has not been heard of for as long as a lease lasts.
        """
        if not self._liveness.may_act(self._lease):
            self._refuse(_TAKEN)

    def _refuse_if_over(self) -> None:
        """A run that somebody else has ended gets no more steps than those it takes to say that they were stopped."""
        status = self._hold()
        if status.finished:
            self._refuse(f"is {status}; its steps go on no more.")

    def _hold(self) -> Status:
        """Where the run stands until what is written now is there: who ends it meanwhile finds that, and ends it too.

        Those around it are held before it, in the order in which who ends one of them takes them.
        """
        if self.outer is not None:
            self.outer._hold()
        return self._store.tasks.hold(self._run.id)

    def _refuse(self, why: str) -> NoReturn:
        self._refused = f"{self._run.label} {why}"
        raise IllegalTransition(self._refused)


def _carry_out(store: Store, id: str, move: _Move) -> None:
    if store.tasks.status(id) is move.status:
        store.tasks.update(id, **move.changes)
    else:
        store.tasks.transition(id, move.status, expect=move.sources, **move.changes)


def _edges(step: StepCall) -> list[Edge]:
    edges = step.arguments.edges(step.id)
    sources = {edge.source for edge in edges}
    return edges + [Edge(each.id, step.id, "control") for each in step.after if each.id not in sources]
