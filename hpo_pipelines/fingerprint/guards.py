"""What a fingerprint was computed from, in a form that is quickly compared with what is there now."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from itertools import repeat
from types import CellType, FunctionType
from typing import Any

from hpo_pipelines.canonical import NotCanonical, value_digest

MISSING = object()
"""What a name stands for that is not there."""


class Guards:
    """Notes taken while code is followed; :meth:`hold` says whether all of it is still so.

    Names and members are compared by identity. A mutable value that was digested is digested again, each time: there
    is no cheaper way to know that nobody has written into it. An array that nobody can write into is spared that.
    """

    def __init__(self) -> None:
        self._spaces: dict[int, tuple[Mapping[str, Any], dict[str, Any]]] = {}
        self._members: dict[int, tuple[object, Callable[[Any], Iterable[Any]], tuple[Any, ...]]] = {}
        self._contents: dict[int, tuple[object, str, bool]] = {}
        self._alive: list[object] = []

    def name(self, space: Mapping[str, Any], name: str, value: object) -> None:
        """``space[name]`` is ``value`` (MISSING: is not there)."""
        self._spaces.setdefault(id(space), (space, {}))[1][name] = value

    def members(self, owner: object, read: Callable[[Any], Iterable[Any]]) -> None:
        """``read(owner)`` gives the objects it gives now."""
        if id(owner) not in self._members:
            self._members[id(owner)] = (owner, read, tuple(read(owner)))

    def content(self, value: object, digest: str) -> None:
        """``value`` has this digest."""
        if _is_constant(value):
            self._alive.append(value)
        else:
            self._contents[id(value)] = (value, digest, _is_read_only(value))

    def keep(self, value: object) -> None:
        """``value`` stays alive, so that its identity remains its own."""
        self._alive.append(value)

    def hold(self) -> bool:
        """Whether nothing of what was noted has changed."""
        for space, names in self._spaces.values():
            if not all(map(operator.is_, map(space.get, names, repeat(MISSING)), names.values())):
                return False
        for owner, read, seen in self._members.values():
            now = tuple(read(owner))
            if len(now) != len(seen) or not all(map(operator.is_, now, seen)):
                return False
        return all(
            (read_only and _is_read_only(value)) or _digest(value) == digest
            for value, digest, read_only in self._contents.values()
        )


_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type(...), range})


def _is_constant(value: object) -> bool:
    """Whether ``value`` is made of nothing that could change: tuples of numbers and texts."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, tuple | frozenset) and type(item) in (tuple, frozenset):
            pending += item
        elif type(item) not in _ATOMS:
            return False
    return True


def _is_read_only(value: Any) -> bool:
    """Whether ``value`` is an array that neither itself nor any array that it is a view of lets anybody write into."""
    while type(value).__name__ == "ndarray" and type(value).__module__ == "numpy":
        if value.flags.writeable or value.dtype.hasobject:
            return False
        value = value.base
        if value is None or type(value) is bytes:
            return True
    return False


def _digest(value: object) -> str | None:
    try:
        return value_digest(value)
    except NotCanonical:
        return None


def parts_of_function(function: FunctionType) -> tuple[Any, ...]:
    """The objects that make a function what it is: its code, its defaults, its closure."""
    defaults, named = function.__defaults__ or (), function.__kwdefaults__ or {}
    cells = map(content_of_cell, function.__closure__ or ())
    return (function.__code__, *defaults, *named.values(), *cells)


def content_of_cell(cell: CellType) -> Any:
    """What a closure cell holds, MISSING while that is not assigned."""
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def items_of_dict(value: Mapping[Any, Any]) -> tuple[Any, ...]:
    return (*value, *value.values())


def names_of(value: object) -> tuple[Any, ...]:
    """The attributes of a class or an instance, by identity."""
    return tuple(vars(value).values())
