"""JSON for everybody: what JSON has no word for is text, as ``hpo … --json`` prints it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

LARGEST = 2**63 - 1
"""The largest number that a database, or a place in a file, takes."""


def plain(value: Any) -> Any:
    """``value`` with NaN and infinities as text (https://protobuf.dev/programming-guides/json), keys as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _other(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


# Built once, and written in C: json.dumps with any option makes a new one for each call.
_encoded = json.JSONEncoder(default=_other, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def to_text(value: Any) -> str:
    """``value`` on one line."""
    try:
        return _encoded(value)
    except (
        TypeError,
        ValueError,
    ):  # what only `plain` has words for; to look for it first takes four times as long
        return _encoded(plain(value))


def to_bytes(value: Any) -> bytes:
    """``value`` as UTF-8. A lone surrogate, which UTF-8 has no bytes for, is escaped."""
    return to_text(value).encode("utf-8", "backslashreplace")


class PlainJson(Response):
    """An answer in JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return to_bytes(content)
