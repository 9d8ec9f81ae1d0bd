"""Python's own containers."""

from __future__ import annotations

import re
import reprlib
import sys
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from functools import partial
from operator import itemgetter
from typing import Any

from hpo_pipelines.canonical.encoder import Encoder, NotCanonical, Writer, type_name

_PACKED_FROM = 8  # Shorter sequences are encoded item by item.
_first = itemgetter(0)


def _bytes(encoder: Encoder, value: bytes) -> None:
    encoder.out += b"B"
    encoder.buffer(memoryview(value))


def _bytearray(encoder: Encoder, value: bytearray) -> None:
    encoder.out += b"Y"
    encoder.buffer(memoryview(value))


def _sequence(tag: bytes, encoder: Encoder, value: list[Any] | tuple[Any, ...]) -> None:
    encoder.out += b"%b%x:" % (tag, len(value))
    if len(value) >= _PACKED_FROM and _packed(encoder, value):
        return
    index = 0
    try:
        for index, item in enumerate(value):
            encoder.write(item)
            if not index & 0xFFF:
                encoder.flush()
    except NotCanonical as refusal:
        raise refusal.below(f"[{index}]") from None


def _packed(encoder: Encoder, values: list[Any] | tuple[Any, ...]) -> bool:
    """Append many values of one simple type at C speed; False, and nothing written, if they are not that."""
    kinds = set(map(type, values))
    if kinds == {float}:
        if (total := sum(values)) != total:  # A nan, or infinities of both signs.
            values = [x if x == x else float("nan") for x in values]
        encoder.out += b"*f"
        encoder.buffer(_little(array("d", values)), scratch=True)
    elif kinds == {int}:
        try:
            packed = array("q", values)
        except OverflowError:
            return False
        encoder.out += b"*i"
        encoder.buffer(_little(packed), scratch=True)
    elif kinds == {str}:
        encoder.out += b"*s"
        encoder.buffer(_little(array("Q", map(len, values))), scratch=True)
        encoder.buffer(memoryview("".join(values).encode("utf-8", "surrogatepass")), scratch=True)
    else:
        return False
    return True


def _little(numbers: array[Any]) -> memoryview:
    if sys.byteorder == "big":
        numbers.byteswap()
    return memoryview(numbers).cast("B")


def _items(tag: bytes, encoder: Encoder, value: dict[Any, Any]) -> None:
    encoder.out += b"%b%x:" % (tag, len(value))
    key: object = None
    step = "<key {}>"
    try:
        encoded_items = []
        for key, item in value.items():
            encoded_items.append((encoder.nested(key), key, item))
        step = "[{}]"
        encoded_items.sort(key=_first)
        if len({encoded for encoded, _, _ in encoded_items}) < len(value):  # Two keys are nan.
            encoded_items.sort(key=lambda item: (item[0], encoder.nested(item[2])))
        for encoded, key, item in encoded_items:  # noqa: B007 - the refusal names the key
            encoder.out += encoded
            encoder.write(item)
            encoder.flush()
    except NotCanonical as refusal:
        raise refusal.below(step.format(_short(key))) from None


def _short(value: object) -> str:
    try:
        return reprlib.repr(value)
    except Exception:  # noqa: BLE001 - the repr is the user's code, and only decorates a message
        return type_name(type(value))


def _ordered_dict(encoder: Encoder, value: OrderedDict[Any, Any]) -> None:
    encoder.out += b"o%x:" % len(value)
    _sequence(b"t", encoder, tuple(value.keys()))
    _sequence(b"t", encoder, tuple(value.values()))


def _default_dict(encoder: Encoder, value: defaultdict[Any, Any]) -> None:
    factory = value.default_factory
    if factory is not None and getattr(factory, "__module__", None) != "builtins":
        raise NotCanonical(".default_factory", type_name(type(factory)), "only a built-in type is known as a factory")
    encoder.out += b"g"
    encoder.tag("" if factory is None else getattr(factory, "__qualname__", repr(factory)))
    _items(b"d", encoder, value)


def _set(tag: bytes, encoder: Encoder, value: set[Any] | frozenset[Any]) -> None:
    encoder.out += b"%b%x:" % (tag, len(value))
    item: object = None
    encoded_items = []
    try:
        for item in value:
            encoded_items.append(encoder.nested(item))
    except NotCanonical as refusal:
        raise refusal.below(f"{{{_short(item)}}}") from None
    for encoded in sorted(encoded_items):
        encoder.out += encoded
        encoder.flush()


def _deque(encoder: Encoder, value: deque[Any]) -> None:
    encoder.out += b"k"
    encoder.write(value.maxlen)
    _sequence(b"l", encoder, list(value))


def _slice(encoder: Encoder, value: slice) -> None:
    encoder.out += b"S"
    for name in ("start", "stop", "step"):
        encoder.write_at(f".{name}", getattr(value, name))


def _pattern(encoder: Encoder, value: re.Pattern[Any]) -> None:
    encoder.out += b"R%x;" % value.flags
    encoder.write(value.pattern)


CONTAINERS: dict[type, Writer] = {
    bytes: _bytes,
    bytearray: _bytearray,
    list: partial(_sequence, b"l"),
    tuple: partial(_sequence, b"t"),
    dict: partial(_items, b"d"),
    Counter: partial(_items, b"C"),
    OrderedDict: _ordered_dict,
    defaultdict: _default_dict,
    set: partial(_set, b"e"),
    frozenset: partial(_set, b"z"),
    deque: _deque,
    slice: _slice,
    re.Pattern: _pattern,
}
