"""The canonical encoding of pandas' values, by the table in :mod:`hpo_pipelines.canonical`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hpo_pipelines.canonical.arrays import bytes_of, write_content
from hpo_pipelines.canonical.encoder import Encoder, Writer


def frame_writer(cls: type) -> Writer | None:
    """The function that writes values of exactly the pandas class ``cls``; None if they have no identity."""
    if cls in _WRITERS:
        return _WRITERS[cls]
    if issubclass(cls, pd.Index):
        return _index
    if issubclass(cls, pd.api.extensions.ExtensionArray):
        return _array
    return None


def _begin(encoder: Encoder, name: str) -> None:
    encoder.out += b"P"  # Without it, NaT would be the string of its name.
    encoder.tag(name)


def _frame(encoder: Encoder, value: pd.DataFrame) -> None:
    _begin(encoder, "DataFrame")
    _write_common(encoder, value)
    encoder.write_at(".columns", value.columns)
    for label, column in value.items():
        encoder.write_at(f"[{label!r}]", column.array)


def _series(encoder: Encoder, value: pd.Series[Any]) -> None:
    _begin(encoder, "Series")
    _write_common(encoder, value)
    encoder.write_at(".name", value.name)
    encoder.write(value.array)


def _write_common(encoder: Encoder, value: pd.DataFrame | pd.Series[Any]) -> None:
    encoder.write_at(".attrs", value.attrs)
    encoder.write(value.flags.allows_duplicate_labels)
    encoder.write_at(".index", value.index)


def _index(encoder: Encoder, value: pd.Index[Any]) -> None:
    _begin(encoder, type(value).__name__)
    encoder.write_at(".names", list(value.names))
    if isinstance(value, pd.MultiIndex):
        encoder.write(value.nlevels)
        for level in range(value.nlevels):
            encoder.write_at(f".levels[{level}]", value.get_level_values(level).array)
    elif isinstance(value, pd.RangeIndex):
        encoder.write((value.start, value.stop, value.step))
    else:
        if isinstance(value, pd.DatetimeIndex | pd.TimedeltaIndex):
            encoder.write(value.freqstr)
        encoder.write(value.array)


def _array(encoder: Encoder, value: Any) -> None:
    """A column: its dtype, its length, then its values by kind of dtype."""
    dtype = value.dtype
    _begin(encoder, f"array {type(dtype).__name__}")
    encoder.write(len(value))
    if isinstance(value, pd.arrays.NumpyExtensionArray):
        write_content(encoder, value.to_numpy())
    elif isinstance(value, _TIMES):
        encoder.tag(str(dtype))
        encoder.buffer(bytes_of(np.ascontiguousarray(value.asi8)))
    elif isinstance(dtype, pd.CategoricalDtype):
        encoder.write((dtype.ordered, dtype.categories))
        write_content(encoder, value.codes)
    elif isinstance(dtype, pd.StringDtype):
        encoder.tag(f"{dtype.storage} {dtype.na_value}")
        _strings(encoder, value, dtype)
    elif isinstance(dtype, pd.ArrowDtype):
        encoder.tag(str(dtype.pyarrow_dtype))
        _write_arrow(encoder, value)
    else:
        _rarer_array(encoder, value, dtype)


_TIMES: Any = (pd.arrays.DatetimeArray, pd.arrays.TimedeltaArray, pd.arrays.PeriodArray)
_MASKED: Any = (pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray)


def _rarer_array(encoder: Encoder, value: Any, dtype: Any) -> None:
    if isinstance(value, _MASKED):
        write_content(encoder, np.asarray(value.isna()), scratch=True)
        write_content(encoder, value.to_numpy(dtype=dtype.numpy_dtype, na_value=0), scratch=True)
    elif isinstance(dtype, pd.IntervalDtype):
        encoder.write((value.closed, value.left, value.right))
    elif isinstance(dtype, pd.SparseDtype):
        encoder.tag(str(dtype))
        encoder.write((value.fill_value, value.sp_index.indices, np.asarray(value.sp_values)))
    else:
        encoder.tag(str(dtype))
        encoder.write(value.to_numpy(dtype=object))


def _strings(encoder: Encoder, value: Any, dtype: pd.StringDtype) -> None:
    if dtype.storage == "pyarrow":
        _write_arrow(encoder, value)
    else:
        encoder.write(value.to_numpy(dtype=object).tolist())


def _write_arrow(encoder: Encoder, value: Any) -> None:
    from hpo_pipelines.canonical.arrow import write_chunks

    write_chunks(encoder, value.__arrow_array__())


def _scalar(encoder: Encoder, value: Any) -> None:
    _begin(encoder, type(value).__name__)
    if isinstance(value, pd.Timestamp):
        zone = "" if value.tzinfo is None else f"{value.utcoffset()} {value.tzinfo}"
        encoder.write((value.asm8, zone, value.fold))
    elif isinstance(value, pd.Timedelta):
        encoder.write(value.asm8)
    elif isinstance(value, pd.Period):
        encoder.write((value.ordinal, value.freqstr))
    elif isinstance(value, pd.Interval):
        encoder.write((value.left, value.right, value.closed))


_WRITERS: dict[type, Writer] = {
    pd.DataFrame: _frame,
    pd.Series: _series,
    **dict.fromkeys((pd.Timestamp, pd.Timedelta, pd.Period, pd.Interval, type(pd.NaT), type(pd.NA)), _scalar),
}
