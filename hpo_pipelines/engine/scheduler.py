"""Takes the steps of one run from their call to their end, whoever calls: the body's thread or an executor's.

State, all of it changed under ``lock``:
  steps      every call in order, each with its stage: new → waiting → running → over
  pending    (on a step) how many of the steps it uses, of its run or of one around, are not over; at 0 it is launched
  control    the steps looked at since the last call; the next calls are made after them
  stopping   why the run is being stopped, once it is (set before the lock is had): nothing starts or is recorded then
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from hpo_pipelines.callbacks import not_there
from hpo_pipelines.component import Component
from hpo_pipelines.engine.around import Afterwards
from hpo_pipelines.engine.attempts import Attempts
from hpo_pipelines.engine.borrowing import code_of
from hpo_pipelines.engine.hearing import Hearing
from hpo_pipelines.engine.journal import lease_of
from hpo_pipelines.engine.options import RunOptions
from hpo_pipelines.engine.recorder import Recorder
from hpo_pipelines.engine.step import Arguments, Place, StepCall
from hpo_pipelines.errors import HpoPipelinesError, IllegalTransition, StepAborted, StepSkipped
from hpo_pipelines.executors.base import (
    Assignment,
    Message,
)
from hpo_pipelines.failure import Failure
from hpo_pipelines.snapshot import Code
from hpo_pipelines.task import CacheEntry, Metric, Task
from hpo_pipelines.types import Status, new_id

if TYPE_CHECKING:
    from hpo_pipelines.engine.engine import Engine
    from hpo_pipelines.engine.flights import Flight

_UNFINISHED = (Status.ABORTED, Status.QUEUED, Status.RUNNING)


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
        outer = options.outer
        self.lease: str = outer.lease if outer else lease_of(run.id)
        self.recorder = Recorder(engine.store, run, engine.liveness, self.executor_of, lease=self.lease)
        self.recorder.outer = outer.recorder if outer else None
        self.attempts = Attempts()
        self.hits: list[str] = []
        """Keys that were reused; counted in the store when the run ends."""
        self._hearing = Hearing(self)
        self.afterwards = Afterwards(self)
        # One for a run and those inside it, whose steps may wait for each other's.
        self.lock: threading.RLock = outer.lock if outer else threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._open = 0
        self._by_id: dict[str, StepCall] = {}
        self._names: dict[str, int] = {}
        self._control: list[StepCall] = []
        self._looked_since_call = True

    # -- what the body does

    def add(self, component: Component[..., Any], arguments: Arguments, place: Place | None = None) -> StepCall:
        """A new step; it starts as soon as what it uses is there, which may be now.

        Without a ``place`` it is the next call, made after what was looked at since the last.
        """
        with self.lock:
            step = self._new_step(component, arguments, place)
            if arguments.skipped is not None and (step.recalled is None or step.recalled.again):
                self._leave_out(step, arguments.skipped.said)
                return step
            if self._recall(step):
                return step
            sources = [source for source in arguments.sources if source.stage != "over"]
            for source in sources:
                source.dependents.append(step)
            step.pending = len(sources)
            try:
                if sources:
                    self.waits(step, "waits for " + ", ".join(source.name for source in sources))
                else:
                    self._launch(step)
            except Exception as error:
                self.give_up(error)  # the body may catch it, and nobody else would end the step
                raise
        return step

    def next_name(self, component: Component[..., Any]) -> str:
        """What the next call of ``component`` is called."""
        count = self._names.get(component.name, 0) + 1
        return component.name if count == 1 else f"{component.name}.{count}"

    def add_skipped(
        self, component: Component[..., Any], arguments: Arguments, place: Place, *, reason: str, cause: StepCall | None
    ) -> StepCall:
        """A new step that does not run, for ``reason``: because of ``cause``, if that has failed."""
        with self.lock:
            step = self._new_step(component, arguments, place)
            if step.recalled is not None:
                step.recorded, step.attempt = True, step.recalled.attempts
            if cause is not None:
                step.cause = cause.cause or cause
                step.failure = step.cause.failure
            self.over(step, Status.SKIPPED, reason=reason)
        return step

    def _new_step(self, component: Component[..., Any], arguments: Arguments, place: Place | None) -> StepCall:
        name = self.next_name(component)
        self._names[component.name] = self._names.get(component.name, 0) + 1
        place = place or Place(len(self.steps), tuple(self._control))
        position = place.position
        journal = self.options.journal
        recalled = journal.take(position, name, arguments.shown) if journal is not None else None
        step = StepCall(recalled.task.id if recalled else new_id(), name, component, arguments)
        step.position, step.after, step.recalled = position, place.after, recalled
        step.launch = partial(self._launch_released, step)
        self.steps.append(step)
        self._by_id[step.id] = step
        self._open += 1
        self._looked_since_call = False
        return step

    def _recall(self, step: StepCall) -> bool:
        """Whether the journal has an outcome of the step, which then is its outcome."""
        recalled = step.recalled
        if recalled is None:
            return False
        step.recorded = True
        step.attempt = step.earlier = recalled.attempts
        missing = next((name for name, ref in recalled.outputs.items() if not self.engine.artifacts.exists(ref)), None)
        if missing is not None:
            self.engine.store.tasks.withdraw(step.id, reason=f"missing artifact: {missing}")
        if self.options.recalled and recalled.task.status in _UNFINISHED:
            # It was stopped when its run ended, and the body of that has gone on.
            self._stopped(step, recalled.task.reason)
            self.over(step, None)
            return True
        if recalled.again or missing is not None:
            self.engine.forget()
            step.outdated = bool(recalled.metrics)
            withdrawn = recalled.is_withdrawn or missing is not None or recalled.task.status is Status.SKIPPED
            anew: dict[str, Any] = {"position": step.position, "params": step.arguments.shown} if withdrawn else {}
            self.recorder.note(step, Status.QUEUED, reason="tried again", **anew)
            return False
        step.reason = recalled.task.reason or ""
        step.reused = recalled.task.reused_from is not None
        step.outputs = recalled.outputs
        step.metrics.update(recalled.metrics)
        if recalled.task.status is Status.FAILED:
            step.failure = Failure.recalled(recalled.task.error or {})
        self.over(step, None)
        return True

    def looked_at(self, step: StepCall) -> None:
        """The body has seen what became of ``step``: the calls that follow are made after it."""
        with self.lock:
            if not self._looked_since_call:
                self._control, self._looked_since_call = [], True
            if step not in self._control:
                self._control.append(step)
            if step.failure is not None:
                (step.cause or step).seen = True

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Wait until ``reached`` says so, asked whenever a step has ended and after :meth:`nudge`."""
        with self._changed:
            self._changed.wait_for(reached)

    def nudge(self) -> None:
        """Have whoever waits look again."""
        with self._changed:
            self._changed.notify_all()

    def settle(self) -> None:
        """Wait until no step of the run is under way."""
        self.wait_until(lambda: self._open == 0)

    def stop(self, status: Status, reason: str) -> None:
        """Stop the run: steps that run are cancelled, those that wait are ended, and nothing new starts."""
        if self.stopping is None:
            self.stopping = status, reason
        # Before the lock, which a step that runs inline holds until it hears of this.
        for step in list(self.steps):
            if step.stage != "over" and step.attempt:
                self.engine.cancel(self.executor_of(step), step)
        with self.lock:
            for step in self.steps:
                if step.stage in ("new", "waiting"):
                    self.over(step, Status.ABORTED, reason=self.stopping[1])

    def metric(self, component: str, name: str) -> float | None:
        """The last value of a metric of the last call of ``component``, as far as this run reported it."""
        last = next((step for step in reversed(self.steps) if step.component.name == component), None)
        return None if last is None else last.metrics.get(name)

    def unseen_failures(self) -> list[StepCall]:
        """The steps that failed without the body having been told."""
        return [step for step in self.steps if step.failure and step.cause is None and not step.seen]

    # -- recording

    def waits(self, step: StepCall, reason: str) -> None:
        """The step waits, for ``reason``."""
        self.recorder.note(step, Status.QUEUED, reason=reason)
        step.stage = "waiting"

    def write(self) -> None:
        """Write what is noted of steps that are under way: often enough to be watched, in few transactions."""
        if self.lock.acquire(blocking=False):  # a step that runs inline holds it, and writes when it ends
            try:
                if self.broken is None:
                    self.recorder.write()
            except HpoPipelinesError as error:
                self.give_up(error)
            finally:
                self.lock.release()

    def shares(self, step: StepCall) -> bool:
        """Whether the step's outcome is taken from, and given to, others."""
        return self.options.reuse and step.component.options.cache.enabled

    def executor_of(self, step: StepCall) -> str:
        return self.options.executor or self.engine.executor_for(step.component.options.resources)

    # -- launching

    def _launch(self, step: StepCall) -> None:
        """Everything the step uses is there: reuse its outcome, wait for who computes it, or run it."""
        if self.broken is not None:
            return self._end_broken(step, self.broken)
        if self.stopping:
            return self.over(step, Status.ABORTED, reason=self.stopping[1])
        broken = next((source for source in step.arguments.sources if source.failure is not None), None)
        if broken is not None:
            return self._skip(step, broken)
        step.key = self.engine.key(self, step)
        entry, step.reason = self.engine.reusable(self, step)
        if entry is not None:
            return self._reuse(step, entry)
        flight = self.engine.flights.join(self, step)
        if flight is not None:
            return self.waits(step, f"computing in {flight.label}")
        if step.lease:
            # Between the look and the claim another process may have come to its end.
            entry, reason = self.engine.reusable(self, step)
            if entry is not None:
                step.reason = reason
                return self._reuse(step, entry)
        return self._submit(step)

    def _launch_released(self, step: StepCall) -> None:
        with self._breaking():  # what it waited for may be of the run around, which goes on
            self._launch(step)

    def landed(self, step: StepCall, flight: Flight) -> None:
        """The step that this one waited for is over: take its outcome, or run in its place."""
        with self.lock, self._breaking():
            if step.stage == "over":
                return
            if flight.entry is not None and not self.stopping:
                step.reason = f"computed meanwhile by {self.engine.label_of(flight.entry.task)}"
                self._reuse(step, flight.entry)
            else:
                self._launch(step)

    def _skip(self, step: StepCall, broken: StepCall) -> None:
        step.cause = broken.cause or broken
        step.failure = step.cause.failure
        ended = "was skipped" if isinstance(step.cause.error, StepSkipped) else "failed"
        self.over(step, Status.SKIPPED, reason=f"upstream {step.cause.name} {ended}")

    def _leave_out(self, step: StepCall, reason: str) -> None:
        """There is to be no such step: that is no failure, but its value cannot be looked at."""
        step.error = not_there(step.name, reason)
        step.failure, step.seen = Failure("StepSkipped", str(step.error), str(step.error)), True
        step.recorded = step.recalled is not None
        if step.recalled is not None and step.recalled.task.status is Status.SKIPPED:
            return self.over(step, None)
        return self.over(step, Status.SKIPPED, reason=reason)

    def _reuse(self, step: StepCall, entry: CacheEntry) -> None:
        now = time.time()
        self._hearing.report_anew(step)
        metrics = self.engine.metrics_of(entry.task)
        if not self.recorder.reuse(step, entry, [Metric(step.id, m.name, m.value, m.step, now) for m in metrics]):
            # Removed between the look and now.
            step.reason = "its outcome is no longer recorded"
            return self._submit(step)
        step.outputs = entry.outputs
        step.reused = True
        self.hits.append(entry.key)
        step.metrics.update({m.name: m.value for m in metrics})
        self.prune(self.options.heard(step.component.name, [(m.name, m.value, m.step) for m in metrics]))
        return self.over(step, None, entry)

    def _submit(self, step: StepCall) -> None:
        step.attempt += 1
        step.submitted_at = time.time()
        try:
            self.engine.submit(self, step, self.engine.assignment(self, step))
        except HpoPipelinesError as error:
            step.failure, step.error = Failure.of(error), error
            return self.over(step, Status.FAILED, reason=str(error), error=step.failure.record())
        if step.stage in ("new", "waiting"):
            self.waits(step, "waits for a free worker")
        return None

    # -- hearing from executors

    def hear(self, assignment: Assignment, message: Message) -> None:
        """One message about one attempt of one of this run's steps."""
        with self.lock:
            step = self._by_id[assignment.task]
            if step.stage == "over" or assignment.attempt != step.attempt:
                return
            with self._breaking():
                self._hearing.heard(step, assignment, message)

    def again(self, step: StepCall) -> None:
        """Submit another attempt of the step, unless it has ended meanwhile."""
        with self.lock, self._breaking():
            if step.stage != "over":
                self._submit(step)

    def prune(self, reason: str | None) -> None:
        """Stop the run as pruned, if there is a reason to."""
        if reason:
            self.stop(Status.PRUNED, reason)

    # -- the end of a step

    def over(self, step: StepCall, status: Status | None, entry: CacheEntry | None = None, **changes: Any) -> None:
        """The step has ended: record it as ``status`` (None: recorded already), tell who waits for it."""
        if step.stage == "over":
            return
        if status is Status.ABORTED:
            self._stopped(step, changes.get("reason"))
        if status is not None:
            try:
                self.recorder.end(step, status, **changes)
            except IllegalTransition as error:
                # An abort from elsewhere has ended it in the store already, or it is no longer ours to record.
                step.reason = str(error).partition("\n")[0]
        self._close(step)
        if status is None:  # before what uses it begins
            code = code_of(step.component, self.code)
            self.prune(self.options.gave(step.component.name, step.outputs, self.engine.artifacts, code))
        self._release_dependents(step)
        self.engine.flights.land(step, entry)
        self.afterwards.ended(step)

    def _release_dependents(self, step: StepCall) -> None:
        dependents, step.dependents = step.dependents, []
        for dependent in dependents:
            dependent.pending -= 1
            if dependent.pending == 0 and dependent.stage != "over":
                dependent.launch()

    def _stopped(self, step: StepCall, reason: str | None) -> None:
        step.error = StepAborted(f"step {step.name} was stopped: {reason}")
        step.failure = Failure("StepAborted", str(step.error), str(step.error))

    def _close(self, step: StepCall) -> None:
        step.stage = "over"
        step.done.set()
        self._open -= 1
        self._changed.notify_all()

    @contextmanager
    def _breaking(self) -> Iterator[None]:
        """Whatever goes wrong inside ends our run, and not the thread, which serves other runs too."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - kept, and raised as what ended the run
            self.give_up(error)

    def give_up(self, error: Exception) -> None:
        """Recording failed (a full disk, a lost database): every step ends, without another word to the store."""
        self.broken = self.broken or error
        for step in self.steps:
            if step.stage != "over":
                if step.attempt:
                    self.engine.cancel(self.executor_of(step), step)
                self._end_broken(step, error)

    def _end_broken(self, step: StepCall, error: Exception) -> None:
        if step.lease:
            self.engine.liveness.drop(step.lease)
        step.failure, step.error = Failure.of(error), error
        self._close(step)
        self._release_dependents(step)
        self.engine.flights.land(step, None)
