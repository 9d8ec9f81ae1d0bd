"""The line of attempts that wait for a free worker: who many wait for goes first, and nobody is passed for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
W = TypeVar("W")

PATIENCE = 32
"""So often is an attempt overtaken; then no other goes before it."""


@dataclass(eq=False)
class _Place(Generic[T]):
    item: T
    waited_for: int = 0
    """How many steps of other runs wait for what it computes."""
    overtaken: int = 0


class Line(Generic[T]):
    """Attempts by their id. Not safe to use from several threads at once.

    Served first is the attempt that most others wait for; among equals the one that came first. An attempt that does
    not fit what is free lets those behind it pass, each of which overtakes it. One that was overtaken :data:`PATIENCE`
    times is served before all others, and if it does not fit, they wait for it.
    """

    def __init__(self) -> None:
        self._places: dict[str, _Place[T]] = {}
        self._is_plain = True
        """Whether the order of arrival is the order of service, but for those who are late."""
        self._late = 0
        """How many are not to be overtaken any more."""

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[T]:
        """The attempts in the order of their arrival."""
        return iter([place.item for place in self._places.values()])

    def add(self, id: str, item: T) -> None:
        """``item`` comes last."""
        self._places[id] = _Place(item)

    def remove(self, id: str) -> T | None:
        """Take ``id`` out; None if it is not in the line."""
        place = self._places.pop(id, None)
        if place is None:
            return None
        self._late -= place.overtaken >= PATIENCE
        return place.item

    def clear(self) -> list[T]:
        """Take all out, in the order of their arrival."""
        items = list(self)
        self._places.clear()
        self._late = 0
        return items

    def urge(self, id: str, waiting: int) -> None:
        """So many steps wait for what ``id`` computes; unknown ids are nothing."""
        place = self._places.get(id)
        if place is not None:
            place.waited_for = waiting
            self._is_plain = False

    @property
    def is_blocked(self) -> bool:
        """Whether somebody in it is not to be overtaken any more."""
        return self._late > 0

    def serve(self, claim: Callable[[T], W | None]) -> list[tuple[T, W]]:
        """Take out all for whom ``claim`` gives a worker, asked in the order of service; with those workers.

        What ``claim`` raises goes through; who it was asked for then stays in the line.
        """
        served: list[tuple[T, W]] = []
        for id in self._order():
            place = self._places[id]
            worker = claim(place.item)
            if worker is not None:
                self._pass(id)
                served.append((place.item, worker))
            elif place.overtaken >= PATIENCE:
                break
        return served

    def overtake(self) -> None:
        """Somebody who was never in the line was served before all who are."""
        for place in self._places.values():
            self._overtake(place)

    def _overtake(self, place: _Place[T]) -> None:
        place.overtaken += 1
        self._late += place.overtaken == PATIENCE

    def _order(self) -> list[str]:
        if not self._places:
            self._is_plain = True
        if self._is_plain and not self.is_blocked:
            return list(self._places)
        # Sorting is stable: equals stay in the order of their arrival.
        return sorted(self._places, key=lambda id: self._rank(self._places[id]))

    def _rank(self, place: _Place[T]) -> tuple[bool, int]:
        late = place.overtaken >= PATIENCE
        return not late, 0 if late else -place.waited_for

    def _pass(self, id: str) -> None:
        """``id`` leaves the line as one who is served."""
        for other, place in self._places.items():
            if other == id:
                break
            self._overtake(place)
        self.remove(id)
