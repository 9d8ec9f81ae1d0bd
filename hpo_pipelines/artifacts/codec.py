"""How arbitrary objects become bytes: a pickle, with large buffers beside it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from typing import Any, BinaryIO, Protocol

_OUT_OF_BAND = 4096  # Smaller buffers stay inside the pickle.


class Codec(Protocol):
    """Pickle protocol 5 with out-of-band buffers; a code snapshot supplies one that knows its own classes."""

    def dump(self, value: object, file: BinaryIO, buffer_callback: Callable[[pickle.PickleBuffer], bool]) -> None:
        """Write ``value`` to ``file``; a buffer for which the callback is false is left out of it."""

    def load(self, data: memoryview, /, buffers: Iterable[memoryview]) -> Any:
        """The value; ``buffers`` are those left out, in the order of the callbacks."""


class CloudpickleCodec:
    """The default: classes and functions that cannot be imported travel by value."""

    def dump(self, value: object, file: BinaryIO, buffer_callback: Callable[[pickle.PickleBuffer], bool]) -> None:
        import cloudpickle

        cloudpickle.dump(value, file, protocol=5, buffer_callback=buffer_callback)

    def load(self, data: memoryview, /, buffers: Iterable[memoryview]) -> Any:
        return pickle.loads(data, buffers=buffers)


def dump_parts(value: object, codec: Codec) -> list[memoryview]:
    """The pickle of ``value``, then its large buffers, which are views of the value's own memory."""
    stream = BytesIO()
    buffers: list[memoryview] = []

    def keep_inside(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # Not contiguous.
            return True
        if raw.nbytes < _OUT_OF_BAND:
            return True
        buffers.append(raw)
        return False

    codec.dump(value, stream, keep_inside)
    return [stream.getbuffer(), *buffers]


def load_parts(parts: Sequence[memoryview], codec: Codec) -> Any:
    return codec.load(parts[0], parts[1:])
