"""Conditions: a parameter that exists only while others have certain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from search_spaces.errors import SpaceError
from search_spaces.values import canonical, plain


class Condition(Mapping[str, tuple[Any, ...]]):
    """``{"encoder": "hash", "depth": [2, 3]}``: every parent named must have one of the values listed; immutable.

    A list is several allowed values, so one value that is itself a list is written ``[[64, 64]]``. No parent at all
    means unconditional, and is false. Reads as a mapping from each parent to the tuple of its allowed values.
    """

    __slots__ = ("_allowed",)

    def __init__(self, when: Mapping[str, Any] | None = None) -> None:
        """Raises SpaceError unless ``when`` maps names to values or non-empty lists of values."""
        if when is not None and not isinstance(when, Mapping):
            raise SpaceError(f"when maps parameters to values; got {when!r}: write when: {{encoder: hash}}.")
        self._allowed = {_parent(name): _values(name, value) for name, value in (when or {}).items()}

    def __getitem__(self, parent: str) -> tuple[Any, ...]:
        return self._allowed[parent]

    def __iter__(self) -> Iterator[str]:
        return iter(self._allowed)

    def __len__(self) -> int:
        return len(self._allowed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Condition) and self.identity() == other.identity()

    def __hash__(self) -> int:
        return hash(canonical(self.identity()))

    def __repr__(self) -> str:
        return f"Condition({self.as_dict()!r})"

    def as_dict(self) -> dict[str, Any]:
        """The form written in files; ``Condition(condition.as_dict())`` is equal."""
        return {
            parent: allowed[0] if len(allowed) == 1 and not isinstance(allowed[0], list) else list(allowed)
            for parent, allowed in self._allowed.items()
        }

    def identity(self) -> dict[str, list[str]]:
        """What makes two conditions one: the allowed values of each parent, in whatever order they were written."""
        return {parent: sorted(set(map(canonical, allowed))) for parent, allowed in self._allowed.items()}


def _parent(name: object) -> str:
    if isinstance(name, str) and name:
        return str(name)
    raise SpaceError(f"when names parameters by text; got {name!r}: write when: {{encoder: hash}}.")


def _values(parent: str, value: object) -> tuple[Any, ...]:
    several = isinstance(value, list | tuple)
    values = plain(value, (parent,)) if several else [plain(value, (parent,))]
    if not values:
        raise SpaceError("when needs at least one allowed value; got []: list the values.", path=(parent,))
    return tuple(values)
