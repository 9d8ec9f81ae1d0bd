"""Values of parameters: plain JSON, compared by type, and the scalars of YAML 1.2."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from numbers import Integral, Real
from typing import Any

from search_spaces.errors import SpaceError

_DEEPEST = 50


def plain(value: object, path: tuple[str | int, ...] = ()) -> Any:
    """A deep copy of ``value`` made of ``None``, bool, int, float, str, list and dict alone.

    An Enum's member becomes its value, a tuple a list, a NumPy number a Python one. Raises SpaceError (with ``path``
    leading to the culprit) for what JSON cannot hold: NaN and infinities, keys that are not text, other objects.
    """
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return _finite(float(value), path)
    if len(path) > _DEEPEST:
        raise SpaceError(f"a value nests at most {_DEEPEST} deep; this one goes deeper: flatten it.", path=path)
    if isinstance(value, list | tuple):
        return [plain(item, (*path, index)) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {_key(key, path): plain(item, (*path, str(key))) for key, item in value.items()}
    raise SpaceError(
        f"a value is a scalar, a list or a dict, as JSON has them; got {value!r} of type {type(value).__name__}: "
        "write it as text or as its parts.",
        path=path,
    )


def _text(value: str, path: tuple[str | int, ...]) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SpaceError(f"text is valid Unicode; {value!r} holds half a surrogate pair.", path=path) from None
    return str(value)


def _finite(value: float, path: tuple[str | int, ...]) -> float:
    if math.isfinite(value):
        return value
    raise SpaceError(
        f"a value is finite, since JSON has no {value!r}: use null, or leave the parameter out.", path=path
    )


def _key(key: object, path: tuple[str | int, ...]) -> str:
    if isinstance(key, str):
        return _text(str(key.value) if isinstance(key, Enum) else key, path)
    raise SpaceError(f'a key is text; got {key!r}: put it in quotes, "{key}".', path=path)


def canonical(value: Any) -> str:
    """The one JSON text of a plain ``value``; ``1``, ``1.0`` and ``true`` have three.

    Scikit-learn's ``max_features`` shows why they must: 1 is one feature, 1.0 is all of them.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def comparable(value: object) -> str:
    """Like :func:`canonical`, but a whole float is its integer: what a person means by ``when: {depth: 3.0}``.

    Empty, and so equal to no plain value's text, for what :func:`plain` refuses.
    """
    try:
        return canonical(_whole(plain(value)))
    except SpaceError:
        return ""


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    return value


_CONSTANTS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


def scalar(text: str) -> bool | int | float | str | None:
    """The value of a plain scalar by YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#1032-tag-resolution).

    ``1e-5`` is a number; ``no``, ``None``, ``1_000`` and dates are text.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def nearest(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'log'?`` for the closest of the ``known`` words, nothing when none is close."""
    close = difflib.get_close_matches(word, list(known), n=3)
    # difflib finds "lgo" as near to "low" as to "log", but swapped letters are the likelier slip.
    close.sort(key=lambda candidate: sorted(candidate) != sorted(word))
    return f" Did you mean {close[0]!r}?" if close else ""
