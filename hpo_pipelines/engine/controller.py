"""Drives one run: its body runs in the calling thread, traced; its steps are the scheduler's."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard

from hpo_pipelines import context
from hpo_pipelines.chain import Definition
from hpo_pipelines.component import Component
from hpo_pipelines.engine import retriggers
from hpo_pipelines.engine.around import before
from hpo_pipelines.engine.borrowing import code_of
from hpo_pipelines.engine.chaining import Chaining
from hpo_pipelines.engine.deadline import REASON
from hpo_pipelines.engine.journal import ENDED_BY, driven
from hpo_pipelines.engine.options import ASKED, RunOptions, asked
from hpo_pipelines.engine.repeats import repeated
from hpo_pipelines.engine.rungs import climbed
from hpo_pipelines.engine.scheduler import Scheduler
from hpo_pipelines.engine.step import Place, StepCall, bind
from hpo_pipelines.engine.verdict import step_behind
from hpo_pipelines.errors import (
    IllegalTransition,
    Pruned,
    Retriggered,
    RunTimedOut,
    StepAborted,
    StepError,
    StepSkipped,
    StoreError,
)
from hpo_pipelines.executors import console
from hpo_pipelines.failure import Failure, error_of_ours, rebuilt, step_failed
from hpo_pipelines.output import is_output, result
from hpo_pipelines.retriggering import signal
from hpo_pipelines.snapshot import Code
from hpo_pipelines.task import Metric, Task
from hpo_pipelines.types import ArtifactRef, Status

if TYPE_CHECKING:
    from hpo_pipelines.engine.engine import Engine
    from hpo_pipelines.pipeline import Pipeline

ENDING_SECONDS = 10.0
"""How long steps of a run that is let go of may take to end."""

VALUE = "value"
"""The output of a run that holds what its body returned; ``value.KEY`` for each key of a returned dict."""


class Controller:
    """The tracer of one run. ``drive`` runs it, and the attempts that follow, and returns the last one's task."""

    def __init__(
        self, engine: Engine, run: Task, pipeline: Pipeline[..., Any], code: Code, options: RunOptions | None = None
    ) -> None:
        self.engine = engine
        self.run = run
        self.pipeline = pipeline
        self.code = code
        self.options = options or RunOptions()
        self.scheduler = Scheduler(engine, run, code, self.options)
        self.value: Any = None
        self.raised: BaseException | None = None
        """What ended the run, when it failed."""
        self.expired: RunTimedOut | None = None
        """Set when its time is over, or that of a run around it."""
        self.let_go = False
        """Whether the rest of it is left to whoever takes the run again."""
        self.closing = False
        """Whether it is about to record how the run ended."""
        self.outer: Controller | None = None
        """What drives the run around this one."""
        self.successor: Controller | None = None
        """What drives the attempt that this run ended by asking for, unless an agent is to."""
        self.called = ""
        """What a chain around this run calls it."""
        self._inner: list[Controller] = []
        self._inner_failures: list[tuple[str, BaseException]] = []
        """The runs inside this one that failed, and what their bodies raised."""
        self._counts: dict[str, int] = {}
        self._is_asked = False
        """Whether it is recorded already what the run is asked for."""

    # -- the run

    def drive(self, params: Mapping[str, Any]) -> Task:
        """Run the body with ``params`` and everything it starts; returns the run's task as it ended.

        Of a run that is retriggered it is that of the last attempt. Raises what the body raised only where it must not
        be swallowed (KeyboardInterrupt), after recording it.
        """
        return retriggers.driven(self, params)

    @property
    def last(self) -> Controller:
        """What drove the last attempt."""
        controller = self
        while controller.successor is not None:
            controller = controller.successor
        return controller

    def again(self, run: Task, options: RunOptions) -> Controller:
        """What drives ``run``, recorded as the next attempt."""
        made = Controller(self.engine, run, self.pipeline, self.code, options)
        made._is_asked = True
        return made

    def attempt(self, params: Mapping[str, Any]) -> Task:
        """Run the body once: :meth:`drive` without the attempts that follow."""
        try:
            self._begin()
        except BaseException:
            if self.run.parent is None:
                self.engine.liveness.drop(self.scheduler.lease)
            raise
        self.engine.enter(self)
        try:
            with console.teed(self.engine.console_path(self.run.id, "controller"), echo=self.options.echo):
                self._body(params)
        except BaseException as error:
            if self._is_out_of_reach(error):
                self._let_go(error)
                raise
            interrupted = isinstance(error, KeyboardInterrupt)
            self.stop(Status.ABORTED, "interrupted" if interrupted else f"{type(error).__name__}: {error}")
            self.scheduler.settle()
            self._close_as_stopped()
            raise
        finally:
            self.engine.leave(self)
            if self.run.parent is None and self.engine.liveness.holds(self.scheduler.lease):
                self.engine.liveness.give_up(self.scheduler.lease)  # how it ended could not be recorded
        return self.run

    def _begin(self) -> None:
        lease, store, liveness = self.scheduler.lease, self.engine.store, self.engine.liveness
        if self.options.recalled:
            self.closing = True  # its end is recorded, and nothing of ours to hear of
            return
        anew = self.run.parent is None and self.options.journal is None and not self._is_asked
        said = asked(self.options) if anew else {}
        if self.run.status is Status.RUNNING and liveness.holds(lease) and not said:
            return  # it is recorded so already, as that of a trial is
        with store.transaction():
            if self.run.parent is None and not liveness.holds(lease) and not liveness.claim(lease, self.run.label):
                raise driven(self.run, liveness)
            if said:
                store.events.append(self.run.id, ASKED, said)
            if self.run.status is not Status.RUNNING:
                # Not if somebody has aborted it while its code was loaded.
                self.run = store.tasks.transition(self.run.id, Status.RUNNING, expect=self.run.status)

    def _is_out_of_reach(self, error: BaseException | None) -> TypeGuard[StoreError]:
        """Whether ``error`` keeps the store from hearing of the run just now, and another may go on with that."""
        if not self.options.shared or isinstance(error, StepError):  # which is a step's own
            return False
        return isinstance(error, StoreError) and error.passing

    def _let_go(self, error: StoreError) -> None:
        """Leave the run as it is recorded, without another word to the store."""
        self.let_go = True
        with self.scheduler.lock:
            self.scheduler.give_up(error)
        # Who goes on with it may be this process, and calls the attempts that were not recorded yet the same.
        self.scheduler.attempts.settle(ENDING_SECONDS)
        if self.run.parent is None:
            self.engine.liveness.drop(self.scheduler.lease)

    def drive_inside(self, outer: Controller, params: Mapping[str, Any]) -> Any:
        """Run the body as a run inside ``outer``'s; returns its value, outputs still stand-ins, or raises its end."""
        self.outer = outer
        outer._inner.append(self)
        try:
            self.drive(params)
        finally:
            outer._inner.remove(self)
        last = self.last
        if last.raised is not None:
            outer._inner_failures.append((last.run.id, last.raised))
            raise last.raised
        last.check()
        return last.value

    def stop(self, status: Status, reason: str) -> None:
        """Stop the run and those inside it; the body hears of it at its next call or look."""
        for inner in list(self._inner):
            inner.stop(status, reason)
        self.scheduler.stop(status, reason)
        if self.successor is not None:
            self.last.stop(status, reason)

    def expire(self, error: RunTimedOut) -> None:
        """The time of the run, or of one around it, is over: as :meth:`stop`, for the reason ``timeout``."""
        for inner in list(self._inner):
            inner.expire(error)
        if self.successor is not None:
            self.last.expire(error)
        elif self.scheduler.stopping is None and not self.closing:
            self.expired = error
            self.scheduler.stop(Status.FAILED, REASON)

    def end_expired(self) -> None:
        """Record how the expired run ended, while its body goes on to look at nothing."""
        if self.successor is not None:
            self.last.end_expired()
        elif self.expired is not None:
            for inner in list(self._inner):
                inner.end_expired()
            self._fail(self.expired, reason=REASON)

    def _body(self, params: Mapping[str, Any]) -> None:
        try:
            self.value = self._traced(params)
            outputs = self._run_outputs(self.value)
        except Pruned as signal:
            self.stop(Status.PRUNED, str(signal))
            self._settle()
            return self._close_as_stopped()
        except Exception as error:  # noqa: BLE001 - a raising body is a failed run, whatever it raised
            self.stop(Status.FAILED, "the body raised")
            self._settle()
            if self.scheduler.broken is None and (self.expired or self._stopped() is not Status.FAILED):
                return self._close_as_stopped()
            return self._fail(self.scheduler.broken or error)
        self._settle()
        if self.scheduler.broken is not None:
            return self._fail(self.scheduler.broken)
        if self._stopped() is not None:
            return self._close_as_stopped()
        unseen = self.scheduler.unseen_failures()
        if unseen:
            return self._fail(self._error(unseen[0]), reason=f"step {unseen[0].name} failed and nobody looked")
        if type(self.value) is Retriggered:
            wanted, self.value = self.value, None
            return retriggers.superseded(self, wanted)
        # A run that is resumed has kept the error that it ended with before.
        return self.close(Status.COMPLETED, outputs=outputs, error=None)

    def _settle(self) -> None:
        """Wait until no step is under way. Raises what keeps the run from being recorded where it is to be let go."""
        self.scheduler.settle()
        self.scheduler.afterwards.settle()
        if self._is_out_of_reach(self.scheduler.broken):
            raise self.scheduler.broken

    @contextmanager
    def recording(self) -> Iterator[None]:
        """A store that is out of reach is no error for the body to catch: the run ends here."""
        try:
            yield
        except StoreError as error:
            if self._is_out_of_reach(error):
                with self.scheduler.lock:
                    self.scheduler.give_up(error)
            raise

    def _traced(self, params: Mapping[str, Any]) -> Any:
        token = context.tracer.set(self)
        try:
            try:
                value = self._called(params)
            except Retriggered as wanted:
                if wanted.call is not self:
                    raise
                value = wanted  # an end of the body like any other
            if self.options.journal is not None:
                self.options.journal.check_complete()
            return value
        finally:
            context.tracer.reset(token)

    def _called(self, params: Mapping[str, Any]) -> Any:
        if self.options.repeats is not None:
            return repeated(self, self.options.repeats, params)
        if self.options.ladder is not None:
            return climbed(self, self.options.ladder, params)
        bound = self.pipeline.parameters.bound(params)
        return self.pipeline.function(*bound.args, **bound.kwargs)

    def _run_outputs(self, value: Any) -> dict[str, ArtifactRef]:
        """The run's own outputs; what is a step's output is named again, not loaded."""
        if type(value) is Retriggered:  # not isinstance, which would look at an output
            return {}
        if type(value) is dict and value and all(isinstance(key, str) for key in value):
            return {f"{VALUE}.{key}": self._stored(item, f"{VALUE}.{key}") for key, item in value.items()}
        return {} if value is None else {VALUE: self._stored(value, VALUE)}

    def _stored(self, value: Any, name: str) -> ArtifactRef:
        if is_output(value):
            step, output = value._self_source, value._self_name
            self.wait_for(step)
            if not step.is_changed(output):
                return step.outputs[output]  # type: ignore[no-any-return]
        return self.engine.artifacts.put(result(value), name=name, code=self.code)

    def _fail(self, error: BaseException, reason: str | None = None) -> None:
        self.raised = error
        failure = getattr(error, "failure", None) or Failure.of(error, skip=2)
        step = getattr(error, "step", None)
        inner = {run for run, raised in self._inner_failures if raised is error}
        unseen = {step.id for step in self.scheduler.unseen_failures()}
        ended_by = sorted(inner | unseen | step_behind(error))
        if self.options.journal is not None:
            ended_by = sorted({*ended_by, *self.options.journal.untried})
        ended = "was skipped" if isinstance(error, StepSkipped) else "failed"
        record = {**failure.record(), **({ENDED_BY: ended_by} if ended_by else {})}
        self.close(Status.FAILED, reason=reason or (f"step {step} {ended}" if step else None), error=record)

    def _stopped(self) -> Status | None:
        return self.scheduler.stopping[0] if self.scheduler.stopping else None

    def _close_as_stopped(self) -> None:
        if self.expired is not None:
            return self._fail(self.expired, reason=REASON)
        status, reason = self.scheduler.stopping or (Status.ABORTED, "stopped")
        return self.close(status, reason=reason)

    def close(self, status: Status, *, outputs: Mapping[str, ArtifactRef] | None = None, **changes: Any) -> None:
        """Record how the run ended, unless somebody else has ended it, or taken it."""
        if self.options.recalled:
            return
        self.closing = True
        tasks = self.engine.store.tasks
        with self.engine.store.transaction():
            if not self.engine.liveness.check(self.scheduler.lease):
                self.run = tasks.get(self.run.id)  # another process drives it by now
                return
            self.engine.store.cache.hit(*self.scheduler.hits)
            try:
                self.run = tasks.transition(self.run.id, status, **changes)
                if outputs:
                    tasks.set_outputs(self.run.id, outputs, first=self.options.journal is None)
            except IllegalTransition:
                # Someone else ended the run first (abort marks it at once): that is how it ended.
                self.run = tasks.get(self.run.id)
            if self.run.parent is None:
                # Last: agents lock a run's place in its queue, which its end frees, and then its lease.
                self.engine.liveness.release(self.scheduler.lease)

    # -- the tracer

    def call(self, component: Component[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See :class:`hpo_pipelines.context.Tracer`."""
        return self.step(component, args, kwargs).stand_in()

    def step(
        self, component: Component[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], place: Place | None = None
    ) -> StepCall:
        """Start a step, the next of the body or at its ``place``."""
        self.check()
        told, skipped = before(self.scheduler, component, args, kwargs)
        if component.options.callbacks.before is not None:
            self.check()  # it may have waited for a value
        arguments = bind(component, args, kwargs, code_of(component, self.code), self.engine.artifacts)
        arguments.told, arguments.skipped = told, skipped
        with self.recording():
            step = self.scheduler.add(component, arguments, place)
        step.look_at = self.look
        return step

    def chain(self, definition: Definition, params: Mapping[str, Any]) -> Any:
        """See :class:`hpo_pipelines.context.Tracer`."""
        return Chaining(self, definition, params).value()

    def nested(self, pipeline: Pipeline[..., Any], params: Mapping[str, Any]) -> Any:
        """See :class:`hpo_pipelines.context.Tracer`."""
        self.check()
        values = {name: result(value) for name, value in params.items()}
        with self.recording():
            return self.engine.nested(self, pipeline, values)

    def retrigger(self, changes: Mapping[str, Any], *, max_attempts: int, reason: str) -> NoReturn:
        """See :class:`hpo_pipelines.context.Tracer`."""
        self.check()
        parameters, attempt = self.pipeline.parameters, self.run.attempt
        wanted = signal(self, parameters, changes, attempt=attempt, max_attempts=max_attempts, reason=reason)
        parameters.encode(wanted.params)  # what cannot be recorded is refused here, where the body hears of it
        raise wanted

    def report(self, name: str, value: float, step: int | None) -> None:
        """See :class:`hpo_pipelines.context.Tracer`."""
        number = self._counts.get(name, 0) if step is None else step
        self._counts[name] = number + 1
        self.report_all([(name, value, number)])

    def report_all(self, reports: Sequence[tuple[str, float, int]]) -> None:
        """Record each (name, value, step) that the body reports, all at once."""
        journal, metrics = self.options.journal, self.engine.store.metrics
        with self.recording():
            self.scheduler.recorder.refuse_if_taken()
            with self.engine.store.transaction():
                for name, value, number in reports:
                    other, values = (False, [value]) if journal is None else journal.reported(name, number, value)
                    if other:
                        metrics.withdraw([self.run.id], name=name, step=number)
                    metrics.add([Metric(self.run.id, name, each, number, time.time()) for each in values])

    def look(self, step: StepCall, name: str) -> Any:
        """The value of an output, for the body: waits for it, raises what the step raised."""
        if name in step.looked:
            return step.looked[name]
        self.wait_for(step)
        return step.remember(
            name, self.engine.artifacts.get(step.outputs[name], code=code_of(step.component, self.code))
        )

    def wait_for(self, step: StepCall) -> None:
        """Wait until the step is over. Raises what it raised."""
        step.done.wait()
        self.scheduler.looked_at(step)
        if step.failure is not None:
            self.check()
            raise self._error(step)

    def check(self) -> None:
        """Raise what the body is to hear of a run that is being stopped."""
        if self.expired is not None:
            raise self.expired
        if self.scheduler.stopping:
            status, reason = self.scheduler.stopping
            raise Pruned(reason) if status is Status.PRUNED else StepAborted(f"{self.run.label} was stopped: {reason}")

    def _error(self, step: StepCall) -> BaseException:
        origin = step.cause or step
        assert origin.failure is not None
        original = origin.error
        if original is None and origin.failure.pickled is not None:
            try:
                original = rebuilt(code_of(origin.component, self.code).load(origin.failure.pickled))
            except Exception:  # noqa: BLE001 - an exception of a library absent here still has its readable parts
                original = None
        error = step_failed(origin.failure, origin.name, original or error_of_ours(origin.failure))
        error.task = origin.id  # type: ignore[attr-defined]
        if origin.error is not None and origin.error is not error:
            error = error.with_traceback(origin.error.__traceback__)
        return error
