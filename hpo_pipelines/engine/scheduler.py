"""Takes the steps of one run from their call to their end, whoever calls: the body's thread or an executor's.

State, all of it changed under ``lock``:
  steps      every call in order, each with its stage: new → recorded → running → over
  pending    (on a step) how many of the steps it uses are not over; at 0 it is launched
  control    the steps looked at since the last call; the next calls are made after them
  stopping   why the run is being stopped, once it is: then nothing new starts and nothing more is recorded as done
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hpo_pipelines.component import Component
from hpo_pipelines.engine.refresh import Refresh
from hpo_pipelines.engine.step import Arguments, StepCall
from hpo_pipelines.engine.verdict import NotCompleted, Tries, judge
from hpo_pipelines.errors import HpoPipelinesError, IllegalTransition, StepAborted
from hpo_pipelines.executors import console
from hpo_pipelines.executors.base import Assignment, Cancelled, Completed, ConsoleChunk, Message, Reported, Started
from hpo_pipelines.failure import Failure
from hpo_pipelines.snapshot import Code
from hpo_pipelines.task import Attempt, CacheEntry, Edge, Metric, Task
from hpo_pipelines.types import Kind, Status, new_id

if TYPE_CHECKING:
    from hpo_pipelines.engine.engine import Engine
    from hpo_pipelines.engine.flights import Flight

Watch = Callable[[str, str, float, int], "str | None"]
"""Called with (component, metric, value, step) of every report; a returned reason prunes the run."""


@dataclass(frozen=True)
class RunOptions:
    """How a run is driven, which its task does not say."""

    executor: str | None = None
    """None: each step goes where its resources ask for."""
    refresh: Refresh = field(default_factory=Refresh)
    prior: Mapping[str, Task] = field(default_factory=dict)
    """Completed steps, by name, of a run of which only the rest is to be run again."""
    watch: Watch | None = None
    first_party: frozenset[str] = frozenset()
    """Installed modules that are the user's own code."""
    echo: bool = True
    """Whether what the body prints is also shown, not only kept."""


