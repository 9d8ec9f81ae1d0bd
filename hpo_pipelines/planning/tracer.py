"""What a body runs against while it is planned: calls get a verdict instead of being started."""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from types import CodeType, FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from hpo_pipelines import context
from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.component import Component
from hpo_pipelines.engine.borrowing import Lent, code_of, first_party_of
from hpo_pipelines.engine.flights import lease_of
from hpo_pipelines.engine.options import RunOptions
from hpo_pipelines.engine.scheduler import Scheduler
from hpo_pipelines.engine.step import Arguments, StepCall, bind
from hpo_pipelines.errors import Retriggered
from hpo_pipelines.fingerprint import code_fingerprint
from hpo_pipelines.output import result
from hpo_pipelines.owner import is_gone
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.planning.chained import PlannedChain
from hpo_pipelines.planning.comparison import Comparison
from hpo_pipelines.planning.durations import Durations
from hpo_pipelines.planning.record import REUSE, RUN, UNKNOWN, PlannedStep
from hpo_pipelines.retriggering import signal
from hpo_pipelines.types import new_id

if TYPE_CHECKING:
    from hpo_pipelines.chain import Definition
    from hpo_pipelines.engine import Engine
    from hpo_pipelines.snapshot import Code
    from hpo_pipelines.task import Task


NEW = "never seen before"
"""The engine's reason for what has no recorded outcome."""

MARK = re.compile(r"@[0-9a-f]{8}$")
"""Stands behind the names of a snapshot's files, to tell them from those there are now."""


class Unforeseen(BaseException):
    """The body looks at what nobody knows yet: planning ends. Not an Exception, which the body might catch."""

    def __init__(self, step: str, output: str, place: str | None) -> None:
        super().__init__(f"the body looks at the {output} of {step}, which is not known before {step} has run")
        self.place = place

    @classmethod
    def because(cls, reason: str, place: str | None) -> Unforeseen:
        """With a reason of its own."""
        made = cls("", "", place)
        made.args = (reason,)
        return made


@dataclass(frozen=True)
class Verdict:
    """What is to become of a step; ``origin`` is the recorded step, or ``twin`` the planned one, that it reuses."""

    verdict: str
    reason: str
    origin: str | None = None
    twin: StepCall | None = None


@dataclass
class Planned:
    """What the bodies of one plan have in common."""

    engine: Engine
    durations: Durations
    comparison: Comparison
    steps: list[PlannedStep] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    """Where in ``steps`` a call is, by its id."""
    running: dict[str, StepCall] = field(default_factory=dict)
    """The planned steps that will compute a key."""
    anew: set[str] = field(default_factory=set)
    """The keys that planned steps will compute although they need not, which nobody waits for."""
    unforeseen: dict[Component[..., Any], str] = field(default_factory=dict)
    """Components with a planned step whose key is not known, and the step's name."""
    renewed: set[Component[..., Any]] = field(default_factory=set)
    """Components with a planned step that will compute a key anew, it is not known which."""
    bodies: list[CodeType] = field(default_factory=list)
    """The code of every body that was followed."""
    ended: Unforeseen | None = None


class Digesting(ArtifactStore):
    """Says what stands for a value without storing it."""

    def _keep(self, sealed: object) -> None:
        return None


