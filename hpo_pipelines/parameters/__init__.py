"""Typed parameters of a pipeline, from its signature: annotation and default.

Known annotations: ``bool``, ``int``, ``float``, ``str``, ``None``, ``Optional``/``Union``, ``Literal``, ``Enum``,
``list``/``tuple``/``set``/``frozenset``/``Sequence``, ``dict``/``Mapping``, dataclasses (nested), ``date``,
``datetime``, ``time``, ``Path``, ``NewType`` and ``Annotated`` (whose first text describes the parameter). Without an
annotation the type of the default counts; without both, any value that JSON can carry. Any other annotation admits
what JSON can carry and its own instances; the latter cannot be recorded, which :meth:`Parameters.encode` says. An
annotation whose names are not importable (under ``TYPE_CHECKING``, say) counts as none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hpo_pipelines.errors import ParameterError
from hpo_pipelines.parameters import encoding
from hpo_pipelines.parameters.annotations import (
    UNKNOWN,
    annotations_of,
    description_of,
    shape_of,
    with_default,
)
from hpo_pipelines.parameters.containers import Items
from hpo_pipelines.parameters.encoding import Mismatch
from hpo_pipelines.parameters.shapes import Anything, Shape, closest

__all__ = ["MISSING", "Parameter", "Parameters"]

MISSING: Final = UNKNOWN
"""The default of a parameter that has none, and the annotation of one that has none."""


@dataclass(frozen=True)
class Parameter:
    """One parameter: ``kind`` is that of ``inspect.Parameter``, ``description`` the text of ``Annotated``."""

    name: str
    annotation: Any
    default: Any
    kind: Any
    description: str = ""
    shape: Shape = field(default_factory=Anything, repr=False, compare=False)

    @property
    def required(self) -> bool:
        return self.default is MISSING and self.kind not in (
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        )

    def describe(self) -> dict[str, Any]:
        """Plain JSON: name, type, required, description, the encoded default if any, and choices, items or fields."""
        described = {"name": self.name, "required": self.required, "description": self.description}
        if self.default is not MISSING:
            described["default"] = encoding.encode(self.shape.accept(self.default))
        return {**described, **self.shape.describe()}


class Parameters(Mapping[str, Parameter]):
    """The parameters of one function, in the order of its signature. Made by :meth:`of`."""

    def __init__(
        self,
        owner: str,
        signature: inspect.Signature,
        parameters: Mapping[str, Parameter],
        extra: Parameter | None = None,
    ) -> None:
        self.owner = owner
        self.signature = signature
        self._parameters = dict(parameters)
        self.extra = extra
        """The ``**kwargs`` parameter, if there is one: then any further name is admitted."""

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Parameters:
        """The parameters of ``function``.

        Raises DefinitionError for an annotation that no value can have, and for a default that is not of its
        parameter's type or cannot be recorded.
        """
        found, extra = {}, None
        annotations = annotations_of(function)
        signature = inspect.signature(function)
        for name, written in signature.parameters.items():
            annotation = annotations[name]
            shape = with_default(shape_of(annotation, written.default), name, written.default)
            if written.kind is inspect.Parameter.VAR_POSITIONAL:
                shape = Items(tuple, shape)
            parameter = Parameter(name, annotation, written.default, written.kind, description_of(annotation), shape)
            if written.kind is inspect.Parameter.VAR_KEYWORD:
                extra = parameter
            else:
                found[name] = parameter
        return cls(getattr(function, "__name__", str(function)), signature, found, extra)

    def __getitem__(self, name: str) -> Parameter:
        return self._parameters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def __repr__(self) -> str:
        return f"<parameters of {self.owner}: {', '.join(self) or 'none'}>"

    def bind(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Typed values for every parameter, defaults filled in, in the order of the signature; extra names last.

        An ``int`` becomes a ``float`` where one is asked for, text an Enum member, a date or a Path, a mapping a
        dataclass; numpy scalars become Python's. Containers are copied. Raises ParameterError for an unknown name, a
        missing one and a wrong type.
        """
        missing = [name for name, parameter in self.items() if parameter.required and name not in values]
        for name in values:
            self._named(name)
        if missing:
            raise ParameterError(f"{self.owner} needs a value for {', '.join(map(repr, missing))}, without a default.")
        bound = {}
        for name, parameter in self.items():
            if name in values:
                bound[name] = self.check(name, values[name])
            elif parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                bound[name] = ()
            else:
                bound[name] = parameter.shape.accept(parameter.default)
        extra = {name: self.check(name, values[name]) for name in values if name not in bound}
        return {**bound, **extra}

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the signature."""
        return tuple(self)

    def check(self, name: str, value: Any) -> Any:
        """``value`` as parameter ``name`` takes it, see :meth:`bind`. Raises ParameterError."""
        return self._read(name, self._named(name).shape.accept, value)

    def parse_text(self, name: str, text: str) -> Any:
        """The value of parameter ``name`` that ``text`` from a command line stands for.

        For ``str`` always the text itself; ``true``/``false``; ``none``/``null`` only for a parameter that may be None
        and not text; a name or value of an Enum; ISO dates; JSON for lists, dicts and dataclasses. Raises
        ParameterError.
        """
        return self._read(name, self._named(name).shape.parse, text)

    def encode(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """``values`` (some or all) as plain JSON, see :mod:`hpo_pipelines.parameters.encoding`.

        Raises ParameterError for a value that cannot be recorded.
        """
        return {name: self._read(name, encoding.encode, value) for name, value in values.items()}

    def decode(self, plain: Mapping[str, Any]) -> dict[str, Any]:
        """The values (some or all) that :meth:`encode` wrote, or that a person wrote as plain JSON.

        Classes come from the annotations. Raises ParameterError for unknown names and wrong types.
        """
        return {name: self._read(name, self._named(name).shape.decode, value) for name, value in plain.items()}

    def bound(self, values: Mapping[str, Any]) -> inspect.BoundArguments:
        """What to call the function with, ``function(*b.args, **b.kwargs)``, for values as :meth:`bind` gives them."""
        arguments = {name: values[name] for name in self if name in values}
        if self.extra is not None:
            arguments[self.extra.name] = {name: value for name, value in values.items() if name not in self}
        return inspect.BoundArguments(self.signature, arguments)

    def schema(self) -> list[dict[str, Any]]:
        """One plain JSON object per parameter, for pages and REST; see :meth:`Parameter.describe`."""
        described = [parameter.describe() for parameter in self.values()]
        return described if self.extra is None else [*described, {**self.extra.describe(), "extra": True}]

    def _named(self, name: str) -> Parameter:
        parameter = self._parameters.get(name) or self.extra
        if parameter is None:
            raise ParameterError(f"{self.owner} has no parameter {name!r}; {closest(name, list(self))}")
        return parameter

    def _read(self, name: str, read: Callable[[Any], Any], value: Any) -> Any:
        try:
            return read(value)
        except Mismatch as mismatch:
            shown = f"{mismatch.value!r:.200} ({type(mismatch.value).__name__})"
            message = f"{self.owner}: parameter '{name}{mismatch.path}' takes {mismatch.expected}; got {shown}."
            raise ParameterError(f"{message} {mismatch.cure}".strip()) from None
