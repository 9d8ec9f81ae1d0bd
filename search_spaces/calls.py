"""Distributions written as calls: ``loguniform(1e-5, 1e-1)``, ``int(1, 9, step=2)``, ``choice(a, b)``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from search_spaces.distributions import Categorical, Distribution, Float, Int
from search_spaces.documents import read
from search_spaces.errors import SpaceError
from search_spaces.values import nearest, scalar

_CALL = re.compile(r"\s*([A-Za-z_]\w*)\s*\((.*)\)\s*", re.DOTALL)
_KEYWORD = re.compile(r"\s*([A-Za-z_]\w*)\s*=(.*)", re.DOTALL)
_NESTED = re.compile(r"[\[\]{}\"']")
_USAGE = (
    "uniform(low, high), uniform(low, high, step=s), loguniform(low, high), "
    "int(low, high), int(low, high, log), int(low, high, step=s), choice(a, b, …)"
)
_FOREIGN = {
    "categorical", "float", "grid_search", "interval", "lograndint", "normal", "qlograndint", "qloguniform",
    "qrandint", "quniform", "randint", "range", "sample_from",
}  # fmt: skip
"""Names that other tools give to distributions: taking such a call for plain text would hide a mistake."""


def parse_call(text: str) -> Distribution | None:
    """The distribution that ``text`` calls, ``None`` for text that is no such call.

    Raises SpaceError for a call with wrong arguments, and for one that only resembles a known one.
    """
    match = _CALL.fullmatch(text)
    if match is None:
        return None
    name = match[1]
    if name in _FORMS:
        try:
            return _FORMS[name](match[2])
        except SpaceError as error:
            raise SpaceError(f"{text.strip()}: {error}") from None
    meant = nearest(name, _FORMS)
    if meant or name in _FOREIGN:
        raise SpaceError(
            f"{text.strip()}: {name!r} is no distribution.{meant} Write {_USAGE}; or quote it, if text is meant."
        )
    return None


def _uniform(text: str) -> Distribution:
    return Float(**_range(text, log=False))


def _loguniform(text: str) -> Distribution:
    return Float(**_range(text, log=True))


def _int(text: str) -> Distribution:
    return Int(**_range(text, log=False))


def _choice(text: str) -> Distribution:
    return Categorical(_values(text))


_FORMS: dict[str, Callable[[str], Distribution]] = {
    "uniform": _uniform,
    "loguniform": _loguniform,
    "int": _int,
    "choice": _choice,
}


def _range(text: str, *, log: bool) -> dict[str, Any]:
    """The keyword arguments of a range: low and high by place, then the word ``log`` or ``step=…``."""
    arguments: dict[str, Any] = {"log": True} if log else {}
    for index, part in enumerate(text.split(",")):
        keyword = _KEYWORD.fullmatch(part)
        if keyword:
            name, value = keyword[1], scalar(keyword[2].strip())
        elif index < 2:
            name, value = ("low", "high")[index], scalar(part.strip())
        elif part.strip() == "log":
            name, value = "log", True
        else:
            raise SpaceError(f"after low and high comes log or step=…; got {part.strip()!r}. Write {_USAGE}.")
        if name not in ("low", "high", "log", "step"):
            raise SpaceError(f"a range has low, high, log, step; got {name!r}.{nearest(name, ('low', 'high', 'step'))}")
        if name in arguments and not (log and name == "log"):
            raise SpaceError(f"{name} comes once; got it twice: drop one.")
        arguments[name] = value
    if not {"low", "high"} <= arguments.keys():
        raise SpaceError(f"a range needs low and high; got ({text}). Write {_USAGE}.")
    return arguments


def _values(text: str) -> list[Any]:
    if _NESTED.search(text):  # the YAML reader costs 0.2 s to import, so only quotes and brackets pay for it
        values: list[Any] = read(f"[{text}]", "yaml", "choices").value
        return values
    parts = [part.strip() for part in text.split(",")]
    if "" in parts:
        raise SpaceError("choices are not empty; got nothing before or after a comma: write null or ''.")
    return [scalar(part) for part in parts]
