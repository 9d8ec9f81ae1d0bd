"""The canonical encoding of Arrow columns: chunks, offsets and what lies under a null do not count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hpo_pipelines.canonical.arrays import bytes_of, write_content
from hpo_pipelines.canonical.encoder import Encoder


def write_chunks(encoder: Encoder, value: Any) -> None:
    """Append the content of a ``pyarrow.Array`` or ``ChunkedArray``; the caller writes its type and length."""
    column = _one_chunk(value)
    kind = column.type
    encoder.write(None if not column.null_count else np.packbits(np.asarray(pc.is_valid(column))))
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        _write_text(encoder, column.cast(pa.large_binary()))
    elif pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        _write_text(encoder, column)
    elif pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        filled = pc.fill_null(column, pa.scalar(0).cast(kind)) if column.null_count else column
        copied = bool(column.null_count) or pa.types.is_boolean(kind)
        write_content(encoder, filled.to_numpy(zero_copy_only=False), scratch=copied)
    else:
        encoder.write(column.to_pylist())


def _one_chunk(value: Any) -> Any:
    if not isinstance(value, pa.ChunkedArray):
        return value
    if value.num_chunks == 1:
        return value.chunk(0)
    return pa.concat_arrays(value.chunks) if value.num_chunks else pa.array([], value.type)


def _write_text(encoder: Encoder, column: Any) -> None:
    """Offsets from 0, as 64-bit integers, then the bytes between them; a null is as long as an empty text."""
    offsets = _offsets(column)
    if column.null_count:
        nulls = np.asarray(pc.is_null(column))
        if np.diff(offsets)[nulls].any():
            column = pc.fill_null(column, pa.scalar(b"").cast(column.type))
            offsets = _offsets(column)
    first, last = int(offsets[0]), int(offsets[-1])
    encoder.buffer(bytes_of(offsets - first if first else offsets), scratch=bool(first))
    data = column.buffers()[2]
    encoder.buffer(memoryview(b"") if data is None else memoryview(data)[first:last])


def _offsets(column: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The ``len(column) + 1`` offsets of a column of large texts, without a copy."""
    buffer = column.buffers()[1]
    if buffer is None or not len(column):
        return np.zeros(1, np.int64)
    return np.frombuffer(buffer, np.int64)[column.offset : column.offset + len(column) + 1]
