"""From annotations to shapes, and from a function to the annotations of its parameters."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from datetime import date, datetime, time
from enum import Enum
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from hpo_pipelines.errors import DefinitionError
from hpo_pipelines.parameters.containers import Fixed, Items, Pairs, Record
from hpo_pipelines.parameters.encoding import Mismatch, encode
from hpo_pipelines.parameters.shapes import Anything, Choice, Member, OneOf, Scalar, Shape, Written

UNKNOWN = inspect.Parameter.empty
"""Stands for an annotation that is not there, or that names something not importable here."""

_NEVER = (typing.Never, typing.NoReturn, typing.ClassVar, typing.TypeGuard)
_SEQUENCES = (collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_WRITTEN: dict[type, Callable[[str], Any]] = {
    date: date.fromisoformat,
    datetime: datetime.fromisoformat,
    time: time.fromisoformat,
}


def shape_of(annotation: Any, default: Any = UNKNOWN) -> Shape:
    """The shape of ``annotation``, or without one that of the type of ``default``.

    An annotation that is not known here admits what JSON can carry, and its own instances. Raises DefinitionError for
    those that no value can have, such as ``Never`` and ``ClassVar``.
    """
    if annotation is UNKNOWN:
        return _shape_of_value(default)
    if annotation in (Any, object) or isinstance(annotation, typing.TypeVar):
        return Anything()
    if annotation is None:
        return Scalar(type(None))
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in _NEVER or origin in _NEVER:
        raise DefinitionError(f"no parameter can be annotated with {annotation!r}: no value has that type.")
    if origin is typing.Annotated:
        return shape_of(args[0], default)
    for alias in ("__supertype__", "__value__"):  # NewType, and the `type` statement of Python 3.12.
        if hasattr(annotation, alias) and not isinstance(annotation, type):
            return shape_of(getattr(annotation, alias), default)
    if origin is typing.Literal:
        return Choice(args)
    if origin in (typing.Union, types.UnionType):
        return OneOf(tuple(shape_of(arg) for arg in args))
    return _shape_of_class(annotation, origin or annotation, args)


def _shape_of_class(annotation: Any, cls: Any, args: tuple[Any, ...]) -> Shape:
    if not isinstance(cls, type):
        return Anything(annotation)
    if cls in (bool, int, float, str, type(None)):
        return Scalar(cls)
    if issubclass(cls, Enum):
        return Member(cls)
    if cls in _WRITTEN:
        return Written(cls, _WRITTEN[cls])
    if issubclass(cls, PurePath):
        return Written(cls, cls)
    if cls is tuple and args and args[-1] is not Ellipsis:
        return Fixed(() if args == ((),) else tuple(map(shape_of, args)))
    if cls in (list, tuple, set, frozenset) or cls in _SEQUENCES:
        return Items(None if cls in _SEQUENCES else cls, shape_of(args[0]) if args else Anything())
    if cls in (dict, collections.abc.Mapping, collections.abc.MutableMapping):
        key, item = args or (Any, Any)
        return Pairs(shape_of(key), shape_of(item))
    if dataclasses.is_dataclass(cls):
        return Record(cls, _fields_of)
    return Anything(cls)


def _shape_of_value(default: Any) -> Shape:
    cls = type(default)
    if default is UNKNOWN or default is None:
        return Anything()
    if cls is tuple:
        return Items(tuple, Anything())
    return shape_of(Path if isinstance(default, Path) else cls)


def _fields_of(cls: type, owner: type) -> dict[str, Shape]:
    """Shapes of what the constructor of a dataclass takes; a hint that cannot be resolved admits any value."""
    fields = [field for field in dataclasses.fields(owner) if field.init]
    module = inspect.getmodule(cls)
    namespace = {**(vars(module) if module else {}), cls.__name__: cls}
    return {field.name: shape_of(resolve(field.type, namespace, {})) for field in fields}


def resolve(annotation: Any, namespace: dict[str, Any], nonlocals: dict[str, Any]) -> Any:
    """``annotation`` with names in it looked up; UNKNOWN if one is not to be had, as under ``TYPE_CHECKING``."""
    if annotation is UNKNOWN:
        return UNKNOWN
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, namespace, nonlocals, include_extras=True)["it"]
    except (NameError, AttributeError, TypeError, SyntaxError):
        # Text that is no type is for other tools; an object that typing refuses is for shape_of to judge.
        return UNKNOWN if isinstance(annotation, str) else annotation


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotation of each parameter of ``function``, resolved; UNKNOWN where there is none."""
    plain = inspect.unwrap(function)
    namespace = getattr(plain, "__globals__", {})
    code, cells = getattr(plain, "__code__", None), getattr(plain, "__closure__", None) or ()
    nonlocals = {}
    for name, cell in zip(code.co_freevars if code else (), cells, strict=True):
        try:
            nonlocals[name] = cell.cell_contents
        except ValueError:  # Not assigned yet.
            continue
    lookup = partial(resolve, namespace=namespace, nonlocals=nonlocals)
    return {name: lookup(parameter.annotation) for name, parameter in inspect.signature(function).parameters.items()}


def description_of(annotation: Any) -> str:
    """The text in ``Annotated[T, "text"]`` (or ``Doc("text")``), empty if there is none."""
    if typing.get_origin(annotation) is not typing.Annotated:
        return ""
    texts = (
        note if isinstance(note, str) else getattr(note, "documentation", None) for note in annotation.__metadata__
    )
    return next((text for text in texts if isinstance(text, str)), "")


def with_default(shape: Shape, name: str, default: Any) -> Shape:
    """``shape`` such that it admits ``default``: ``path: str = None`` means ``str | None``.

    Raises DefinitionError when a default is not of its parameter's type, or cannot be recorded.
    """
    if default is UNKNOWN:
        return shape
    try:
        accepted = shape.accept(default)
    except Mismatch as mismatch:
        if default is None:
            return OneOf((shape, Scalar(type(None))))
        where = f" (at {mismatch.path})" if mismatch.path else ""
        raise DefinitionError(
            f"the default of {name!r} must be {mismatch.expected}; it is {mismatch.value!r}{where}. "
            "Correct the default or the annotation."
        ) from None
    try:
        encode(accepted)
    except Mismatch as mismatch:
        raise DefinitionError(
            f"the default of {name!r} cannot be recorded: it holds {mismatch.value!r}, and a parameter is "
            f"{mismatch.expected}. Make it inside the pipeline, from values that are."
        ) from None
    return shape
