"""What a body runs against while its steps are only counted: each call gets an identity, and none is started.

The identity of a step is its key where all that it uses is recorded, and otherwise a digest of the component, of its
literal arguments, and of the identities of the steps that it uses. Steps with one identity have one key: the same work.
Steps with two may turn out to have one, where different inputs give equal values.
"""

from __future__ import annotations

import dis
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hpo_pipelines import context
from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.canonical import value_digest
from hpo_pipelines.component import Component
from hpo_pipelines.engine.options import RunOptions
from hpo_pipelines.engine.scheduler import Scheduler
from hpo_pipelines.engine.step import Source, StepCall, bind
from hpo_pipelines.executors import console
from hpo_pipelines.output import result, substitute
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.planning.tracer import Digesting, Unforeseen
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, new_id

if TYPE_CHECKING:
    from hpo_pipelines.chain import Definition
    from hpo_pipelines.engine import Engine
    from hpo_pipelines.snapshot import Code


_OURS = str(Path(__file__).parents[1])


@dataclass(frozen=True)
class Called:
    """One call of a component in a traced body."""

    name: str
    """As in the run: ``fit``, ``fit.2``; of a run inside, ``inner/fit``."""
    component: Component[..., Any]
    identity: str | None
    """None for what is computed each time: its outcome is kept under no key."""
    is_recorded: bool
    """Whether its outcome is there already."""
    uses: tuple[int, ...]
    """The places, among the calls, of those whose outputs it uses."""


@dataclass(frozen=True)
class Trace:
    """The calls of one body, in their order; ``stop`` says why, and where, tracing ended before the body did.

    ``raised`` is what the body itself raises: that is its end, in a run as well.
    """

    calls: tuple[Called, ...]
    stop: str | None = None
    raised: str | None = None


class Recorded:
    """What is recorded of steps, looked up once for each key."""

    def __init__(self, engine: Engine, *, reuse: bool = True) -> None:
        self.engine = engine
        self.reuse = reuse
        self._outputs: dict[str, Mapping[str, Any] | None] = {}

    def outputs(self, digest: str) -> Mapping[str, Any] | None:
        """The outputs recorded under a key, if they are all still there."""
        if digest not in self._outputs:
            entry = self.engine.store.cache.lookup(digest) if self.reuse else None
            there = entry is not None and all(map(self.engine.artifacts.exists, entry.outputs.values()))
            self._outputs[digest] = entry.outputs if entry is not None and there else None
        return self._outputs[digest]


