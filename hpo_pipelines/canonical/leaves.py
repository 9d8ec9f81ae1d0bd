"""Values that are encoded in one piece."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any
from uuid import UUID

_double = struct.Struct(">d").pack
_NAN = b"f" + _double(float("nan"))


def text(value: str) -> bytes:
    """A string: its length, then UTF-8."""
    data = value.encode("utf-8", "surrogatepass")
    return b"s%x:%b" % (len(data), data)


def _float(value: float) -> bytes:
    return b"f" + _double(value) if value == value else _NAN


def _decimal(value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    return b"m" + text(f"{sign} {''.join(map(str, digits))} {exponent}")


def _zone(value: datetime | time) -> str:
    """UTC offset and the zone's own name, of which ``dateutil`` and ``pytz`` have their own spellings."""
    zone = value.tzinfo
    name = getattr(zone, "key", None) or getattr(zone, "zone", None) or value.tzname()
    return "" if zone is None else f"{value.utcoffset()} {name}"


def _clock(tag: bytes, value: datetime | time) -> bytes:
    return tag + text(f"{value.replace(tzinfo=None).isoformat()} {value.fold} {_zone(value)}")


LEAVES: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"n",
    type(...): lambda _: b".",
    bool: lambda value: b"T" if value else b"F",
    int: lambda value: b"i%x;" % value,
    float: _float,
    complex: lambda value: b"c" + _float(value.real) + _float(value.imag),
    str: text,
    date: lambda value: b"a" + text(value.isoformat()),
    datetime: partial(_clock, b"A"),
    time: partial(_clock, b"h"),
    timedelta: lambda value: b"v%x;%x;%x;" % (value.days, value.seconds, value.microseconds),
    Decimal: _decimal,
    Fraction: lambda value: b"q%x;%x;" % (value.numerator, value.denominator),
    UUID: lambda value: b"u" + value.bytes,
    range: lambda value: b"r%x;%x;%x;" % (value.start, value.stop, value.step),
    **{
        cls: partial(lambda name, value: b"p" + text(name) + text(str(value)), cls.__name__)
        for cls in (PosixPath, WindowsPath, PurePosixPath, PureWindowsPath)
    },
}
"""Values that are encoded in one piece."""
