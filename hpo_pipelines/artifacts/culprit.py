"""Finding the part of a value that cannot be pickled."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import Any

from hpo_pipelines.artifacts.codec import Codec
from hpo_pipelines.canonical import type_name

_DEPTH = 8
_BREADTH = 200


def culprit(value: object, codec: Codec) -> str:
    """`` (at .model[0].lock, of type _thread.lock)``: the innermost part that fails; empty for the value itself.

    Follows items and attributes, eight levels down and the first 200 of each, since every look is a pickle.
    """
    path = ""
    if not _fails(value, codec):
        return path
    for _ in range(_DEPTH):
        step = next(((name, part) for name, part in _parts(value) if _fails(part, codec)), None)
        if step is None:
            break
        path, value = path + step[0], step[1]
    return f" (at {path}, of type {type_name(type(value))})" if path else ""


def _fails(value: object, codec: Codec) -> bool:
    try:
        codec.dump(value, BytesIO(), lambda buffer: False)
    except Exception:  # noqa: BLE001 - that it fails is the answer
        return True
    return False


def _parts(value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        found = ((f"[{key!r:.40}]", item) for key, item in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        found = ((f"[{index}]", item) for index, item in enumerate(value))
    elif (pandas := sys.modules.get("pandas")) is not None and isinstance(value, pandas.DataFrame | pandas.Series):
        found = ((f"[{label!r:.40}]", item) for label, item in value.items())
    else:
        found = ((f".{name}", item) for name, item in _state(value).items())
    yield from islice(found, _BREADTH)


def _state(value: Any) -> dict[str, Any]:
    """The attributes that a pickle holds."""
    try:
        state = value.__getstate__()
    except Exception:  # noqa: BLE001 - the user's own method; then the value itself is the culprit
        return {}
    if isinstance(state, tuple):  # With __slots__ there are two dicts.
        return {name: item for part in state if isinstance(part, dict) for name, item in part.items()}
    return state if isinstance(state, dict) else {}
