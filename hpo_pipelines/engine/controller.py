"""Drives one run: the body runs in the calling thread; what executors report arrives in theirs.

State, all of it changed under ``_lock``:
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
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hpo_pipelines import context
from hpo_pipelines.component import Component
from hpo_pipelines.engine.step import Arguments, StepCall, bind
from hpo_pipelines.errors import HpoPipelinesError, IllegalTransition, Pruned, StepAborted, StepLost, StepTimedOut
from hpo_pipelines.executors import console
from hpo_pipelines.executors.base import (
    Assignment,
    Cancelled,
    Completed,
    ConsoleChunk,
    Failed,
    Lost,
    Message,
    Reported,
    Started,
    TimedOut,
)
from hpo_pipelines.failure import Failure, step_failed
from hpo_pipelines.output import is_output, result
from hpo_pipelines.snapshot import Code, component_locator
from hpo_pipelines.task import Attempt, CacheEntry, Edge, Metric, Task
from hpo_pipelines.types import ArtifactRef, Kind, Resources, Status, new_id

if TYPE_CHECKING:
    from hpo_pipelines.engine.engine import Engine, Flight, Refresh
    from hpo_pipelines.pipeline import Pipeline

VALUE = "value"
"""The output of a run that holds what its body returned; ``value.KEY`` for each key of a returned dict."""

Watch = Callable[[str, str, float, int], "str | None"]
"""Called with (component, metric, value, step) of every report; a returned reason prunes the run."""


class Controller:
    """The tracer of one run. ``drive`` runs it to its end and returns the finished task."""

    def __init__(self, engine: Engine, run: Task, pipeline: Pipeline[..., Any], code: Code) -> None:
        self.engine = engine
        self.run = run
        self.pipeline = pipeline
        self.code = code
        self.executor: str | None = None
        self.refresh: Refresh = engine.no_refresh
        self.prior: Mapping[str, Task] = {}
        """Finished steps, by name, of a run of which only the rest is to be run again."""
        self.watch: Watch | None = None
        self.steps: list[StepCall] = []
        self.stopping: tuple[Status, str] | None = None
        self.value: Any = None
        self.raised: BaseException | None = None
        """What ended the run, when it failed."""
        self._lock = threading.RLock()
        self._by_id: dict[str, StepCall] = {}
        self._open = 0
        self._inner: list[Controller] = []
        self._names: dict[str, int] = {}
        self._control: list[StepCall] = []
        self._looked_since_call = True
        self._idle = threading.Condition(self._lock)
        self._counts: dict[str, int] = {}

    # -- the run

    def drive(self, params: Mapping[str, Any]) -> Task:
        """Run the body with ``params`` and everything it starts; returns the run's task as it ended.

        Raises what the body raised only where it must not be swallowed (KeyboardInterrupt), after recording it.
        """
        self.run = self.engine.store.tasks.transition(self.run.id, Status.RUNNING)
        self.engine.enter(self)
        try:
            with console.teed(self.engine.console_path(self.run.id, "controller")):
                self._body(params)
        except BaseException as error:
            self.stop(Status.ABORTED, "interrupted" if isinstance(error, KeyboardInterrupt) else repr(error))
            self._settle()
            self._close(Status.ABORTED, reason=self.stopping[1] if self.stopping else "interrupted")
            raise
        finally:
            self.engine.leave(self)
        return self.run

    def drive_inside(self, outer: Controller, params: Mapping[str, Any]) -> Any:
        """Run the body as a run inside ``outer``'s; returns its value, outputs still stand-ins, or raises its end."""
        outer._inner.append(self)
        self.drive(params)
        outer._inner.remove(self)
        if self.raised is not None:
            raise self.raised
        self._check()
        return self.value

    def _body(self, params: Mapping[str, Any]) -> None:
        try:
            self.value = self.traced(params)
            outputs = self._run_outputs(self.value)
            self._settle()
        except Pruned as signal:
            self.stop(Status.PRUNED, str(signal))
            self._settle()
            return self._close(Status.PRUNED, reason=str(signal))
        except Exception as error:  # noqa: BLE001 - a raising body is a failed run, whatever it raised
            self.stop(Status.FAILED, "the body raised")
            self._settle()
            if self.stopping and self.stopping[0] is not Status.FAILED:
                return self._close(self.stopping[0], reason=self.stopping[1])
            return self._fail(error)
        if self.raised is not None:
            return self._fail(self.raised)
        if self.stopping:
            return self._close(self.stopping[0], reason=self.stopping[1])
        unseen = next((step for step in self.steps if step.failure and not step.seen and step.cause is None), None)
        if unseen is not None:
            return self._fail(self._error(unseen), reason=f"step {unseen.name} failed and nobody looked")
        return self._close(Status.COMPLETED, outputs=outputs)

    def traced(self, params: Mapping[str, Any]) -> Any:
        """The body's return value, its component calls traced by this controller."""
        token = context.tracer.set(self)
        try:
            bound = self.pipeline.parameters.bound(params)
            return self.pipeline.function(*bound.args, **bound.kwargs)
        finally:
            context.tracer.reset(token)

    def _run_outputs(self, value: Any) -> dict[str, ArtifactRef]:
        """The run's own outputs; what is a step's output is named again, not loaded."""
        if type(value) is dict and value and all(isinstance(key, str) for key in value):
            return {f"{VALUE}.{key}": self._stored(item, f"{VALUE}.{key}") for key, item in value.items()}
        return {} if value is None else {VALUE: self._stored(value, VALUE)}

    def _stored(self, value: Any, name: str) -> ArtifactRef:
        if is_output(value):
            step, output = value._self_source, value._self_name
            if not step.is_changed(output):
                self._await(step)
                return step.outputs[output]  # type: ignore[no-any-return]
        return self.engine.artifacts.put(result(value), name=name, code=self.code)

    def _settle(self) -> None:
        """Wait until no step of the run is under way."""
        with self._idle:
            self._idle.wait_for(lambda: self._open == 0)

    def _fail(self, error: BaseException, reason: str | None = None) -> None:
        self.raised = error
        failure = getattr(error, "failure", None) or Failure.of(error, skip=2)
        step = getattr(error, "step", None)
        self._close(Status.FAILED, reason=reason or (f"step {step} failed" if step else None), error=failure.record())

    def _close(self, status: Status, *, outputs: Mapping[str, ArtifactRef] | None = None, **changes: Any) -> None:
        store = self.engine.store
        with store.transaction():
            if outputs:
                store.tasks.set_outputs(self.run.id, outputs)
            try:
                self.run = store.tasks.transition(self.run.id, status, **changes)
            except IllegalTransition:
                # Someone else ended the run first (abort marks it at once); that is how it ended.
                self.run = store.tasks.get(self.run.id)

    def stop(self, status: Status, reason: str) -> None:
        """Stop the run: steps that run are cancelled, those that wait are skipped, the body hears at its next look."""
        with self._lock:
            if self.stopping is None:
                self.stopping = status, reason
            for inner in list(self._inner):
                inner.stop(status, reason)
            for step in self.steps:
                if step.stage != "over" and step.attempt:
                    self.engine.cancel(self.executor_of(step), step)
                if step.stage in ("new", "recorded"):
                    self._over(step, Status.ABORTED, reason=self.stopping[1])

    # -- the tracer

    def call(self, component: Component[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._check()
        arguments = bind(component, args, kwargs, self.code, self.engine.artifacts)
        with self._lock:
            step = self._new_step(component, arguments)
            sources = [source for source in arguments.sources if source.stage != "over"]
            for source in sources:
                source.dependents.append(step)
            step.pending = len(sources)
            if not sources:
                self._launch(step)
            else:
                self._record(step, Status.QUEUED, reason="waits for " + ", ".join(source.name for source in sources))
        return step.stand_in()

    def nested(self, pipeline: Pipeline[..., Any], params: Mapping[str, Any]) -> Any:
        self._check()
        return self.engine.nested(self, pipeline, {name: result(value) for name, value in params.items()})

    def report(self, name: str, value: float, step: int | None) -> None:
        with self._lock:
            number = self._counts.get(name, 0) if step is None else step
            self._counts[name] = number + 1
        self.engine.store.metrics.add([Metric(self.run.id, name, value, number, time.time())])

    def _check(self) -> None:
        if self.stopping:
            status, reason = self.stopping
            raise Pruned(reason) if status is Status.PRUNED else StepAborted(f"{self.run.label} was stopped: {reason}")

    def _new_step(self, component: Component[..., Any], arguments: Arguments) -> StepCall:
        count = self._names.get(component.name, 0) + 1
        self._names[component.name] = count
        name = component.name if count == 1 else f"{component.name}.{count}"
        step = StepCall(new_id(), name, component, arguments)
        step.position = len(self.steps)
        step.look_at = self.look
        self.steps.append(step)
        self._by_id[step.id] = step
        self._open += 1
        self._looked_since_call = False
        return step

    def look(self, step: StepCall, name: str) -> Any:
        """The value of an output, for the body: waits for it, raises what the step raised."""
        if name in step.looked:
            return step.looked[name]
        self._await(step)
        return step.remember(name, self.engine.artifacts.get(step.outputs[name], code=self.code))

    def _await(self, step: StepCall) -> None:
        step.done.wait()
        with self._lock:
            if not self._looked_since_call:
                self._control, self._looked_since_call = [], True
            if step not in self._control:
                self._control.append(step)
        if step.failure is not None:
            if step.stage == "over" and self.stopping:
                self._check()
            step.seen = True
            if step.cause is not None:
                step.cause.seen = True
            raise self._error(step)

    def _error(self, step: StepCall) -> BaseException:
        origin = step.cause or step
        assert origin.failure is not None
        original = origin.error
        if original is None and origin.failure.pickled is not None:
            try:
                original = self.code.load(origin.failure.pickled)
            except Exception:  # noqa: BLE001 - an exception of a library absent here still has its readable parts
                original = None
        error = step_failed(origin.failure, origin.name, original)
        if origin.error is not None and origin.error is not error:
            error = error.with_traceback(origin.error.__traceback__)
        return error

    # -- launching

    def _record(self, step: StepCall, status: Status, **changes: Any) -> None:
        """Write the step's row, or change it; both in one place, so that a step has one row whichever comes first."""
        tasks = self.engine.store.tasks
        if step.stage == "recorded" and status is Status.QUEUED:
            tasks.update(step.id, **changes)
            return
        if step.stage != "new":
            tasks.transition(step.id, status, **changes)
            return
        now = time.time()
        task = Task(
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
            study=self.run.study,
            trial=self.run.trial,
            executor=self.executor_of(step),
            started_at=now if status is not Status.QUEUED else None,
            finished_at=now if status.finished else None,
            **changes,
        )
        edges = step.arguments.edges(step.id)
        sources = {edge.source for edge in edges}
        edges += [Edge(looked.id, step.id, "control") for looked in self._control if looked.id not in sources]
        tasks.create(task, edges)
        step.stage = "recorded"

    def executor_of(self, step: StepCall) -> str:
        return self.executor or self.engine.executor_for(step.component.options.resources)

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
        flight = self.engine.fly(self, step)
        if flight is not None:
            return self._record(step, Status.QUEUED, reason=f"computing in {flight.label}")
        self._submit(step)

    def landed(self, step: StepCall, flight: Flight) -> None:
        """The step that this one waited for is over: take its outcome, or run in its place."""
        with self._lock:
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
            store.tasks.set_outputs(step.id, entry.outputs)
            if metrics:
                store.metrics.add([Metric(step.id, m.name, m.value, m.step, now) for m in metrics])
            store.cache.hit(entry.key)
        self._watch_series(step, [(m.name, m.value, m.step) for m in metrics])
        self._over(step, None)

    def _submit(self, step: StepCall) -> None:
        step.attempt += 1
        options = step.component.options
        assignment = Assignment(
            task=step.id,
            attempt=step.attempt,
            label=f"{self.run.label}/{step.name}",
            locator=component_locator(step.component, self.code),
            arguments=step.arguments.pickled,
            inputs=step.arguments.refs(),
            artifacts=self.engine.artifacts.url,
            snapshot=self.engine.snapshot_ref(self.run.snapshot or ""),
            snapshot_digest=self.run.snapshot or "",
            resources=options.resources,
            timeout=options.timeout,
            console=self.engine.console_path(self.run.id, f"{step.name}.{step.attempt}"),
            environment=self.engine.variables(step, options),
        )
        try:
            self.engine.submit(self, step, assignment)
        except HpoPipelinesError as error:
            failure = Failure.of(error)
            step.failure, step.error = failure, error
            return self._over(step, Status.FAILED, reason=str(error), error=failure.record())
        if step.stage in ("new", "recorded"):
            self._record(step, Status.QUEUED, reason="waits for a free worker")

    # -- hearing from executors

    def hear(self, assignment: Assignment, message: Message) -> None:
        """One message about one attempt of one of this run's steps."""
        with self._lock:
            step = self._by_id[assignment.task]
            if step.stage == "over" or assignment.attempt != step.attempt:
                return
            try:
                self._heard(step, assignment, message)
            except Exception as error:  # noqa: BLE001 - the executor's thread serves other runs too: only ours ends
                self._crash(error)

    def _heard(self, step: StepCall, assignment: Assignment, message: Message) -> None:
        if isinstance(message, Started):
            self._started(step, assignment, message)
        elif isinstance(message, Reported):
            self._reported(step, message)
        elif isinstance(message, ConsoleChunk):
            self.engine.write_console(assignment.console, message)
        elif isinstance(message, Completed):
            self._completed(step, message)
        else:
            self._failed_attempt(step, assignment, message)

    def _crash(self, error: Exception) -> None:
        """Recording failed (a full disk, a lost database): the run ends as failed, as far as that can be written."""
        self.raised = self.raised or error
        for step in self.steps:
            if step.stage != "over":
                if step.attempt:
                    self.engine.cancel(self.executor_of(step), step)
                step.failure, step.error = Failure.of(error), error
                self._forget(step)

    def _started(self, step: StepCall, assignment: Assignment, message: Started) -> None:
        store = self.engine.store
        step.begun = time.time()
        with store.transaction():
            self._record(step, Status.RUNNING, reason=step.reason, key=step.key.digest)
            step.running = Attempt(step.id, step.attempt, Status.RUNNING, step.begun, None, None, message.worker)
            store.tasks.start_attempt(step.running)
        step.stage = "running"

    def _reported(self, step: StepCall, message: Reported) -> None:
        number = step.counts.get(message.name, 0) if message.step is None else message.step
        step.counts[message.name] = number + 1
        self.engine.store.metrics.add([Metric(step.id, message.name, message.value, number, message.at)])
        self._watch_series(step, [(message.name, message.value, number)])

    def _watch_series(self, step: StepCall, series: list[tuple[str, float, int]]) -> None:
        for name, value, number in series:
            reason = self.watch(step.component.name, name, value, number) if self.watch else None
            if reason:
                return self.stop(Status.PRUNED, reason)

    def _completed(self, step: StepCall, message: Completed) -> None:
        store = self.engine.store
        now = time.time()
        step.outputs = message.outputs
        entry = None
        if step.key.digest is not None:
            name = step.component.name
            entry = CacheEntry(step.key.digest, step.id, name, message.outputs, step.key.parts, message.seconds, now)
        with store.transaction():
            store.tasks.set_outputs(step.id, message.outputs)
            self._finish_attempt(step, Status.COMPLETED)
            store.tasks.transition(step.id, Status.COMPLETED)
            if entry is not None:
                store.cache.record(entry)
        self._over(step, None, entry)

    def _finish_attempt(self, step: StepCall, status: Status, error: Mapping[str, Any] | None = None) -> None:
        if step.running is not None:
            ended = replace(step.running, status=status, finished_at=time.time(), error=error)
            self.engine.store.tasks.finish_attempt(ended)
            step.running = None

    def _failed_attempt(
        self, step: StepCall, assignment: Assignment, message: Failed | Lost | TimedOut | Cancelled
    ) -> None:
        failure, error, again = self._judge(step, assignment, message)
        if step.stage == "running":
            status = Status.ABORTED if isinstance(message, Cancelled) else Status.FAILED
            self._finish_attempt(step, status, failure.record())
        if self.stopping or isinstance(message, Cancelled):
            status, reason = self.stopping or (Status.ABORTED, "aborted")
            step.failure, step.error = failure, StepAborted(f"step {step.name} was stopped: {reason}")
            return self._over(step, Status.ABORTED, reason=reason)
        if again is not None:
            first_line = failure.message.partition("\n")[0]
            self._record(
                step, Status.QUEUED, reason=f"attempt {step.attempt} failed ({first_line}); again in {again:.1f} s"
            )
            step.stage = "recorded"
            return self.engine.later(again, lambda: self._again(step))
        step.failure, step.error = failure, error
        reason = "timeout" if isinstance(message, TimedOut) else failure.message.partition("\n")[0]
        return self._over(step, Status.FAILED, reason=reason, error=failure.record())

    def _judge(
        self, step: StepCall, assignment: Assignment, message: Failed | Lost | TimedOut | Cancelled
    ) -> tuple[Failure, BaseException | None, float | None]:
        """What a failed attempt means: its record, our error for it if it is ours, and when to try again, if at all."""
        retry = step.component.options.retry
        log = console.tail(assignment.console)
        if isinstance(message, Failed):
            failure = message.failure
            again = failure.retryable and step.attempt - step.losses <= retry.times
            failure = Failure(failure.type, failure.message, failure.traceback, failure.pickled, failure.retryable, log)
            return failure, message.error, retry.delay(step.attempt, random.random()) if again else None
        error: BaseException
        if isinstance(message, TimedOut):
            error = StepTimedOut(f"step {step.name} ran longer than its timeout of {message.seconds:g} s")
            again = step.attempt - step.losses <= retry.times
        elif isinstance(message, Lost):
            step.losses += 1
            error = StepLost(f"step {step.name} was lost: {message.reason}")
            allowed = retry.times if "out of memory" in message.reason else max(1, retry.times)
            again = step.losses <= allowed
        else:
            error, again = StepAborted(f"step {step.name} was stopped"), False
        failure = Failure(type(error).__name__, str(error), str(error), None, again, log)
        return failure, error, retry.delay(step.attempt, random.random()) if again else None

    def _again(self, step: StepCall) -> None:
        with self._lock:
            if step.stage != "over":
                self._submit(step)

    def _over(self, step: StepCall, status: Status | None, entry: CacheEntry | None = None, **changes: Any) -> None:
        """The step has ended: record it as ``status`` (None: recorded already), tell who waits for it."""
        if step.stage == "over":
            return
        if status is Status.ABORTED and step.failure is None:
            step.failure = Failure("StepAborted", str(changes.get("reason")), "")
            step.error = StepAborted(f"step {step.name} was stopped: {changes.get('reason')}")
        if status is not None:
            try:
                self._record(step, status, **changes)
            except IllegalTransition:
                # An abort from elsewhere has ended it in the store already.
                step.reason = self.engine.store.tasks.get(step.id).reason or ""
        self._forget(step)
        dependents, step.dependents = step.dependents, []
        for dependent in dependents:
            dependent.pending -= 1
            if dependent.pending == 0 and dependent.stage != "over":
                self._launch(dependent)
        self.engine.land(step, entry)

    def _forget(self, step: StepCall) -> None:
        step.stage = "over"
        step.done.set()
        self._open -= 1
        if self._open == 0:
            self._idle.notify_all()


def needs_cluster(resources: Resources) -> bool:
    """Whether ``resources`` name something that only Ray places."""
    return bool(resources.gpu or resources.custom or resources.queue)
