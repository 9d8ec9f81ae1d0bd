"""Which parameters reach which step, by following values through the body: before anything has run.

The body runs with stand-ins that carry their origin (:mod:`.origins`), every way that it can go (:mod:`.paths`); no
step does. An argument that carries a parameter is reached by it, and so is a step that uses an output of a step that
is. What was decided by a value, or done after a plain value was handed out, may depend on it. Where the body may go
ways that were not followed, what was not seen is unknown: *no* is said only where no way leads there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpo_pipelines.component import Component
from hpo_pipelines.output import is_output, substitute
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.planning.matrix import MAYBE, NO, UNKNOWN, YES, Cell, Reach
from hpo_pipelines.planning.origins import Origins, Unseen, carrying, has_unseen, origins_of, unwrapped
from hpo_pipelines.planning.paths import MAY, Way, followed
from hpo_pipelines.planning.rewriting import rewritten
from hpo_pipelines.planning.symbolic import Recorded, SymbolicTracer, Trace
from hpo_pipelines.planning.tracer import Unforeseen

if TYPE_CHECKING:
    from hpo_pipelines.snapshot import Code

MOST_ASSIGNMENTS = 16
"""So many combinations of values are followed, of parameters whose plain values the body gets hold of."""

STRANGE = "the body does something else where this value carries its origin"


@dataclass(frozen=True)
class Subject:
    """What is followed: a pipeline with bound ``values``; ``domains`` has all values of parameters with few of them.

    ``varied`` are the parameters whose values are of several types.
    """

    recorded: Recorded
    pipeline: Pipeline[..., Any]
    code: Code
    values: Mapping[str, Any]
    domains: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    varied: Origins = frozenset()

    def bound(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """``values`` with ``given`` over them; a copy, since bodies may change them."""
        return self.pipeline.parameters.bind({**self.values, **given})


@dataclass
class _Step:
    """What is known of a step in one way."""

    direct: set[str] = field(default_factory=set)
    control: dict[str, str] = field(default_factory=dict)
    leaks: frozenset[str] = frozenset()

    @property
    def origins(self) -> Origins:
        """What its outputs carry."""
        return frozenset(self.direct) | {MAY + name for name in self.control if name not in self.direct}


def reaching(subject: Subject, params: Sequence[str]) -> Reach:
    """Which of ``params`` reach which steps."""
    stray = _stray(subject, params)
    tracked = [name for name in params if name not in stray]
    enumerated = [name for name in stray if name in subject.domains]
    while True:
        found = _Found(stray, tracked)
        for assignment in _assignments(subject, enumerated):
            found.take(subject, assignment)
        fresh = sorted(name for name in found.leaks - set(enumerated) if name in subject.domains)
        if not fresh or _count(subject, [*enumerated, *fresh]) > MOST_ASSIGNMENTS:
            return found.reach(frozenset(enumerated))
        enumerated += fresh


def traced(subject: Subject, values: Mapping[str, Any]) -> Trace:
    """The calls of the body with bound ``values``, as far as it does not depend on what only running tells.

    Passing on, storing and returning what is not known is no end; deciding by it is.
    """
    return _Tracer(subject, Way(natural=True)).trace(subject.pipeline, values)


def _stray(subject: Subject, params: Sequence[str]) -> dict[str, str]:
    """The parameters whose stand-ins change what the body does, which are passed as they are; and why."""
    expected = SymbolicTracer(subject.recorded, subject.pipeline, subject.code)
    there = expected.trace(subject.pipeline, subject.bound({}))
    if _is_followed(subject, params, there):
        return {}
    followed_so_far: list[str] = []
    for name in params:
        if _is_followed(subject, [*followed_so_far, name], there):
            followed_so_far.append(name)
    return {name: STRANGE for name in params if name not in followed_so_far}


def _is_followed(subject: Subject, params: Sequence[str], there: Trace) -> bool:
    """Whether the body makes the same calls with stand-ins as without, as far as both can be followed."""
    way = Way(varied=subject.varied, natural=True)
    tracer = _Tracer(subject, way)
    here = tracer.trace(subject.pipeline, _standing_in(subject, params, {}, way))
    pairs = zip(here.calls, there.calls, strict=False)
    if any((one.name, one.component) != (other.name, other.component) for one, other in pairs):
        return False
    known = [place for place in range(min(len(here.calls), len(there.calls))) if place not in tracer.unseen]
    if any(here.calls[place].identity != there.calls[place].identity for place in known):
        return False
    if here.stop is None and here.raised != there.raised:
        return False
    return len(here.calls) >= len(there.calls) and (there.stop is not None or here.stop is None)


def _standing_in(subject: Subject, params: Sequence[str], given: Mapping[str, Any], way: Way) -> dict[str, Any]:
    values = subject.bound(given)
    for name in params:
        if values.get(name) is None:
            way.control[name] = "it is None, which carries no origin"
            way.leaks.add(name)
    return {
        name: carrying(value, frozenset([name]), way) if name in params and value is not None else value
        for name, value in values.items()
    }


def _assignments(subject: Subject, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*(subject.domains[name] for name in names)):
        yield dict(zip(names, values, strict=True))


def _count(subject: Subject, names: Sequence[str]) -> int:
    return math.prod(len(subject.domains[name]) for name in names)


class _Found:
    """What all the ways together have shown."""

    def __init__(self, stray: Mapping[str, str], tracked: Sequence[str]) -> None:
        self.stray = stray
        self.tracked = tracked
        self.leaks: set[str] = set()
        self.stops: dict[str, None] = {}
        self.components: dict[str, str] = {}
        self._steps: list[tuple[str, _Step]] = []
        self._missed: list[frozenset[str]] = []
        """For each way that was not followed, or not to its end: the steps that were called before."""
        self._anew: set[str] = set()

    def take(self, subject: Subject, assignment: Mapping[str, Any]) -> None:
        """Follow the body every way it can go with these values."""

        def follow(way: Way) -> None:
            tracer = _Tracer(subject, way)
            trace = tracer.trace(subject.pipeline, _standing_in(subject, self.tracked, assignment, way))
            names = [call.name for call in trace.calls]
            self._steps += zip(names, tracer.steps, strict=True)
            self.components |= {call.name: call.component.name for call in trace.calls}
            self._anew |= {call.name for call in trace.calls if not call.component.options.cache.enabled}
            self.leaks |= way.leaks
            if trace.stop is not None:
                self._missed.append(frozenset(names))
                self.stops[trace.stop] = None

        _, untaken = followed(follow, subject.varied)
        self._missed += [each.called for each in untaken]
        if untaken:
            self.stops["the body can go more ways than were followed"] = None

    def reach(self, enumerated: Origins) -> Reach:
        """All of it as one record; ``enumerated`` are the parameters all of whose values were followed."""
        cells: dict[str, dict[str, Cell]] = {}
        for name in self.components:
            seen = [step for each, step in self._steps if each == name]
            leaks = frozenset[str]().union(*(step.leaks for step in seen)) - enumerated
            missed = any(name not in called for called in self._missed)
            blind = sorted(self.stray.keys() - enumerated)
            why = f"the body goes other ways with other {', '.join(sorted(leaks))}" if leaks else ""
            why = why or ("not all ways that the body can go were followed" if missed else "")
            why = why or (f"the body may go other ways with other {', '.join(blind)}" if blind else "")
            cells[name] = {param: _cell(param, seen, why) for param in self.tracked}
            cells[name] |= {param: Cell(UNKNOWN, reason) for param, reason in self.stray.items()}
        return Reach((*self.tracked, *self.stray), cells, tuple(self.stops), frozenset(self._anew))


def _cell(param: str, seen: Sequence[_Step], unknown: str) -> Cell:
    if any(param in step.direct for step in seen):
        return Cell(YES)
    for step in seen:
        if param in step.control:
            return Cell(MAYBE, step.control[param])
    return Cell(UNKNOWN, unknown) if unknown else Cell(NO)


class _Tracer(SymbolicTracer):
    """Notes for each call what its arguments carry."""

    def __init__(self, subject: Subject, way: Way) -> None:
        super().__init__(subject.recorded, subject.pipeline, subject.code)
        self.steps: list[_Step] = []
        self.unseen: set[int] = set()
        """The places of the calls that are not told apart: what only running tells is among their arguments."""
        self._way = way
        self._looked: dict[tuple[str, str], Any] = {}
        """The stand-ins of the outputs that the body has looked at."""

    def _check(self) -> None:
        if self._way.ended is not None:
            raise self._way.ended

    def end(self, error: Unforeseen) -> None:
        self._way.ended = error
        raise error

    def body(self, pipeline: Pipeline[..., Any]) -> Callable[..., Any]:
        return rewritten(pipeline.function)

    def call(self, component: Component[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._check()
        self._way.quiet = True
        try:
            return self._called(component, args, kwargs)
        finally:
            self._way.quiet = False

    def _called(self, component: Component[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        bound = component.signature.bind(*args, **kwargs).arguments
        ignored = component.options.cache.ignore
        counting = {name: value for name, value in bound.items() if name not in ignored}
        origins = origins_of(counting) | self._changed(counting)
        output = super().call(component, unwrapped(args), unwrapped(kwargs))
        place = len(self.calls) - 1
        step = _Step({name for name in origins if not name.startswith(MAY)})
        uncertain = {name.removeprefix(MAY) for name in origins if name.startswith(MAY)}
        step.control = {**self._way.control, **dict.fromkeys(uncertain - self._way.control.keys(), "by an output")}
        for used in self.calls[place].uses:
            step.direct |= self.steps[used].direct
            step.control = {**self.steps[used].control, **step.control}
            if used in self.unseen:
                self.unseen.add(place)
        step.leaks = frozenset(self._way.leaks).union(*(self.steps[used].leaks for used in self.calls[place].uses))
        if self._looked_in(counting) or has_unseen(counting):
            self.unseen.add(place)
        self.steps.append(step)
        self._way.called.append(self.calls[place].name)
        return output

    def nested(self, pipeline: Pipeline[..., Any], params: Mapping[str, Any]) -> Any:
        self._check()
        seen = {name: value.__wrapped__ if is_output(value) else value for name, value in params.items()}
        origins = {name: origins_of(value) for name, value in seen.items()}
        values = pipeline.parameters.bind(unwrapped(seen))
        return self.within(
            pipeline,
            {name: carrying(value, origins.get(name, frozenset()), self._way) for name, value in values.items()},
        )

    def look(self, step: Any, name: str) -> Any:
        """A stand-in for the output, with its value if that is recorded."""
        if (step.id, name) not in self._looked:
            origins = self.steps[self._places[step.id]].origins
            value: Any
            if name in step.outputs:
                stored = self._engine.artifacts.get(step.outputs[name], code=self._code)
                value = carrying(stored, origins, self._way)
            else:
                value = Unseen(origins, self._way)
            self._looked[step.id, name] = value
        return self._looked[step.id, name]

    def _looked_in(self, value: Any) -> list[Any]:
        """The stand-ins of looked-at outputs in ``value``, however deep."""
        found: list[Any] = []

        def note(output: Any) -> Any:
            found.append(self._looked.get((output._self_source.id, output._self_name)))
            return output

        substitute(value, note)
        return [each for each in found if each is not None]

    def _changed(self, value: Any) -> Origins:
        """What outputs carry that the body has looked at, and perhaps changed."""
        return frozenset[str]().union(*map(origins_of, self._looked_in(value)))
