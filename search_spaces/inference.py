"""The distribution that a plain value stands for, in Python, in a file or on a command line."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, EnumMeta
from typing import Any

from search_spaces.calls import parse_call
from search_spaces.distributions import Categorical, Distribution, Fixed, Float, Int
from search_spaces.documents import KEYS, read
from search_spaces.errors import SpaceError
from search_spaces.place import Place
from search_spaces.values import nearest, scalar

_KINDS: dict[str, type[Distribution]] = {cls.kind: cls for cls in (Float, Int, Categorical, Fixed)}
_OWN_KEYS: dict[str, tuple[str, ...]] = {
    "float": ("low", "high", "log", "step"),
    "int": ("low", "high", "log", "step"),
    "categorical": ("choices",),
    "fixed": ("value",),
}
_OTHER_WORDS = {
    "min": "low", "max": "high", "minval": "low", "maxval": "high", "lower": "low", "upper": "high", "q": "step",
    "values": "choices", "vals": "choices", "options": "choices", "const": "value", "default": "value",
    "distribution": "type", "kind": "type", "if": "when", "condition": "when",
}  # fmt: skip
"""What other tools call our keys, too far from them in spelling to be found by likeness."""


def distribution_of(value: Any, place: Place | None = None) -> Distribution:
    """The distribution that ``value`` stands for.

    A distribution is itself; a mapping has ``low`` and ``high``, or ``choices``, or ``value``; a list (or an Enum
    class) is choices; text such as ``uniform(0, 1)`` is what it calls; any other scalar is fixed. A range is of
    integers if all its numbers are, unless ``type`` says otherwise. Raises SpaceError naming ``place``.
    """
    place = place or Place()
    with place.locating():
        if isinstance(value, Distribution):
            return value
        if isinstance(value, Mapping):
            return _from_mapping(value)
        if isinstance(value, list | tuple | EnumMeta):
            return _bare(Categorical, value)
        called = parse_call(value) if isinstance(value, str) and not isinstance(value, Enum) else None
        return called or _bare(Fixed, value)


def parse_distribution(text: str, place: Place | None = None) -> Distribution:
    """The distribution that ``text`` from a command line stands for; a plain YAML 1.2 value is fixed, a list choices.

    Raises SpaceError, naming ``place``, for empty text, wrong arguments, and wrong syntax in brackets or quotes.
    """
    place = place or Place()
    text = text.strip()
    with place.locating():
        if not text:
            raise SpaceError("a parameter has a value; got nothing: write null, or '\"\"' for empty text.")
        if text[0] in "\"'":
            return Fixed(read(text, "yaml", text).value)
        if text[0] not in "[{":
            return parse_call(text) or _bare(Fixed, scalar(text))
        value = read(text, "yaml", text).value
    return distribution_of(value, place)


def parse_assignment(text: str) -> tuple[str, Distribution]:
    """Name and distribution of ``lr=loguniform(1e-5,1e-1)``. Raises SpaceError, naming the parameter."""
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name:
        raise SpaceError(f"an assignment is NAME=VALUE; got {text!r}: write for instance lr=loguniform(1e-5,1e-1).")
    return name, parse_distribution(value, Place((name,)))


def _bare(cls: type[Categorical] | type[Fixed], value: Any) -> Distribution:
    """``cls(value)`` for a value written without ``choices:`` or ``value:``, which errors then must not name."""
    try:
        return cls(value)
    except SpaceError as error:
        raise SpaceError(str(error), path=error.path[1:]) from None


def _from_mapping(value: Mapping[Any, Any]) -> Distribution:
    for key in value:
        if key not in KEYS:
            raise SpaceError(f"unknown key {key!r}.{_meant(key)} Known keys: {', '.join(KEYS)}.", path=(str(key),))
    kind = _kind(value)
    own = _OWN_KEYS[kind]
    for key in value:
        if key not in (*own, "type", "when"):
            raise SpaceError(
                f"{key} does not go with {kind}, which has {', '.join(own)}: drop what is wrong.", path=(key,)
            )
    for key in own[:2] if kind in ("float", "int") else own:
        if key not in value:
            raise SpaceError(f"{kind} needs {key}; got only {', '.join(value)}: add {key}.")
    return _KINDS[kind](**{key: value[key] for key in value if key != "type"})


def _meant(key: object) -> str:
    if not isinstance(key, str):
        return ""
    if key in _OTHER_WORDS:
        return f" Did you mean {_OTHER_WORDS[key]!r}?"
    return nearest(key, KEYS) or " A fixed mapping is written {value: {…}}."


def _kind(value: Mapping[Any, Any]) -> str:
    if "type" in value:
        kind = value["type"]
        if not isinstance(kind, str) or kind not in _KINDS:
            raise SpaceError(
                f"type is one of {', '.join(_KINDS)}; got {kind!r}.{nearest(str(kind), _KINDS)}", path=("type",)
            )
        return kind
    if "choices" in value:
        return "categorical"
    if "value" in value:
        return "fixed"
    if "low" not in value and "high" not in value:
        raise SpaceError(
            f"a distribution has low and high, or choices, or value; got {{{', '.join(map(str, value))}}}: add them, "
            "or write {value: …} for a fixed mapping."
        )
    numbers = [value.get(key) for key in ("low", "high", "step")]
    return "float" if any(isinstance(number, float) for number in numbers) else "int"
