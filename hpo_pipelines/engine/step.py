"""One call of a component while its run is alive: its arguments with their sources, and what became of it."""

from __future__ import annotations

import inspect
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.callbacks import Skip
from hpo_pipelines.canonical import value_digest
from hpo_pipelines.component import Component
from hpo_pipelines.engine.journal import Recorded
from hpo_pipelines.engine.keys import Stored, argument_digest
from hpo_pipelines.executors.base import Slot
from hpo_pipelines.failure import Failure
from hpo_pipelines.output import Output, is_output, substitute
from hpo_pipelines.snapshot import Code
from hpo_pipelines.task import Attempt, Edge
from hpo_pipelines.types import ArtifactRef, Status

BIG_LITERAL_BYTES = 64 * 1024
"""A literal argument from this size on travels as an artifact."""

_SCALARS = frozenset({int, float, str, bool, bytes, type(None), complex})


@dataclass(frozen=True)
class Source:
    """Where an input comes from: the output ``name`` of ``step``."""

    step: StepCall
    name: str


@dataclass(frozen=True)
class Kept:
    """Stands for an argument that is an output which another run recorded; ``label`` names it, for people."""

    ref: ArtifactRef
    label: str


@dataclass(frozen=True)
class Place:
    """Where in its run a call stands that is not made in the order of a body: its position, and what it comes after."""

    position: int
    after: tuple[StepCall, ...] = ()


@dataclass
class Arguments:
    """A call's arguments as they were when it was made: pickled, with a slot for every input.

    ``inputs`` fill the slots: outputs of other steps, or stored literals. ``digests`` has the identity of every
    argument that is known already; ``whole`` the arguments that are just one input; ``mixed`` those that hold some.
    """

    pickled: bytes = b""
    inputs: list[Source | ArtifactRef] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    whole: dict[str, int] = field(default_factory=dict)
    mixed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    shown: dict[str, Any] = field(default_factory=dict)
    places: tuple[str, ...] = ()
    """The names of the positional arguments, in order."""
    told: Mapping[str, Any] | None = None
    """The arguments by name, where a callback is to be told of the step's end."""
    skipped: Skip | None = None
    """Why there is to be no such step, if a callback said so."""

    @property
    def sources(self) -> list[StepCall]:
        return list(dict.fromkeys(item.step for item in self.inputs if isinstance(item, Source)))

    def edges(self, target: str) -> list[Edge]:
        named: dict[int, str] = {index: name for name, index in self.whole.items()}
        return [
            Edge(item.step.id, target, "data", item.name, named.get(index, ""))
            for index, item in enumerate(self.inputs)
            if isinstance(item, Source)
        ]

    def refs(self) -> tuple[ArtifactRef, ...]:
        """The stored inputs, once every source has its outputs."""
        return tuple(item.step.outputs[item.name] if isinstance(item, Source) else item for item in self.inputs)

    def identities(self, code: Code) -> tuple[dict[str, str], list[str]]:
        """The digest of every argument, once every source has its outputs, and what has none."""
        refs, problems = self.refs(), list(self.problems)
        digests = dict(self.digests)
        for name, index in self.whole.items():
            digests[name] = refs[index].value_digest
        if self.mixed:
            args, kwargs = code.load(self.pickled)
            for name, value in (*zip(self.places, args, strict=True), *kwargs.items()):
                if name in self.mixed:
                    known = substitute(value, lambda slot: _identified(refs[slot.index]), leaf=Slot)
                    digests[name], problem = argument_digest(name, known)
                    problems += [problem] if problem else []
        return digests, problems


def _identified(ref: ArtifactRef) -> Any:
    """What identifies a stored input inside an argument: its value if it is at hand and plain, as if it stood there."""
    if ref.format == "json" and ref.inline is not None:
        value = json.loads(ref.inline)
        if value_digest(value) == ref.value_digest:
            return value
    return Stored(ref.value_digest)


def bind(
    component: Component[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], code: Code, store: ArtifactStore
) -> Arguments:
    """Bind a call to the component's signature and take its arguments down.

    Raises TypeError like any Python call that does not fit. Waits for nothing.
    """
    bound = component.signature.bind(*args, **kwargs)
    bound.apply_defaults()
    arguments = Arguments(places=_places(component.signature, len(bound.args)))
    positional = tuple(
        _take(arguments, name, value, store) for name, value in zip(arguments.places, bound.args, strict=True)
    )
    keywords = {name: _take(arguments, name, value, store) for name, value in bound.kwargs.items()}
    arguments.pickled = code.dumps((positional, keywords))
    return arguments


def _places(signature: inspect.Signature, count: int) -> tuple[str, ...]:
    """Names for ``count`` positional arguments: those of the parameters, then ``rest[0]``, ``rest[1]``…"""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [parameter.name for parameter in signature.parameters.values() if parameter.kind in kinds]
    rest = next((p.name for p in signature.parameters.values() if p.kind is p.VAR_POSITIONAL), "")
    return (*named, *(f"{rest}[{index}]" for index in range(count - len(named))))[:count]


