"""How a value of each type is stored: the registry, and the formats of Python's and numpy's own values."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from hpo_pipelines.artifacts.codec import Codec, dump_parts, load_parts
from hpo_pipelines.artifacts.container import Part
from hpo_pipelines.errors import NotSerializable


@dataclass(frozen=True)
class Written:
    """A value as parts; ``stand_in`` is what is identified in its place, where that is not the value itself."""

    parts: Sequence[Part]
    stand_in: object = None


@dataclass(frozen=True)
class Reading:
    """What a reader may need beside the bytes: the codec, and a fresh folder for what must be a file."""

    codec: Codec
    folder: Callable[[], Path]


class Format(Protocol):
    """One way to store values of some type."""

    name: ClassVar[str]
    indexed: ClassVar[bool]
    """Whether the artifact has an index (several parts) or is one part, as it is."""

    def matches(self, value: object) -> bool:
        """Whether ``value`` comes back from this format equal and of the same type."""

    def write(self, value: Any, codec: Codec) -> Written:
        """``value`` as parts: views of its own memory where possible."""

    def read(self, parts: Sequence[memoryview], source: Reading) -> Any:
        """The value; ``parts`` are writable memory that nobody else sees."""


class JsonFormat:
    """None, bool, int, float, str, and lists and dicts of them, as UTF-8 JSON (``NaN`` and ``Infinity`` included).

    Only what comes back exactly: no tuple, set, subclass, key that is not a string, nor one list in two places.
    """

    name: ClassVar[str] = "json"
    indexed: ClassVar[bool] = False

    def matches(self, value: object) -> bool:
        try:
            return _is_json(value, set())
        except RecursionError:
            return False

    def write(self, value: Any, codec: Codec) -> Written:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return Written([memoryview(text.encode())])

    def read(self, parts: Sequence[memoryview], source: Reading) -> Any:
        return json.loads(str(parts[0], "utf-8"))


_MAX_BITS = 14_000  # An int of 4300 decimal digits has 14 285 bits; Python writes and reads no longer ones.


def _is_json(value: Any, seen: set[int]) -> bool:
    cls = type(value)
    if cls is str:
        return _is_utf8(value)
    if value is None or cls is bool or cls is float:
        return True
    if cls is int:
        return int(value.bit_length()) <= _MAX_BITS
    if (cls is not list and cls is not dict) or id(value) in seen:
        return False
    seen.add(id(value))
    if cls is list:
        return all(_is_json(item, seen) for item in value)
    pairs = value.items()
    return all(type(key) is str and _is_utf8(key) and _is_json(item, seen) for key, item in pairs)


def _is_utf8(text: str) -> bool:
    """Whether ``text`` is free of surrogates, pairs of which JSON would join."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class BytesFormat:
    """The bytes themselves."""

    name: ClassVar[str] = "bytes"
    indexed: ClassVar[bool] = False

    def matches(self, value: object) -> bool:
        return type(value) is bytes

    def write(self, value: Any, codec: Codec) -> Written:
        return Written([memoryview(value)])

    def read(self, parts: Sequence[memoryview], source: Reading) -> Any:
        return bytes(parts[0])


class BytearrayFormat(BytesFormat):
    name: ClassVar[str] = "bytearray"

    def matches(self, value: object) -> bool:
        return type(value) is bytearray

    def read(self, parts: Sequence[memoryview], source: Reading) -> Any:
        return bytearray(parts[0])


class NpyFormat:
    """An array of numbers, times or fixed-width text in numpy's own file format, mapped copy-on-write when read.

    Source of the layout: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """

    name: ClassVar[str] = "npy"
    indexed: ClassVar[bool] = True

    def matches(self, value: Any) -> bool:
        numpy = sys.modules.get("numpy")
        if numpy is None or type(value) is not numpy.ndarray:
            return False
        dtype = value.dtype
        return dtype.kind in "biufcmMSU" and dtype.itemsize > 0 and dtype.metadata is None

    def write(self, value: Any, codec: Codec) -> Written:
        import numpy as np

        fortran = value.flags.f_contiguous and not value.flags.c_contiguous
        flat = (value.T if fortran else np.ascontiguousarray(value)).reshape(-1)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": value.dtype.str, "fortran_order": fortran, "shape": value.shape}
        )
        data = flat.view(np.uint8).data if flat.nbytes else memoryview(b"")
        return Written([header.getbuffer(), data])

    def read(self, parts: Sequence[memoryview], source: Reading) -> Any:
        import numpy as np

        header = io.BytesIO(parts[0])
        np.lib.format.read_magic(header)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(header)
        if not parts[1].nbytes:
            return np.zeros(shape, dtype)
        return np.frombuffer(parts[1], dtype).reshape(shape, order="F" if fortran else "C")


class PickleFormat:
    """Everything else: a pickle of protocol 5 by the codec, with large buffers beside it."""

    name: ClassVar[str] = "pickle"
    indexed: ClassVar[bool] = True

    def matches(self, value: object) -> bool:
        return True

    def write(self, value: Any, codec: Codec) -> Written:
        return Written(dump_parts(value, codec))

    def read(self, parts: Sequence[memoryview], source: Reading) -> Any:
        return load_parts(parts, source.codec)


def format_for(value: object, formats: Sequence[Format], requested: str | None) -> Format:
    """The requested format, or the first that fits. Raises NotSerializable."""
    if requested is None:
        return next(candidate for candidate in formats if candidate.matches(value))
    for candidate in formats:
        if candidate.name == requested:
            if not candidate.matches(value):
                raise NotSerializable(f"format {requested!r} cannot hold it exactly; leave the format out")
            return candidate
    known = ", ".join(candidate.name for candidate in formats)
    raise NotSerializable(f"there is no format {requested!r}; known are {known}")