class SymbolicTracer:
    """Traces one body; see :class:`hpo_pipelines.context.Tracer`. A run inside is traced by the same one."""

    def __init__(self, recorded: Recorded, pipeline: Pipeline[..., Any], code: Code) -> None:
        self.calls: list[Called] = []
        self.ended: BaseException | None = None
        """What ended the tracing: a body that has caught it, as a bare ``except`` does, hears of it again."""
        self._recorded = recorded
        self._engine = recorded.engine
        self._code = code
        self._literals: ArtifactStore = Digesting(self._engine.artifacts.url)
        self._path = ""
        self._names: dict[str, int] = {}
        self._places: dict[str, int] = {}
        run = Task(new_id(), Kind.PIPELINE, pipeline.name, pipeline.project, pipeline=pipeline.name)
        options = RunOptions(first_party=frozenset(pipeline.first_party))
        self._scheduler = Scheduler(self._engine, run, code, options)
        """Asked for its options when keys are made; it starts nothing unless steps are added."""

    def trace(self, pipeline: Pipeline[..., Any], params: Mapping[str, Any]) -> Trace:
        """Follow the body with ``params``, bound, as far as it goes."""
        try:
            with console.teed(os.devnull, echo=False):
                self.follow(pipeline, params)
                self._check()
        except Unforeseen as end:
            return Trace(tuple(self.calls), f"{end.place}: {end}" if end.place else str(end))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a raising body is a finding, whatever it raised
            said = f"the body raises {type(error).__name__}: {error}"
            own = _is_raised_by_the_body(error)
            return Trace(tuple(self.calls), None if own else said, said if own else None)
        return Trace(tuple(self.calls))

    def follow(self, pipeline: Pipeline[..., Any], params: Mapping[str, Any]) -> Any:
        """Run the body; returns its value. Raises Unforeseen, and what the body raises."""
        token = context.tracer.set(self)
        try:
            bound = pipeline.parameters.bound(params)
            return self.body(pipeline)(*bound.args, **bound.kwargs)
        finally:
            context.tracer.reset(token)

    def body(self, pipeline: Pipeline[..., Any]) -> Callable[..., Any]:
        """What is run for the pipeline."""
        return pipeline.function

    # -- the tracer

    def call(self, component: Component[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note the call; returns what stands for its outputs, known or not."""
        self._check()
        arguments = bind(component, args, kwargs, self._code, self._literals)
        step = StepCall(new_id(), self._named(component.name), component, arguments)
        step.look_at = self.look
        uses = tuple(self._places[source.id] for source in arguments.sources)
        identity = self._identity(step)
        outputs = None if step.key is None or step.key.digest is None else self._recorded.outputs(step.key.digest)
        if outputs is not None and component.options.cache.enabled:
            step.outputs = outputs
        self._places[step.id] = len(self.calls)
        self.calls.append(Called(step.name, component, identity, bool(step.outputs) or outputs == {}, uses))
        return step.stand_in()

    def nested(self, pipeline: Pipeline[..., Any], params: Mapping[str, Any]) -> Any:
        """Trace the run inside this one, in its place."""
        self._check()
        values = pipeline.parameters.bind({name: result(value) for name, value in params.items()})
        return self.within(pipeline, values)

    def within(self, pipeline: Pipeline[..., Any], values: Mapping[str, Any]) -> Any:
        """:meth:`follow` the body of a run inside this one."""
        title = self._named(pipeline.name, "run:")
        outer = self._path, self._names, self._scheduler.options
        first_party = self._scheduler.options.first_party | frozenset(pipeline.first_party)
        self._scheduler.options = replace(self._scheduler.options, first_party=first_party)
        self._path, self._names = f"{title}/", {}
        try:
            return self.follow(pipeline, values)
        finally:
            self._path, self._names, self._scheduler.options = outer

    def retrigger(self, changes: Mapping[str, Any], *, max_attempts: int, reason: str) -> NoReturn:
        """The next attempt is another run, which is not followed."""
        self._check()
        self.end(Unforeseen.because("the body asks for another attempt of itself", None))
        raise AssertionError("unreachable: the end is raised")

    def chain(self, definition: Definition, params: Mapping[str, Any]) -> Any:
        """A chain has no body to follow: what reaches its steps is what they refer to."""
        self._check()
        self.end(Unforeseen.because("a chain is not followed; its definition says what each step refers to", None))

    def report(self, name: str, value: float, step: int | None) -> None:
        """Nothing is recorded."""

    def look(self, step: StepCall, name: str) -> Any:
        """The value of an output that is recorded. Raises Unforeseen for any other."""
        if name in step.looked:
            return step.looked[name]
        if name not in step.outputs:
            self.end(Unforeseen(step.name, name, None))
        return step.remember(name, self._engine.artifacts.get(step.outputs[name], code=self._code))

    def end(self, error: Unforeseen) -> None:
        """Follow the body no further, whatever it catches. Raises ``error``."""
        self.ended = error
        raise error

    def _check(self) -> None:
        if self.ended is not None:
            raise self.ended

    # -- identities

    def _named(self, name: str, kind: str = "") -> str:
        count = self._names[kind + name] = self._names.get(kind + name, 0) + 1
        return f"{self._path}{name}" if count == 1 else f"{self._path}{name}.{count}"

    def _identity(self, step: StepCall) -> str | None:
        """The step's key, which is noted with it, or what stands for it; None where it is computed each time."""
        if not step.component.options.cache.enabled or step.arguments.problems:
            return None
        if all(set(source.output_names()) <= set(source.outputs) for source in step.arguments.sources):
            step.key = self._engine.key(self._scheduler, step)
            return None if step.key.digest is None else str(step.key.digest)
        inputs = [self._input(item) for item in step.arguments.inputs]
        ignored = step.component.options.cache.ignore
        literals = {name: digest for name, digest in step.arguments.digests.items() if name not in ignored}
        component = f"{step.component.__module__}:{step.component.__qualname__}"
        whole = sorted(step.arguments.whole.items())
        mixed = self._mixed(step)
        return str(value_digest([component, literals, inputs, whole, mixed]))

    def _input(self, item: Any) -> str:
        if not isinstance(item, Source):
            return str(item.value_digest)
        known = item.step.outputs.get(item.name)
        if known is not None:
            return str(known.value_digest)
        place = self._places[item.step.id]
        # What is computed each time may give another value each time.
        return f"{self.calls[place].identity or item.step.id}.{item.name}"

    def _mixed(self, step: StepCall) -> list[str]:
        """The arguments that hold outputs among other things, with slots in their place."""
        if not step.arguments.mixed:
            return []
        args, kwargs = self._code.load(step.arguments.pickled)
        named = {**dict(zip(step.arguments.places, args, strict=True)), **kwargs}
        return [repr(_shown(named[name])) for name in step.arguments.mixed]


def _is_raised_by_the_body(error: BaseException) -> bool:
    """Whether a ``raise`` or an ``assert`` of the user's raised it, and no call refused what stands in for a value."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_code.co_filename.startswith(_OURS):
        return False
    return dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"


def _shown(value: Any) -> Any:
    """``value`` with texts in the place of its slots."""
    from hpo_pipelines.executors.base import Slot

    return substitute(value, lambda slot: f"<input {slot.index}>", leaf=Slot)
