"""Runs a chain in place of a body: each step as soon as what it refers to is there, whatever stands before it.

A step is called when the steps whose outputs it is given have been called, and those that it looks at (metrics, texts,
conditions, ``after``) are over; the rest runs in parallel. Its position is its place in the chain, so that the journal
of a run knows it again in whatever order the calls were made.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpo_pipelines.chain import (
    PIPELINE,
    RUN,
    ChainStep,
    Definition,
    Recorded,
    Reference,
    filled,
    references,
)
from hpo_pipelines.component import Component
from hpo_pipelines.engine.step import Arguments, Kept, Place, StepCall
from hpo_pipelines.errors import ArtifactMissing, DefinitionError, ParameterError, StepSkipped
from hpo_pipelines.output import Output, result
from hpo_pipelines.parameters import Parameters
from hpo_pipelines.parameters.encoding import Mismatch, decode
from hpo_pipelines.types import Status

if TYPE_CHECKING:
    from hpo_pipelines.engine.controller import Controller
    from hpo_pipelines.engine.engine import Engine


@dataclass
class _State:
    """What has become of one step of the chain."""

    step: ChainStep
    arguments: Mapping[str, Any] = field(default_factory=dict)
    call: StepCall | None = None
    inner: Controller | None = None
    value: Any = None
    """Of a run inside, once it is over."""
    error: BaseException | None = None
    """What ended a run inside."""
    done: bool = False
    passed_over: bool = False
    """Whether it did not run, because of its condition or of what it refers to."""
    failed_before: bool = False
    """Whether it did not run because something it uses has failed."""

    @property
    def over(self) -> bool:
        return self.done or (self.call is not None and self.call.stage == "over")

    @property
    def left_out(self) -> bool:
        """Whether a callback before it, or before what it uses, had it left out."""
        return self.call is not None and isinstance((self.call.cause or self.call).error, StepSkipped)

    @property
    def failed(self) -> bool:
        failed = self.call is not None and self.call.failure is not None and not self.left_out
        return self.failed_before or self.error is not None or failed

    @property
    def skipped(self) -> bool:
        return self.passed_over or self.left_out

    @property
    def status(self) -> str:
        if self.skipped or self.failed_before or (self.call is not None and self.call.cause is not None):
            return str(Status.SKIPPED)
        return str(Status.FAILED if self.failed else Status.COMPLETED)


class Chaining:
    """One run of a chain, with its parameters."""

    def __init__(self, controller: Controller, definition: Definition, params: Mapping[str, Any]) -> None:
        self._controller = controller
        self._engine = controller.engine
        self._definition = definition
        self._params = params
        self._states: dict[str, _State] = {}
        self._threads: list[threading.Thread] = []

    def value(self) -> Any:
        """Run every step to its end; what the chain returns. Raises what the first step that failed has raised."""
        try:
            self._run()
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            status, reason = (Status.ABORTED, "interrupted") if interrupted else (Status.FAILED, "the chain ended")
            self._controller.stop(status, reason)
            raise
        finally:
            for thread in self._threads:
                thread.join()
        self._raise_failures()
        return self._returned()

    def _run(self) -> None:
        scheduler = self._controller.scheduler
        left = list(enumerate(self._definition))
        while left:
            scheduler.wait_until(lambda: any(self._is_ready(step) for _, step in left))
            self._controller.check()
            for position, step in [each for each in left if self._is_ready(each[1])]:
                self._states[step.name] = state = _State(step)
                self._begin(position, state)
                left.remove((position, step))
        scheduler.wait_until(lambda: all(state.over for state in self._states.values()))
        self._controller.check()

    def _is_ready(self, step: ChainStep) -> bool:
        for name in step.called_before | step.over_before:
            state = self._states.get(name)
            if state is None:
                return False
            waited_for = name in step.over_before or RUN in (step.kind, state.step.kind)
            if waited_for and not state.over:
                return False
        return True

    # -- one step

    def _begin(self, position: int, state: _State) -> None:
        step = state.step
        used = [*dict.fromkeys(ref.owner for ref in step.references if ref.kind != "status"), *step.after]
        before = [self._states[name] for name in dict.fromkeys(used) if name != PIPELINE]
        broken = next((each for each in before if each.over and each.failed), None)
        if broken is not None:
            state.failed_before = True
            cause = broken.call
            origin = cause.cause.name if cause is not None and cause.cause is not None else broken.step.name
            return self._pass_over(position, state, f"upstream {origin} failed", cause)
        skipped = next((each for each in before if each.skipped and each.step.name not in step.after), None)
        if skipped is not None:
            return self._pass_over(position, state, f"uses {skipped.step.name}, which was skipped")
        journal = self._controller.options.journal
        has_run = journal is not None and journal.has_outcome(position)
        if step.condition is not None and not has_run and not step.condition.holds(self._looked):
            said = ", ".join(f"{ref} is {self._looked(ref)!r:.40}" for ref in dict.fromkeys(step.condition.references))
            return self._pass_over(position, state, f"when {step.when} is false{f': {said}' if said else ''}")
        return self._begin_run(state) if step.kind == RUN else self._call(position, state)

    def _call(self, position: int, state: _State) -> None:
        component = self._engine.borrowing.component(state.step)
        state.arguments = self._arguments(state.step, parameters_of(component))
        state.call = self._controller.step(component, (), dict(state.arguments), self._place(position, state.step))

    def _place(self, position: int, step: ChainStep) -> Place:
        calls = [self._states[name].call for name in sorted(step.over_before)]
        return Place(position, tuple(call for call in calls if call is not None))

    def _pass_over(self, position: int, state: _State, reason: str, cause: StepCall | None = None) -> None:
        """Record that the step does not run."""
        state.passed_over = not state.failed_before
        step = state.step
        shown = {**step.params, **{name: _shown_input(given) for name, given in step.inputs.items()}}
        if step.kind == RUN:
            lent = self._engine.borrowing.run(step)
            self._engine.inner_skipped(self._controller, lent, shown, name=step.name, reason=reason)
            state.done = True
            return
        component = self._engine.borrowing.component(step)
        place = self._place(position, step)
        with self._controller.recording():
            state.call = self._controller.scheduler.add_skipped(
                component, Arguments(shown=shown), place, reason=reason, cause=cause
            )

    # -- runs inside

    def _begin_run(self, state: _State) -> None:
        lent = self._engine.borrowing.run(state.step)
        given = self._arguments(state.step, lent.pipeline.parameters)
        state.arguments = {name: result(value) for name, value in given.items()}
        values = lent.pipeline.parameters.bind(state.arguments)
        with self._controller.recording():
            inner = state.inner = self._engine.inside(self._controller, lent, values, name=state.step.name)

        def drive() -> None:
            try:
                state.value = inner.drive_inside(self._controller, values)
            except BaseException as error:  # noqa: BLE001 - raised where the chain ends
                state.error = error
            finally:
                state.done = True
                self._controller.scheduler.nudge()

        if self._controller.options.executor == "inline":
            return drive()
        thread = threading.Thread(target=copy_context().run, args=(drive,), name=f"hpo-{state.step.name}", daemon=True)
        self._threads.append(thread)
        return thread.start()

    # -- values

    def _arguments(self, step: ChainStep, parameters: Parameters | None) -> dict[str, Any]:
        found = {name: self._argument(step, name, given, parameters) for name, given in step.params.items()}
        for name, given in step.inputs.items():
            found[name] = kept(self._engine, given) if isinstance(given, Recorded) else self._filled(given)
        return found

    def _argument(self, step: ChainStep, name: str, plain: Any, parameters: Parameters | None) -> Any:
        value = self._filled(plain)
        if next(references(plain), None) is not None:
            return value
        try:
            return decoded(parameters, name, value)
        except (ParameterError, Mismatch) as error:
            raise ParameterError(f"step {step.name}: {error}") from None

    def _filled(self, plain: Any) -> Any:
        return filled(plain, self._named, lambda ref: str(self._looked(ref)))

    def _looked(self, ref: Reference) -> Any:
        """The value that ``ref`` names; of an output that of its step, which is over."""
        value = self._named(ref)
        return result(value)

    def _named(self, ref: Reference) -> Any:
        """What ``ref`` names; of an output what stands for it."""
        if ref.owner == PIPELINE:
            return self._params[ref.name] if ref.kind == "params" else of_run(self._controller, ref)
        state = self._states[ref.owner]
        if ref.kind == "params":
            return among(state.arguments, ref)
        if ref.kind == "metrics":
            return among(self._metrics(state), ref)
        if ref.kind == "outputs":
            return self._output(state, ref)
        return {"name": state.step.name, "status": state.status}.get(ref.kind) or self._address(state, ref)

    def _address(self, state: _State, ref: Reference) -> str:
        if state.call is not None:
            id, place = state.call.id, f"{self._controller.run.id}?step={state.step.name}"
        else:
            assert state.inner is not None, "what was skipped is referred to by its status alone"
            id = place = state.inner.last.run.id
        return id if ref.kind == "id" else f"{self._engine.pages}/runs/{place}"

    def _metrics(self, state: _State) -> Mapping[str, float]:
        if state.inner is None:
            return state.call.metrics if state.call is not None else {}
        store, run = self._engine.store, state.inner.last.run.id
        return store.metrics.named(run, store.tasks.children(run))

    def _output(self, state: _State, ref: Reference) -> Any:
        if state.call is not None:
            return Output(state.call, ref.name)
        value = state.value
        if type(value) is dict:
            return among(value, ref)
        return among({} if value is None else {"value": value}, ref)

    # -- the end

    def _raise_failures(self) -> None:
        for state in self._states.values():
            if state.error is not None:
                raise state.error
            if state.call is not None and state.call.cause is None and state.failed:
                self._controller.wait_for(state.call)

    def _returned(self) -> Any:
        """What the chain returns; without what refers to a step that was skipped."""
        returned = {
            name: self._filled(text)
            for name, text in self._definition.returns.items()
            if not self._refers_to_skipped(references(text))
        }
        return returned.get("") if "" in self._definition.returns else returned or None

    def _refers_to_skipped(self, refs: Iterable[Reference]) -> bool:
        return any(ref.owner != PIPELINE and self._states[ref.owner].skipped for ref in refs if ref.kind != "status")


def kept(engine: Engine, given: Recorded) -> Kept:
    """The recorded output that a step is given. Raises ArtifactMissing if it was deleted."""
    outputs = engine.store.tasks.outputs(given.task)
    if given.output not in outputs:
        raise ArtifactMissing(f"{given.label} was deleted since the chain was made of it; chain another task instead.")
    return Kept(outputs[given.output], given.label)


def of_run(controller: Controller, ref: Reference) -> Any:
    """What ``${pipeline.id}`` and the like name."""
    run = controller.run
    if ref.kind == "url":
        return f"{controller.engine.pages}/runs/{run.id}"
    return {"id": run.id, "name": run.pipeline, "number": run.number, "label": run.label, "project": run.project}[
        ref.kind
    ]


def among(values: Mapping[str, Any], ref: Reference) -> Any:
    """``values[ref.name]``. Raises ParameterError listing what there is."""
    if ref.name not in values:
        raise ParameterError(f"{ref}: {ref.owner} has {ref.kind} {', '.join(values) or 'none'}, not {ref.name!r}.")
    return values[ref.name]


def parameters_of(component: Component[..., Any]) -> Parameters | None:
    """How the arguments of ``component`` are read from plain JSON; None where its signature is no help."""
    try:
        return Parameters.of(component.function)
    except DefinitionError:
        return None


def decoded(parameters: Parameters | None, name: str, plain: Any) -> Any:
    """The argument ``name`` that ``plain`` JSON stands for. Raises ParameterError or Mismatch."""
    if parameters is None or (name not in parameters and parameters.extra is None):
        return decode(plain)
    return parameters.decode({name: plain})[name]


def _shown_input(given: str | Recorded) -> Any:
    return {"$from": given.label} if isinstance(given, Recorded) else given