class PlanTracer:
    """Plans one body; see :class:`hpo_pipelines.context.Tracer`. A run inside gets a tracer of its own."""

    def __init__(self, planned: Planned, run: Task, code: Code, options: RunOptions, *, path: str = "") -> None:
        self._planned = planned
        self._run = run
        self._code = code
        self._options = options
        self._path = path
        self._literals = Digesting(planned.engine.artifacts.url)
        # Asked for its run and its options when keys are made; it starts nothing unless steps are added.
        self._scheduler = Scheduler(planned.engine, run, code, options)
        self._pipeline: Pipeline[..., Any]
        self._names: dict[str, int] = {}
        self._inner: dict[str, int] = {}
        self._verdicts: dict[str, Verdict] = {}

    def follow(self, pipeline: Pipeline[..., Any], params: Mapping[str, Any]) -> Any:
        """Run the body; returns its value. Raises Unforeseen, and what the body raises."""
        token = context.tracer.set(self)
        self._pipeline = pipeline
        self._planned.bodies.append(_code_of(pipeline))
        try:
            bound = pipeline.parameters.bound(params)
            value = pipeline.function(*bound.args, **bound.kwargs)
        except Retriggered as wanted:
            if wanted.call is not self:
                raise
            return self._again(wanted, pipeline, params)
        finally:
            context.tracer.reset(token)
        self._check()
        return value

    def _again(self, wanted: Retriggered, pipeline: Pipeline[..., Any], params: Mapping[str, Any]) -> Any:
        # Created in the future: nothing that is recorded is of the run that is planned.
        run = replace(self._run, id=new_id(), attempt=self._run.attempt + 1, created_at=math.inf)
        whole = self._path.removesuffix(_attempt(self._run.attempt))
        tracer = PlanTracer(self._planned, run, self._code, self._options, path=f"{whole}{_attempt(run.attempt)}")
        return tracer.follow(pipeline, {**params, **wanted.params})

    # -- the tracer

    def call(self, component: Component[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Give the call a verdict; returns what stands for its outputs, known or not."""
        return self.step(component, args, kwargs).stand_in()

    def step(self, component: Component[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> StepCall:
        """The planned step of a call, with its verdict."""
        self._check()
        arguments = bind(component, args, kwargs, code_of(component, self._code), self._literals)
        count = self._names[component.name] = self._names.get(component.name, 0) + 1
        name = component.name if count == 1 else f"{component.name}.{count}"
        step = StepCall(new_id(), name, component, arguments)
        step.look_at = self.look
        found = self._verdicts[step.id] = self._judged(step)
        step.reason = found.reason
        if found.verdict == RUN or found.origin is not None:
            self._planned.comparison.add(self._run, step, runs=found.verdict == RUN)
        if found.reason == NEW and found.verdict == RUN:
            found = self._compared(step, found)
        self._verdicts[step.id] = found
        self._note(step, found)
        return step

    def nested(self, pipeline: Pipeline[..., Any], params: Mapping[str, Any]) -> Any:
        """Plan the run inside this one, in its place."""
        self._check()
        values = pipeline.parameters.bind({name: result(value) for name, value in params.items()})
        count = self._inner[pipeline.name] = self._inner.get(pipeline.name, 0) + 1
        title = pipeline.name if count == 1 else f"{pipeline.name}.{count}"
        return self.inside(Lent(pipeline, self._code, ""), values, title)

    def inside(self, lent: Lent, values: Mapping[str, Any], title: str) -> Any:
        """Plan a run of ``lent`` inside this one, where it is called ``title``."""
        pipeline = lent.pipeline
        first_party = self._options.first_party | frozenset(pipeline.first_party)
        options = replace(self._options, prior={}, first_party=first_party)
        run = replace(self._run, id=new_id(), name=pipeline.name, pipeline=pipeline.name, project=pipeline.project)
        inner = PlanTracer(self._planned, run, lent.code, options, path=f"{self._path}{title}/")
        return inner.follow(pipeline, values)

    def retrigger(self, changes: Mapping[str, Any], *, max_attempts: int, reason: str) -> NoReturn:
        """The next attempt is planned behind this one."""
        self._check()
        parameters, attempt = self._pipeline.parameters, self._run.attempt
        raise signal(self, parameters, changes, attempt=attempt, max_attempts=max_attempts, reason=reason)

    def chain(self, definition: Definition, params: Mapping[str, Any]) -> Any:
        """Plan the steps of a chain, in their order."""
        return PlannedChain(self, self._planned.engine, definition, params).follow()

    def unknown(self, component: Component[..., Any], why: str) -> StepCall:
        """A planned step of which it is not known what it computes, or whether it runs."""
        step = StepCall(new_id(), component.name, component, Arguments())
        self._planned.unforeseen.setdefault(component, f"{self._path}{step.name}")
        self._verdicts[step.id] = found = Verdict(UNKNOWN, why)
        self._note(step, found)
        return step

    def origin(self, step: StepCall) -> str | None:
        """The recorded step whose outcome a planned one reuses, if there is one."""
        return self._verdicts[step.id].origin

    def report(self, name: str, value: float, step: int | None) -> None:
        """A plan records nothing."""

    def look(self, step: StepCall, name: str) -> Any:
        """The value of an output of a step that will be reused. Raises Unforeseen for any other."""
        self._check()
        if name in step.looked:
            return step.looked[name]
        if name not in step.outputs:
            place = _innermost(sys._getframe(1), self._planned.bodies)
            self._planned.ended = Unforeseen(f"{self._path}{step.name}", name, place)
            raise self._planned.ended
        return step.remember(
            name, self._planned.engine.artifacts.get(step.outputs[name], code=code_of(step.component, self._code))
        )

    def _check(self) -> None:
        """A body that has caught the end, as a bare ``except`` does, hears of it again."""
        if self._planned.ended is not None:
            raise self._planned.ended

    # -- verdicts

    def _judged(self, step: StepCall) -> Verdict:
        unknown = [source for source in step.arguments.sources if not self._is_known(source)]
        if unknown:
            self._planned.unforeseen.setdefault(step.component, f"{self._path}{step.name}")
            certain = self._runs_anyway(step)
            if certain == "refresh":
                self._planned.renewed.add(step.component)
            names = ", ".join(self._name(source) for source in unknown)
            return Verdict(RUN, certain) if certain else Verdict(UNKNOWN, f"depends on {names}")
        engine = self._planned.engine
        step.key = engine.key(self._scheduler, step)
        missing = self._missing(step)
        if missing is not None:
            return self._running(step, missing)
        entry, reason = engine.reusable(self._scheduler, step)
        if entry is None:
            return self._running(step, reason)
        if step.key.digest in self._planned.anew or step.component in self._planned.renewed:
            return Verdict(REUSE, f"{reason}, or computed anew by then")
        step.outputs = entry.outputs
        return Verdict(REUSE, reason, origin=entry.task)

    def _compared(self, step: StepCall, found: Verdict) -> Verdict:
        """The verdict in the words that will be there for it when the step has run."""
        known = self._planned.comparison.of(step)
        return found if known is None else replace(found, reason=known.reason)

    def _name(self, step: StepCall) -> str:
        return self._planned.steps[self._planned.places[step.id]].name

    def _is_known(self, source: StepCall) -> bool:
        return set(source.output_names()) <= set(source.outputs)

    def _missing(self, step: StepCall) -> str | None:
        """Whether an artifact is gone: asked before the engine, which would forget the outcome then."""
        entry = self._planned.engine.store.cache.lookup(step.key.digest) if step.key.digest is not None else None
        if entry is None:
            return None
        gone = (name for name, ref in entry.outputs.items() if not self._planned.engine.artifacts.exists(ref))
        return next((f"missing artifact: {name}" for name in gone), None)

    def _running(self, step: StepCall, reason: str) -> Verdict:
        """The step will run, unless one before it in this plan computes the same."""
        digest, planned = step.key.digest, self._planned
        if digest is None or not step.component.options.cache.enabled:
            return Verdict(RUN, reason)
        if reason == "refresh":
            planned.anew.add(digest)
            return Verdict(RUN, reason)
        if digest in planned.running:
            twin = planned.running[digest]
            return Verdict(REUSE, f"computed by {self._name(twin)}", twin=twin)
        # Equal values have equal keys, however they came about: what is not known yet may turn out to be the same work.
        other = planned.unforeseen.get(step.component)
        if other is not None or digest in planned.anew:
            return Verdict(UNKNOWN, f"may be what {other or 'a refreshed step'} computes")
        holder = planned.engine.store.leases.holder(lease_of(digest))
        if holder is not None and not is_gone(holder.owner):
            return Verdict(REUSE, f"computing in {holder.note}")
        planned.running[digest] = step
        return Verdict(RUN, reason)

    def _runs_anyway(self, step: StepCall) -> str | None:
        """Why a step will run whatever its inputs turn out to be, if there is a reason: the engine's, in its order."""
        refresh = self._options.refresh
        first_party = first_party_of(step.component, self._options.first_party)
        code = code_fingerprint(step.component.function, first_party=first_party)
        problems = [*code.problems, *step.arguments.problems]
        if problems:
            return f"not reusable: {problems[0]}"
        if not step.component.options.cache.enabled:
            return "reuse is off for this component"
        after = bool(refresh.from_steps) and any(source.reason == "refresh" for source in step.arguments.sources)
        return "refresh" if after or refresh.names(step.name, step.component.name) else None

    def _note(self, step: StepCall, found: Verdict) -> None:
        planned = self._planned
        sources = [*step.arguments.sources, *([found.twin] if found.twin is not None else [])]
        planned.places[step.id] = len(planned.steps)
        planned.steps.append(
            PlannedStep(
                name=f"{self._path}{step.name}",
                component=step.component.name,
                verdict=found.verdict,
                reason=found.reason,
                seconds=planned.durations.of(step.component),
                key=step.key.digest if step.key is not None else None,
                origin=found.origin,
                uses=tuple(planned.places[source.id] for source in sources),
            )
        )


def _attempt(number: int) -> str:
    """What stands before the names of the steps of an attempt behind the first."""
    return "" if number == 1 else f"attempt {number}/"


# -- places


def place_in(trace: TracebackType | None, bodies: list[CodeType]) -> str | None:
    """The innermost line of the ``bodies`` in a traceback: ``file:line``."""
    found = None
    while trace is not None:
        if trace.tb_frame.f_code in bodies:
            found = _place(trace.tb_frame.f_code, trace.tb_lineno)
        trace = trace.tb_next
    return found


def _innermost(frame: FrameType | None, bodies: list[CodeType]) -> str | None:
    while frame is not None:
        if frame.f_code in bodies:
            return _place(frame.f_code, frame.f_lineno)
        frame = frame.f_back
    return None


def _place(code: CodeType, line: int) -> str:
    return f"{MARK.sub('', PurePath(code.co_filename).name)}:{line}"


def _code_of(pipeline: Pipeline[..., Any]) -> CodeType:
    code: CodeType = inspect.unwrap(pipeline.function).__code__
    return code