def _take(arguments: Arguments, name: str, value: Any, store: ArtifactStore) -> Any:
    """Note one argument down; returns what is pickled for it."""

    def slot(item: Source | ArtifactRef) -> Slot:
        arguments.inputs.append(item)
        return Slot(len(arguments.inputs) - 1)

    if is_output(value):
        source = source_of(value)
        if isinstance(source, Source):
            made = slot(source)
            arguments.whole[name] = made.index
            arguments.shown[name] = {"$from": f"{source.step.name}.{source.name}"}
            return made
        value = source
    if isinstance(value, Kept):
        made = slot(value.ref)
        arguments.whole[name] = made.index
        arguments.shown[name] = {"$from": value.label}
        return made
    kept = len(arguments.inputs)
    replaced = value if type(value) in _SCALARS else substitute(value, lambda output: _slot_or_value(output, slot))
    if len(arguments.inputs) > kept:
        arguments.mixed.append(name)
        arguments.shown[name] = {"$from": [_shown_input(item) for item in arguments.inputs[kept:]]}
        return replaced
    arguments.shown[name] = shown(value)
    if _size(value) >= BIG_LITERAL_BYTES:
        ref = store.put(value, name=name)
        made = slot(ref)
        arguments.whole[name] = made.index
        return made
    digest, problem = argument_digest(name, value)
    arguments.digests[name] = digest
    arguments.problems += [problem] if problem else []
    return value


def _shown_input(item: Source | ArtifactRef) -> str:
    return f"{item.step.name}.{item.name}" if isinstance(item, Source) else "literal"


def _slot_or_value(output: Any, slot: Callable[[Source | ArtifactRef], Slot]) -> Any:
    source = source_of(output)
    return slot(source) if isinstance(source, Source) else source


def source_of(output: Any) -> Any:
    """The source of an output; or its value, where the body has looked at it and changed it since."""
    step: StepCall = output._self_source
    name: str = output._self_name
    return step.changed_value(name) if step.is_changed(name) else Source(step, name)


def shown(value: Any) -> Any:
    """``value`` as it is shown to people: JSON scalars as they are, anything else as short text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value if not isinstance(value, str) or len(value) <= 200 else value[:200] + "…"
    try:
        # The order of a set's repr is another in each process.
        text = f"{{{', '.join(sorted(map(repr, value)))}}}" if isinstance(value, set | frozenset) else repr(value)
    except Exception as error:  # noqa: BLE001 - a user's __repr__ may do anything; the step must still start
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= 200 else text[:200] + "…"


def _size(value: Any) -> int:
    if isinstance(value, bytes | bytearray):
        return len(value)
    size = getattr(value, "nbytes", 0)
    if isinstance(size, int):
        return size
    # A DataFrame has no nbytes of its own.
    usage = getattr(value, "memory_usage", None)
    return int(usage(index=True).sum()) if callable(usage) and hasattr(value, "columns") else 0


class StepCall:
    """One call of a component inside a run. The controller changes it, under its lock; bodies wait on ``done``."""

    def __init__(self, id: str, name: str, component: Component[..., Any], arguments: Arguments) -> None:
        self.id = id
        self.name = name
        self.component = component
        self.arguments = arguments
        self.position = 0
        self.after: tuple[StepCall, ...] = ()
        """The steps that the body had looked at when it made the call."""
        self.pending = 0
        self.dependents: list[StepCall] = []
        self.launch: Callable[[], None] = lambda: None
        """Given by the scheduler whose step it is: reuse, wait or run, when what it uses is there."""
        self.outputs: Mapping[str, ArtifactRef] = {}
        self.failure: Failure | None = None
        self.error: BaseException | None = None
        """The exception itself, where it never left this process, or an error of ours (lost, timed out)."""
        self.cause: StepCall | None = None
        """The failed step because of which this one was skipped."""
        self.seen = False
        """Whether the body has been told of the failure."""
        self.done = threading.Event()
        self.stage = "new"
        """``new``, ``waiting``, ``running``, ``over``."""
        self.recorded = False
        """Whether the recorder knows of it."""
        self.attempt = 0
        self.recalled: Recorded | None = None
        """What the journal of a resumed run has of this call."""
        self.earlier = 0
        """Attempts made before the run was resumed."""
        self.losses = 0
        self.submitted_at = 0.0
        """When its current attempt was handed to an executor."""
        self.begun = 0.0
        self.running: Attempt | None = None
        self.seconds: float | None = None
        """How long the component took, once it has."""
        self.reused = False
        self.kept = False
        """Whether its outcome is that of the run that this one repeats, recorded for others or not."""
        self.key: Any = None
        self.reason = ""
        self.lease = ""
        """The lease on computing its key, while it is ours."""
        self.supersedes: str | None = None
        """The step whose recorded outcome is not used, and gives way to this one's."""
        self.counts: dict[str, int] = {}
        self.metrics: dict[str, float] = {}
        """The last value of each metric it reported."""
        self.outdated = False
        """Whether what is recorded of its reports is of an attempt that does not count, now that there is another."""
        self.look_at: Any = None
        self._values: dict[str, Any] = {}
        self._digests: dict[str, str] = {}

    def lose(self) -> None:
        """Its current attempt was lost, perhaps before anybody heard that it was begun."""
        self.losses += 1
        if self.running is None:
            self.running = Attempt(self.id, self.attempt, Status.RUNNING, time.time())

    def look(self, name: str) -> Any:
        """See :class:`hpo_pipelines.output.Source`."""
        return self.look_at(self, name)

    def remember(self, name: str, value: Any) -> Any:
        """Keep the looked-at value, so that every look gives one object, as a plain variable would."""
        return self._values.setdefault(name, value)

    @property
    def looked(self) -> Mapping[str, Any]:
        return self._values

    def is_changed(self, name: str) -> bool:
        """Whether the body has changed the value it looked at, so that it no longer is the stored output."""
        value = self._values.get(name)
        if name not in self._values or type(value) in _SCALARS:
            return False
        digest, problem = argument_digest(name, value)
        return problem is None and digest != self.outputs[name].value_digest

    def changed_value(self, name: str) -> Any:
        return self._values[name]

    def output_names(self) -> tuple[str, ...]:
        return self.component.form.names

    def stand_in(self) -> Any:
        """What the call gives back to the body."""
        return self.component.form.join({name: Output(self, name) for name in self.output_names()})
