"""What a run of a chain would do: its steps in their order, as far as is known what they refer to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpo_pipelines.chain import PIPELINE, RUN, ChainStep, Definition, Recorded, Reference, filled, references
from hpo_pipelines.engine.chaining import among, decoded, kept, parameters_of
from hpo_pipelines.output import Output, result

if TYPE_CHECKING:
    from hpo_pipelines.engine import Engine
    from hpo_pipelines.engine.step import StepCall
    from hpo_pipelines.parameters import Parameters
    from hpo_pipelines.planning.tracer import PlanTracer


@dataclass
class _Seen:
    step: ChainStep
    arguments: Mapping[str, Any] = field(default_factory=dict)
    call: StepCall | None = None
    value: Any = None
    is_skipped: bool = False
    is_unknown: bool = False


class PlannedChain:
    """The plan of one chain with its parameters, made with ``tracer``."""

    def __init__(self, tracer: PlanTracer, engine: Engine, definition: Definition, params: Mapping[str, Any]) -> None:
        self._tracer = tracer
        self._engine = engine
        self._definition = definition
        self._params = params
        self._seen: dict[str, _Seen] = {}

    def follow(self) -> Any:
        """Plan every step; returns None, since what a chain returns looks at nothing."""
        for step in self._definition:
            seen = self._seen[step.name] = _Seen(step)
            used = [ref for ref in step.references if ref.kind != "status" and ref.owner != PIPELINE]
            if any(self._seen[ref.owner].is_skipped for ref in used):
                seen.is_skipped = True
            elif missing := self._missing(step):
                self._unknown(seen, f"depends on {', '.join(missing)}")
            elif step.condition is not None and not step.condition.holds(lambda ref: result(self._named(ref))):
                seen.is_skipped = True
            else:
                self._call(seen)

    def _missing(self, step: ChainStep) -> list[str]:
        """What has to be over before the step can be called, and will not be reused."""
        looked = step.over_before - set(step.after)
        owners = {ref.owner for ref in step.references if ref.owner != PIPELINE}
        needed = owners if step.kind == RUN else looked
        unknown = [name for name in sorted(needed) if not self._is_known(name)]
        unknown += [
            name for name in sorted(owners - needed) if self._seen[name].is_unknown and self._seen[name].call is None
        ]
        own = {
            ref.kind
            for ref in step.references
            if ref.owner == PIPELINE and ref.kind in ("id", "number", "label", "url")
        }
        own |= {ref.kind for ref in step.references if ref.owner != PIPELINE and ref.kind in ("id", "url")}
        return unknown + (["the run itself"] if own else [])

    def _is_known(self, name: str) -> bool:
        seen = self._seen[name]
        if seen.is_skipped:
            return True
        return not seen.is_unknown and (seen.call is None or self._tracer.origin(seen.call) is not None)

    def _unknown(self, seen: _Seen, why: str) -> None:
        seen.is_unknown = True
        if seen.step.kind != RUN:
            seen.call = self._tracer.unknown(self._engine.borrowing.component(seen.step), why)

    def _call(self, seen: _Seen) -> None:
        step, borrowing = seen.step, self._engine.borrowing
        if step.kind == RUN:
            lent = borrowing.run(step)
            given = self._arguments(step, lent.pipeline.parameters)
            seen.arguments = {name: result(value) for name, value in given.items()}
            seen.value = self._tracer.inside(lent, lent.pipeline.parameters.bind(seen.arguments), step.name)
            seen.is_unknown = True  # of its outputs, and metrics, the plan of a run inside says nothing
            return
        component = borrowing.component(step)
        seen.arguments = self._arguments(step, parameters_of(component))
        seen.call = self._tracer.step(component, (), dict(seen.arguments))

    def _arguments(self, step: ChainStep, parameters: Parameters | None) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, plain in step.params.items():
            value = self._filled(plain)
            found[name] = value if _refers(references(plain)) else decoded(parameters, name, value)
        for name, given in step.inputs.items():
            found[name] = kept(self._engine, given) if isinstance(given, Recorded) else self._filled(given)
        return found

    def _filled(self, plain: Any) -> Any:
        return filled(plain, self._named, lambda ref: str(result(self._named(ref))))

    def _named(self, ref: Reference) -> Any:
        if ref.owner == PIPELINE:
            own = {"name": self._definition.name, "project": self._definition.project}
            return self._params[ref.name] if ref.kind == "params" else own[ref.kind]
        seen = self._seen[ref.owner]
        if ref.kind == "params":
            return among(seen.arguments, ref)
        if ref.kind in ("name", "status"):
            return seen.step.name if ref.kind == "name" else "skipped" if seen.is_skipped else "completed"
        if ref.kind == "metrics":
            return among(self._metrics(seen), ref)
        assert seen.call is not None, "what a run inside gives is not known"
        return Output(seen.call, ref.name)

    def _metrics(self, seen: _Seen) -> Mapping[str, float]:
        origin = self._tracer.origin(seen.call) if seen.call is not None else None
        return {} if origin is None else {metric.name: metric.value for metric in self._engine.metrics_of(origin)}


def _refers(found: Iterable[Reference]) -> bool:
    return next(iter(found), None) is not None
