"""Instances of the user's own enums, named tuples and dataclasses."""

from __future__ import annotations

import dataclasses
from enum import Enum
from functools import cached_property, partial
from typing import Any

from hpo_pipelines.canonical.encoder import Encoder, NotCanonical, Writer, type_name

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: the class was not compiled in.


def object_writer(cls: type) -> Writer | None:
    """How instances of the user's class ``cls`` are written; None if it is none of the three kinds."""
    if issubclass(cls, Enum):
        return _enum
    if "__dataclass_fields__" in vars(cls):
        return _dataclass_writer(cls)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _named_tuple
    return None


def _enum(encoder: Encoder, value: Enum) -> None:
    encoder.out += b"E"
    encoder.tag(type_name(type(value)))
    # A composed flag has no name of its own; the annotation of `name` does not say so.
    name: str | None = value.name
    encoder.write(value.value if name is None else name)


def _named_tuple(encoder: Encoder, value: tuple[Any, ...]) -> None:
    if getattr(value, "__dict__", None):
        raise NotCanonical("", type_name(type(value)), "it has attributes beside its items; use a dataclass")
    encoder.out += b"N"
    encoder.tag(type_name(type(value)))
    encoder.write(tuple(value))


def _dataclass_writer(cls: type) -> Writer | None:
    fields = tuple(field.name for field in dataclasses.fields(cls))
    # A base written in C (int, dict, Exception, ndarray) holds state that no field shows.
    hidden = any(base is not object and not base.__flags__ & _HEAP_TYPE for base in cls.__mro__)
    slots: set[str] = {"__dict__", "__weakref__"}
    for base in cls.__mro__:
        declared = vars(base).get("__slots__", ())
        slots.update([declared] if isinstance(declared, str) else declared)
    if hidden or slots - {*fields, "__dict__", "__weakref__"}:
        return None
    caches = {name for base in cls.__mro__ for name, item in vars(base).items() if isinstance(item, cached_property)}
    return partial(_dataclass, fields, caches)


def _dataclass(fields: tuple[str, ...], caches: set[str], encoder: Encoder, value: object) -> None:
    extra = set(getattr(value, "__dict__", ())).difference(fields, caches)
    if extra:
        why = "the attribute is no field of its dataclass, so it would be lost; make it a field"
        raise NotCanonical(f".{min(extra)}", type_name(type(getattr(value, min(extra)))), why)
    encoder.out += b"D%x:" % len(fields)
    encoder.tag(type_name(type(value)))
    for name in fields:
        encoder.tag(name)
        if hasattr(value, name):
            encoder.write_at(f".{name}", getattr(value, name))
        else:
            encoder.out += b"-"