class Scheduler:
    """The steps of one run."""

    def __init__(self, engine: Engine, run: Task, code: Code, options: RunOptions) -> None:
        self.engine = engine
        self.run = run
        self.code = code
        self.options = options
        self.steps: list[StepCall] = []
        self.stopping: tuple[Status, str] | None = None
        self.broken: Exception | None = None
        """What kept us from recording what happened, if something did."""
        self._reports: list[Metric] = []
        self.hits: list[str] = []
        """Keys that were reused; counted in the store when the run ends."""
        self.lock = threading.RLock()
        self._idle = threading.Condition(self.lock)
        self._open = 0
        self._by_id: dict[str, StepCall] = {}
        self._names: dict[str, int] = {}
        self._control: list[StepCall] = []
        self._looked_since_call = True

    # -- what the body does

    def add(self, component: Component[..., Any], arguments: Arguments) -> StepCall:
        """A new step; it starts as soon as what it uses is there, which may be now."""
        with self.lock:
            step = self._new_step(component, arguments)
            sources = [source for source in arguments.sources if source.stage != "over"]
            for source in sources:
                source.dependents.append(step)
            step.pending = len(sources)
            if sources:
                self._record(step, Status.QUEUED, reason="waits for " + ", ".join(source.name for source in sources))
            else:
                self._launch(step)
        return step

    def _new_step(self, component: Component[..., Any], arguments: Arguments) -> StepCall:
        count = self._names.get(component.name, 0) + 1
        self._names[component.name] = count
        name = component.name if count == 1 else f"{component.name}.{count}"
        step = StepCall(new_id(), name, component, arguments)
        step.position = len(self.steps)
        self.steps.append(step)
        self._by_id[step.id] = step
        self._open += 1
        self._looked_since_call = False
        return step

    def looked_at(self, step: StepCall) -> None:
        """The body has seen what became of ``step``: the calls that follow are made after it."""
        with self.lock:
            if not self._looked_since_call:
                self._control, self._looked_since_call = [], True
            if step not in self._control:
                self._control.append(step)
            if step.failure is not None:
                (step.cause or step).seen = True

    def settle(self) -> None:
        """Wait until no step of the run is under way."""
        with self._idle:
            self._idle.wait_for(lambda: self._open == 0)

    def stop(self, status: Status, reason: str) -> None:
        """Stop the run: steps that run are cancelled, those that wait are ended, and nothing new starts."""
        with self.lock:
            if self.stopping is None:
                self.stopping = status, reason
            for step in self.steps:
                if step.stage != "over" and step.attempt:
                    self.engine.cancel(self.executor_of(step), step)
                if step.stage in ("new", "recorded"):
                    self._over(step, Status.ABORTED, reason=self.stopping[1])

    def metric(self, component: str, name: str) -> float | None:
        """The last value of a metric of the last call of ``component``, as far as this run reported it."""
        last = next((step for step in reversed(self.steps) if step.component.name == component), None)
        return None if last is None else last.metrics.get(name)

    def unseen_failure(self) -> StepCall | None:
        """The first step that failed without the body having been told."""
        failed = (step for step in self.steps if step.failure and step.cause is None and not step.seen)
        return next(failed, None)

    # -- recording

    def _record(self, step: StepCall, status: Status, **changes: Any) -> None:
        """Write the step's row, or change it; both in one place, so that a step has one row whichever comes first."""
        tasks = self.engine.store.tasks
        if step.stage == "recorded" and status is Status.QUEUED:
            tasks.update(step.id, **changes)
            return
        if step.stage != "new":
            tasks.transition(step.id, status, **changes)
            return
        edges = step.arguments.edges(step.id)
        sources = {edge.source for edge in edges}
        edges += [Edge(looked.id, step.id, "control") for looked in self._control if looked.id not in sources]
        tasks.create(self._task(step, status, changes), edges)
        step.stage = "recorded"

    def _task(self, step: StepCall, status: Status, changes: Mapping[str, Any]) -> Task:
        now = time.time()
        return Task(
            id=step.id,
            kind=Kind.STEP,
            name=step.name,
            project=self.run.project,
            status=status,
            pipeline=self.run.pipeline,
            parent=self.run.id,
            component=step.component.name,
            position=step.position,
            params=step.arguments.shown,
            snapshot=self.run.snapshot,
            executor=self.executor_of(step),
            started_at=now if status is not Status.QUEUED else None,
            finished_at=now if status.finished else None,
            **changes,
        )

    def executor_of(self, step: StepCall) -> str:
        return self.options.executor or self.engine.executor_for(step.component.options.resources)

    # -- launching

    def _launch(self, step: StepCall) -> None:
        """Everything the step uses is there: reuse its outcome, wait for who computes it, or run it."""
        if self.stopping:
            return self._over(step, Status.ABORTED, reason=self.stopping[1])
        broken = next((source for source in step.arguments.sources if source.failure is not None), None)
        if broken is not None:
            return self._skip(step, broken)
        step.key = self.engine.key(self, step)
        entry, step.reason = self.engine.reusable(self, step)
        if entry is not None:
            return self._reuse(step, entry)
        flight = self.engine.flights.join(self, step)
        if flight is not None:
            return self._record(step, Status.QUEUED, reason=f"computing in {flight.label}")
        return self._submit(step)

    def landed(self, step: StepCall, flight: Flight) -> None:
        """The step that this one waited for is over: take its outcome, or run in its place."""
        with self.lock:
            if step.stage == "over":
                return
            if flight.entry is not None and not self.stopping:
                step.reason = f"computed meanwhile by {flight.label}"
                self._reuse(step, flight.entry)
            else:
                self._launch(step)

    def _skip(self, step: StepCall, broken: StepCall) -> None:
        step.cause = broken.cause or broken
        step.failure = step.cause.failure
        self._over(step, Status.SKIPPED, reason=f"upstream {step.cause.name} failed")

    def _reuse(self, step: StepCall, entry: CacheEntry) -> None:
        store = self.engine.store
        now = time.time()
        step.outputs = entry.outputs
        step.reused = True
        with store.transaction():
            metrics = self.engine.metrics_of(entry.task)
            self._record(step, Status.COMPLETED, reason=step.reason, key=step.key.digest, reused_from=entry.task)
            store.tasks.set_outputs(step.id, entry.outputs, first=True, known=True)
            if metrics:
                store.metrics.add([Metric(step.id, m.name, m.value, m.step, now) for m in metrics])
        self.hits.append(entry.key)
        step.metrics.update({m.name: m.value for m in metrics})
        self._watched(step, [(m.name, m.value, m.step) for m in metrics])
        self._over(step, None, entry)

    def _submit(self, step: StepCall) -> None:
        step.attempt += 1
        try:
            self.engine.submit(self, step, self.engine.assignment(self, step))
        except HpoPipelinesError as error:
            step.failure, step.error = Failure.of(error), error
            return self._over(step, Status.FAILED, reason=str(error), error=step.failure.record())
        if step.stage in ("new", "recorded"):
            self._record(step, Status.QUEUED, reason="waits for a free worker")
        return None

    # -- hearing from executors

    def hear(self, assignment: Assignment, message: Message) -> None:
        """One message about one attempt of one of this run's steps."""
        with self.lock:
            step = self._by_id[assignment.task]
            if step.stage == "over" or assignment.attempt != step.attempt:
                return
            try:
                self._heard(step, assignment, message)
            except Exception as error:  # noqa: BLE001 - the executor's thread serves other runs too: only ours ends
                self._break(error)

    def _heard(self, step: StepCall, assignment: Assignment, message: Message) -> None:
        if isinstance(message, Started):
            self._started(step, message)
        elif isinstance(message, Reported):
            self._reported(step, message)
        elif isinstance(message, ConsoleChunk):
            self.engine.write_console(assignment.console, message)
        elif isinstance(message, Completed):
            self._completed(step, message)
        else:
            self._not_completed(step, assignment, message)

    def _started(self, step: StepCall, message: Started) -> None:
        step.running = Attempt(step.id, step.attempt, Status.RUNNING, time.time(), worker=message.worker)
        self._record(step, Status.RUNNING, reason=step.reason, key=step.key.digest)
        step.stage = "running"

    def _reported(self, step: StepCall, message: Reported) -> None:
        number = step.counts.get(message.name, 0) if message.step is None else message.step
        step.counts[message.name] = number + 1
        step.metrics[message.name] = message.value
        self._reports.append(Metric(step.id, message.name, message.value, number, message.at))
        self._watched(step, [(message.name, message.value, number)])

    def write_reports(self) -> None:
        """Write the metrics that were reported since the last time: often enough to be watched, in few transactions."""
        with self.lock:
            reports, self._reports = self._reports, []
            if reports:
                self.engine.store.metrics.add(reports)

    def _watched(self, step: StepCall, series: list[tuple[str, float, int]]) -> None:
        for name, value, number in series:
            reason = self.options.watch(step.component.name, name, value, number) if self.options.watch else None
            if reason:
                return self.stop(Status.PRUNED, reason)
        return None

    def _completed(self, step: StepCall, message: Completed) -> None:
        store = self.engine.store
        step.outputs = message.outputs
        entry = None
        if step.key.digest is not None:
            name, parts = step.component.name, step.key.parts
            entry = CacheEntry(step.key.digest, step.id, name, message.outputs, parts, message.seconds, time.time())
        with store.transaction():
            self.write_reports()
            store.tasks.set_outputs(step.id, message.outputs, first=True)
            self._finish_attempt(step, Status.COMPLETED)
            store.tasks.transition(step.id, Status.COMPLETED, reason=step.reason)
            if entry is not None:
                store.cache.record(entry)
        self._over(step, None, entry)

    def _finish_attempt(self, step: StepCall, status: Status, error: Mapping[str, Any] | None = None) -> None:
        if step.running is not None:
            ended = replace(step.running, status=status, finished_at=time.time(), error=error)
            self.engine.store.tasks.finish_attempt(ended)
            step.running = None

    def _not_completed(self, step: StepCall, assignment: Assignment, message: NotCompleted) -> None:
        self.write_reports()
        step.losses += type(message).__name__ == "Lost"
        retry = step.component.options.retry
        log = console.tail(assignment.console)
        verdict = judge(step.name, message, Tries(step.attempt, step.losses), retry, log)
        stopped = self.stopping is not None or isinstance(message, Cancelled)
        self._finish_attempt(step, Status.ABORTED if stopped else Status.FAILED, verdict.failure.record())
        if stopped:
            _, reason = self.stopping or (Status.ABORTED, "aborted")
            return self._over(step, Status.ABORTED, reason=reason)
        if verdict.again:
            wait = retry.delay(step.attempt, random.random())
            said = f"attempt {step.attempt} failed ({verdict.reason}); again in {wait:.1f} s"
            self._record(step, Status.QUEUED, reason=said)
            step.stage = "recorded"
            return self.engine.later(wait, lambda: self._again(step))
        step.failure, step.error = verdict.failure, verdict.error
        return self._over(step, Status.FAILED, reason=verdict.reason, error=verdict.failure.record())

    def _again(self, step: StepCall) -> None:
        with self.lock:
            if step.stage != "over":
                self._submit(step)

    # -- the end of a step

    def _over(self, step: StepCall, status: Status | None, entry: CacheEntry | None = None, **changes: Any) -> None:
        """The step has ended: record it as ``status`` (None: recorded already), tell who waits for it."""
        if step.stage == "over":
            return
        if status is Status.ABORTED:
            step.error = StepAborted(f"step {step.name} was stopped: {changes.get('reason')}")
            step.failure = Failure("StepAborted", str(step.error), str(step.error))
        if status is not None:
            try:
                self._record(step, status, **changes)
            except IllegalTransition:
                # An abort from elsewhere has ended it in the store already.
                step.reason = self.engine.store.tasks.get(step.id).reason or ""
        self._close(step)
        dependents, step.dependents = step.dependents, []
        for dependent in dependents:
            dependent.pending -= 1
            if dependent.pending == 0 and dependent.stage != "over":
                self._launch(dependent)
        self.engine.flights.land(step, entry)

    def _close(self, step: StepCall) -> None:
        step.stage = "over"
        step.done.set()
        self._open -= 1
        if self._open == 0:
            self._idle.notify_all()

    def _break(self, error: Exception) -> None:
        """Recording failed (a full disk, a lost database): every step ends, without another word to the store."""
        self.broken = self.broken or error
        for step in self.steps:
            if step.stage != "over":
                if step.attempt:
                    self.engine.cancel(self.executor_of(step), step)
                step.failure, step.error = Failure.of(error), error
                self._close(step)
                self.engine.flights.land(step, None)
