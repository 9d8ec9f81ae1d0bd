"""A small picture of a value for people: JSON, below 4 KB, and never the reason why an output is not kept."""

from __future__ import annotations

import json
import math
import reprlib
import sys
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from hpo_pipelines.canonical import type_name

LIMIT = 4096
"""Bytes of JSON that a preview stays below."""

_ROWS, _COLUMNS, _TEXT = 5, 12, 60


def preview(value: object) -> dict[str, Any]:
    """``type``, and by type ``length``, ``shape``, ``dtypes``, ``head`` (rows), ``size`` (bytes) or ``repr``.

    Numbers that JSON has no word for (``nan``, ``inf``) are texts. Raises nothing.
    """
    kind = type_name(type(value))[:_TEXT]
    try:
        picture = {"type": kind, **_picture_of(value)}
        for key in ("head", "dtypes", "entries", "repr"):
            if len(json.dumps(picture, allow_nan=False)) < LIMIT:
                break
            picture.pop(key, None)
    except Exception as error:  # noqa: BLE001 - a repr, or any other method of the user's class, may raise anything
        return {"type": kind, "error": f"no preview: {type(error).__name__} while looking at it"}
    return picture


def _picture_of(value: Any) -> dict[str, Any]:
    cls = type(value)
    if cls in _PICTURES:
        return _PICTURES[cls](value)
    if isinstance(value, Path):
        return _path(value)
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        return _frame(value)
    if pandas is not None and isinstance(value, pandas.Series):
        return _series(value)
    if numpy is not None and isinstance(value, numpy.ndarray):
        return _array(value)
    return {**_length(value), "repr": _short.repr(value)}


def _frame(value: Any) -> dict[str, Any]:
    columns = [(_text(label), column.array) for label, column in islice(value.items(), _COLUMNS)]
    rows = zip(*(_cells(array[:_ROWS].tolist()) for _, array in columns), strict=True)
    return {
        "shape": list(value.shape),
        "dtypes": {label: str(array.dtype)[:_TEXT] for label, array in columns},
        "head": {
            "columns": [label for label, _ in columns],
            "index": _cells(value.index[:_ROWS]),
            "rows": [list(row) for row in rows],
        },
    }


def _series(value: Any) -> dict[str, Any]:
    top = value.iloc[:_ROWS]
    head = {
        "columns": [_text(value.name)],
        "index": _cells(top.index),
        "rows": [[_cell(item)] for item in top.tolist()],
    }
    return {"shape": list(value.shape), "dtypes": {_text(value.name): str(value.dtype)[:_TEXT]}, "head": head}


def _array(value: Any) -> dict[str, Any]:
    if value.ndim <= 2:
        head = value[tuple(slice(_ROWS if axis == 0 else _COLUMNS) for axis in range(value.ndim))]
    else:
        head = value.flat[:_COLUMNS]
    if value.dtype.kind in "mM":  # tolist() would give counts of nanoseconds.
        head = head.astype(str)
    return {"shape": list(value.shape), "dtype": str(value.dtype)[:_TEXT], "head": _nested(head.tolist())}


def _nested(value: Any) -> Any:
    return [_nested(item) for item in value] if isinstance(value, list) else _cell(value)


def _path(value: Path) -> dict[str, Any]:
    if value.is_dir():
        return {"name": value.name, "entries": sorted(item.name for item in value.iterdir())[: 4 * _COLUMNS]}
    return {"name": value.name, "size": value.stat().st_size} if value.exists() else {"repr": _text(value)}


def _length(value: Any) -> dict[str, Any]:
    return {"length": len(value)} if hasattr(type(value), "__len__") else {}


def _cells(values: Any) -> list[Any]:
    return [_cell(item) for item in values]


def _cell(value: Any) -> Any:
    """Something that JSON can hold, as itself where it can."""
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if type(value) is int and abs(value) < 1 << 53:
        return value
    return _text(value)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else _short.repr(value) if _is_plain(value) else str(value)
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"


def _is_plain(value: Any) -> bool:
    return type(value) in (list, tuple, dict, set, frozenset, bytes, bytearray, int)


def _scalar(value: Any) -> dict[str, Any]:
    return {"repr": _short.repr(value), "value": _cell(value)}


class _Repr(reprlib.Repr):
    """The standard library's, but a ``__repr__`` that raises does so here too: its stand-in holds an address."""

    def repr_instance(self, x: Any, level: int) -> str:
        text = repr(x)
        return text if len(text) <= self.maxother else text[: self.maxother - 1] + "…"


_short = _Repr()
_short.maxstring = _short.maxother = 500
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = 20
_short.maxlevel = 3

_PICTURES: Mapping[type, Callable[[Any], dict[str, Any]]] = {
    **dict.fromkeys((type(None), bool, int, float), _scalar),
    **dict.fromkeys((bytes, bytearray), lambda value: {"length": len(value), "repr": _short.repr(bytes(value[:64]))}),
}
