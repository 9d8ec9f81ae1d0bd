"""What a chain is: its parameters, its steps, and what it returns, as data that is recorded."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, Literal

from hpo_pipelines.chain.condition import Condition
from hpo_pipelines.chain.references import Reference, looked_at, references
from hpo_pipelines.errors import DefinitionError
from hpo_pipelines.parameters.encoding import decode, encode

TYPES: Mapping[str, Any] = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "list": list,
    "dict": dict,
    "any": Any,
}
"""The types that a parameter of a chain may have, by the names under which they are recorded."""

STEP = "step"
RUN = "run"
"""The kinds of what a step of a chain repeats: one call of a component, or a whole run, which is then a run inside."""

REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class ChainParameter:
    """One parameter of a chain; without a default it has to be given. ``choices`` are all that it may be."""

    name: str
    type: str = "any"
    default: Any = REQUIRED
    choices: tuple[Any, ...] = ()
    description: str = ""

    @property
    def written(self) -> inspect.Parameter:
        """As it stands in the signature."""
        annotation = Literal[self.choices] if self.choices else TYPES[self.type]
        if self.default is None and annotation is not Any:
            annotation = annotation | None
        if self.description:
            annotation = Annotated[annotation, self.description]
        return inspect.Parameter(self.name, inspect.Parameter.KEYWORD_ONLY, default=self.default, annotation=annotation)

    def data(self) -> dict[str, Any]:
        """What is recorded."""
        found: dict[str, Any] = {"name": self.name, "type": self.type}
        if self.default is not REQUIRED:
            found["default"] = encode(self.default)
        if self.choices:
            found["choices"] = list(self.choices)
        return {**found, "description": self.description} if self.description else found


@dataclass(frozen=True)
class Recorded:
    """An output that another run has recorded: ``output`` of the task with the id ``task``; ``label`` names it."""

    task: str
    output: str
    label: str


@dataclass(frozen=True)
class ChainStep:
    """One step of a chain: a recorded task to be repeated with the code that it had.

    ``params`` and ``inputs`` are its arguments as plain JSON whose texts may hold references; an input may also be
    :class:`Recorded`. ``after`` names steps that have to be over before.
    """

    name: str
    kind: str
    task: str
    """What a person calls the task: ``prep-data#12/prep``."""
    id: str
    snapshot: str
    component: str = ""
    """``module:qualname`` of the component; of a whole run empty, or that of its pipeline if it ran inside another."""
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str | Recorded] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    when: str = ""

    @cached_property
    def condition(self) -> Condition | None:
        """``when``, parsed."""
        return Condition.of(self.when) if self.when else None

    @cached_property
    def references(self) -> tuple[Reference, ...]:
        """All that it refers to."""
        inside = [*references(dict(self.params)), *references([i for i in self.inputs.values() if isinstance(i, str)])]
        return tuple(dict.fromkeys([*inside, *(self.condition.references if self.condition else ())]))

    @cached_property
    def called_before(self) -> frozenset[str]:
        """The steps that have to be called before it is."""
        return frozenset(each.owner for each in self.references if each.owner != "pipeline")

    @cached_property
    def over_before(self) -> frozenset[str]:
        """The steps that have to be over before it is called."""
        looked = [*looked_at(dict(self.params)), *(self.condition.references if self.condition else ())]
        return frozenset({each.owner for each in looked if each.owner != "pipeline"} | set(self.after))

    def data(self) -> dict[str, Any]:
        """What is recorded."""
        found: dict[str, Any] = {"name": self.name, "kind": self.kind, "task": self.task, "id": self.id}
        found |= {"snapshot": self.snapshot} | ({"component": self.component} if self.component else {})
        found["params"] = dict(self.params)
        found["inputs"] = {
            name: given
            if isinstance(given, str)
            else {"task": given.task, "output": given.output, "label": given.label}
            for name, given in self.inputs.items()
        }
        if self.after:
            found["after"] = list(self.after)
        return {**found, "when": self.when} if self.when else found


@dataclass(frozen=True)
class Definition:
    """A whole chain. A step refers to steps before it only; ``returns`` are texts with references, by name."""

    name: str
    project: str
    parameters: tuple[ChainParameter, ...] = ()
    steps: tuple[ChainStep, ...] = ()
    returns: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[ChainStep]:
        return iter(self.steps)

    def step(self, name: str) -> ChainStep:
        """The step called ``name``. Raises DefinitionError listing those there are."""
        found = next((step for step in self.steps if step.name == name), None)
        if found is None:
            known = ", ".join(step.name for step in self.steps) or "none"
            raise DefinitionError(f"the chain {self.name} has no step {name!r} here; the steps before it: {known}.")
        return found

    def with_step(self, step: ChainStep) -> Definition:
        return replace(self, steps=(*self.steps, step))

    @property
    def signature(self) -> inspect.Signature:
        """That of the pipeline: the parameters, by name only."""
        return inspect.Signature([each.written for each in self.parameters])

    def data(self) -> dict[str, Any]:
        """What is recorded, as plain values."""
        return {
            "name": self.name,
            "project": self.project,
            "parameters": [parameter.data() for parameter in self.parameters],
            "steps": [step.data() for step in self.steps],
            "returns": dict(self.returns),
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Definition:
        """Undo :meth:`data`."""
        return cls(
            data["name"],
            data["project"],
            tuple(_parameter(each) for each in data["parameters"]),
            tuple(_step(each) for each in data["steps"]),
            data["returns"],
        )


def _parameter(data: Mapping[str, Any]) -> ChainParameter:
    default = {"default": decode(data["default"])} if "default" in data else {}
    return ChainParameter(**{**data, **default, "choices": tuple(data.get("choices", ()))})


def _step(data: Mapping[str, Any]) -> ChainStep:
    inputs = {name: given if isinstance(given, str) else Recorded(**given) for name, given in data["inputs"].items()}
    return ChainStep(**{**data, "inputs": inputs, "after": tuple(data.get("after", ()))})
