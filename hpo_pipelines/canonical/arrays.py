"""The canonical encoding of numpy's values, by the table in :mod:`hpo_pipelines.canonical`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hpo_pipelines.canonical.encoder import Encoder, Writer

_PIECE = 1 << 22  # Bytes copied at a time out of an array that is not contiguous in C order.


def array_writer(cls: type) -> Writer | None:
    """The function that writes values of exactly the numpy class ``cls``; None if they have no identity."""
    if cls in (np.ndarray, np.memmap):
        return write_array
    if issubclass(cls, np.generic):
        return _scalar
    if issubclass(cls, np.dtype):
        return _dtype
    return None


def _scalar(encoder: Encoder, value: np.generic) -> None:
    dtype = value.dtype
    encoder.out += b"x"
    if dtype.kind == "f" and value != value:
        encoder.tag(f"nan {dtype.str}")
    elif dtype.kind in "biuf" and dtype.itemsize <= 8:
        encoder.tag(dtype.str)
        encoder.out += value.tobytes()
    else:
        write_content(encoder, np.asarray(value))


def _dtype(encoder: Encoder, value: np.dtype[Any]) -> None:
    encoder.out += b"X"
    _write_dtype(encoder, value, order=True)


def write_array(encoder: Encoder, value: np.ndarray[Any, Any]) -> None:
    """Append dtype, shape and content of an array."""
    encoder.out += b"V"
    encoder.write(value.shape)
    write_content(encoder, value if type(value) is np.ndarray else value.view(np.ndarray))


def write_content(encoder: Encoder, value: np.ndarray[Any, Any], *, scratch: bool = False) -> None:
    """Append dtype and content, without the shape; ``scratch`` as for :meth:`Encoder.buffer`."""
    dtype = value.dtype
    _write_dtype(encoder, dtype)
    if dtype.str.startswith(">"):
        value, scratch = value.astype(dtype.newbyteorder("<")), True
    if dtype.names is not None:  # Field by field: the padding between them is not part of the value.
        for name in dtype.names:
            encoder.write_at(f"[{name!r}]", np.asarray(value[name]))
    elif dtype.kind in "OT":
        encoder.write(value.ravel().tolist())
    elif dtype.kind in "fc" and dtype.itemsize > (8 if dtype.kind == "f" else 16):
        encoder.buffer(_long_double_bytes(value), scratch=True)
    elif value.flags.c_contiguous:
        encoder.buffer(bytes_of(value), scratch=scratch)
    else:
        encoder.pieces(_pieces(value), value.nbytes)


def bytes_of(value: np.ndarray[Any, Any]) -> memoryview:
    """The memory of an array that is contiguous in C order, as bytes, without a copy."""
    if not value.nbytes:
        return memoryview(b"")
    return value.reshape(-1).view(np.uint8).data


def _write_dtype(encoder: Encoder, dtype: np.dtype[Any], *, order: bool = False) -> None:
    """Pickles change byte order in some cases and not in others, so it counts for a dtype itself only (``order``)."""
    if dtype.names is not None:
        assert dtype.fields is not None
        encoder.tag(f"{dtype.type.__name__} of {len(dtype.names)}")
        for name in dtype.names:
            encoder.tag(name)
            _write_dtype(encoder, dtype.fields[name][0], order=order)
    elif dtype.subdtype is not None:
        base, shape = dtype.subdtype
        encoder.tag("subarray")
        encoder.write(shape)
        _write_dtype(encoder, base, order=order)
    else:
        # Variable-length strings have one `str` for all their variants.
        encoder.tag(repr(dtype) if dtype.kind == "T" else dtype.str if order else dtype.newbyteorder("<").str)


def _pieces(value: np.ndarray[Any, Any]) -> Iterator[memoryview]:
    """The content in C order, in copies of about ``_PIECE`` bytes."""
    rows = len(value) if value.ndim else 1
    if value.nbytes <= _PIECE or value.flags.c_contiguous:
        yield bytes_of(np.ascontiguousarray(value))
    elif value.nbytes // rows >= _PIECE:
        for row in value:
            yield from _pieces(row)
    else:
        step = _PIECE // (value.nbytes // rows)
        for start in range(0, rows, step):
            yield bytes_of(np.ascontiguousarray(value[start : start + step]))


def _long_double_bytes(value: np.ndarray[Any, Any]) -> memoryview:
    """x87 numbers use ten bytes of their sixteen; what is in the other six is chance."""
    width = value.dtype.itemsize // (1 if value.dtype.kind == "f" else 2)
    used = 10 if np.finfo(np.longdouble).nmant == 63 else width
    numbers = np.frombuffer(bytes_of(np.ascontiguousarray(value)), np.uint8).reshape(-1, width)
    return memoryview(numbers[:, :used].tobytes())
