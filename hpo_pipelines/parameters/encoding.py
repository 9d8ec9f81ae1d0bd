"""Parameter values as plain JSON that keeps their types.

What JSON has is written as it is. What it has not becomes an object whose keys begin with ``$``:

=============================================  =======================================
``nan``, ``inf``, ``-inf``                     ``{"$float": "nan"}``
``date``, ``datetime``, ``time``               ``{"$date": "2024-01-31"}``, ``$datetime``, ``$time`` (ISO 8601)
``Path``                                       ``{"$path": "data/churn.csv"}``
``tuple``, ``set``, ``frozenset``              ``{"$tuple": [1, 2]}``, ``$set``, ``$frozenset``
an ``Enum`` member                             ``{"$enum": "RED", "of": "Color"}``
a composed flag                                ``{"$flag": 3, "of": "Perm"}``
a dataclass                                    ``{"$dataclass": {"lr": 0.1}, "of": "Config"}``
a dict with a key that is not text, or that    ``{"$dict": [[key, value], …]}``
begins with ``$``
=============================================  =======================================

``of`` is the class's qualified name; the class itself comes from the annotation of the parameter, so that values can be
read wherever the pipeline's code is loaded, whichever way.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from datetime import date, datetime, time
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

JSONABLE = "a value that JSON can carry (or a date, Path, tuple, set, Enum or dataclass of such)"


class Mismatch(Exception):
    """``value``, found at ``path`` inside a parameter's value, is not what is ``expected`` there."""

    def __init__(self, value: object, expected: str, path: str = "", cure: str = "") -> None:
        super().__init__(value, expected, path, cure)
        self.value, self.expected, self.path, self.cure = value, expected, path, cure

    def below(self, step: str) -> Mismatch:
        """The same mismatch, seen from the container that holds the value at ``step``."""
        return Mismatch(self.value, self.expected, step + self.path, self.cure)


def encode(value: object) -> Any:
    """``value`` as plain JSON (see the module's table). Raises Mismatch for what has no such form."""
    cls = type(value)
    if value is None or cls in (bool, int, str):
        return value
    if isinstance(value, float) and cls is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, Enum):
        return _encode_member(value)
    if cls is list:
        return _encode_items(value)
    if cls is dict:
        return _encode_dict(value)
    if cls in _TAG_OF_ITEMS:
        items = _encode_items(value)
        # Sets have no order: equal sets become equal JSON, whatever the hash seed.
        return {_TAG_OF_ITEMS[cls]: items if cls is tuple else sorted(items, key=json.dumps)}
    if cls in _TAG_OF_TEXT:
        return {_TAG_OF_TEXT[cls]: value.isoformat()}  # type: ignore[attr-defined]
    if isinstance(value, PurePath):
        return {"$path": str(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _encode_dataclass(value)
    raise Mismatch(value, JSONABLE)


def decode(plain: Any) -> Any:
    """The value that :func:`encode` wrote as ``plain``, without knowing any class.

    Raises Mismatch for Enum members and dataclasses, which need an annotation, and for unknown ``$`` keys.
    """
    if isinstance(plain, list):
        return [_decode_at(f"[{index}]", item) for index, item in enumerate(plain)]
    if not isinstance(plain, dict):
        return plain
    tag = tag_of(plain)
    if tag is None:
        return {key: _decode_at(f"[{key!r}]", item) for key, item in plain.items()}
    read = _READERS.get(tag)
    if read is None:
        raise Mismatch(plain, JSONABLE, cure=f"{tag!r} values can be read by the annotation of their class only.")
    try:
        return read(plain[tag])
    except (ValueError, TypeError) as error:
        raise Mismatch(plain, f"what {tag!r} stands for", cure=str(error)) from None


def tag_of(plain: Any) -> str | None:
    """The ``$`` key of an encoded value, None for plain JSON."""
    return next((key for key in plain if key.startswith("$")), None) if isinstance(plain, dict) else None


def _encode_member(value: Enum) -> dict[str, Any]:
    of = type(value).__qualname__
    name: str | None = value.name  # None for a composed flag on some versions, "A|B" on others.
    if name in type(value).__members__:
        return {"$enum": name, "of": of}
    return {"$flag": encode(value.value), "of": of}


def _encode_items(value: Any) -> list[Any]:
    return [_encode_at(f"[{index}]", item) for index, item in enumerate(value)]


def _encode_dict(value: Any) -> dict[str, Any]:
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: _encode_at(f"[{key!r}]", item) for key, item in value.items()}
    pairs = [[_encode_at(f"<key {key!r}>", key), _encode_at(f"[{key!r}]", item)] for key, item in value.items()]
    return {"$dict": pairs}


def _encode_dataclass(value: Any) -> dict[str, Any]:
    fields = (field.name for field in dataclasses.fields(value) if field.init)
    content = {name: _encode_at(f".{name}", getattr(value, name)) for name in fields}
    return {"$dataclass": content, "of": type(value).__qualname__}


def _encode_at(step: str, value: object) -> Any:
    try:
        return encode(value)
    except Mismatch as mismatch:
        raise mismatch.below(step) from None


def _decode_at(step: str, plain: Any) -> Any:
    try:
        return decode(plain)
    except Mismatch as mismatch:
        raise mismatch.below(step) from None


_TAG_OF_ITEMS: dict[type, str] = {tuple: "$tuple", set: "$set", frozenset: "$frozenset"}
_TAG_OF_TEXT: dict[type, str] = {date: "$date", datetime: "$datetime", time: "$time"}
_READERS: dict[str, Callable[[Any], Any]] = {
    "$float": float,
    "$date": date.fromisoformat,
    "$datetime": datetime.fromisoformat,
    "$time": time.fromisoformat,
    "$path": Path,
    "$tuple": lambda items: tuple(decode(items)),
    "$set": lambda items: set(decode(items)),
    "$frozenset": lambda items: frozenset(decode(items)),
    "$dict": lambda pairs: {decode(key): decode(item) for key, item in pairs},
}
