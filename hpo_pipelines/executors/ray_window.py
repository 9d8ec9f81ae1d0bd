"""How much of our line Ray gets to hold: that goes by the order of arrival, what we hold by how many wait for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from hpo_pipelines.executors.line import Line

T = TypeVar("T")

AHEAD = 2
"""So many attempts for each CPU wait in Ray's line: its workers find the next one there when one ends."""


@dataclass
class _Shape(Generic[T]):
    """Attempts that ask for the same."""

    sent: int = 0
    """How many are in Ray's line."""
    line: Line[T] = field(default_factory=Line)


class Windows(Generic[T]):
    """Attempts that wait: in Ray's line as many as ``cpus`` allow, the others in lines of ours.

    There is a line for each ``shape``, what an attempt asks for: who waits for a GPU does not keep others from CPUs.
    ``cpus`` None: all are in Ray's line, as on a cluster that is not ours, which makes nodes for what is in it. Not
    safe to use from several threads at once.
    """

    def __init__(self, cpus: Callable[[], float | None]) -> None:
        self._cpus = cpus
        self._shapes: dict[Hashable, _Shape[T]] = {}

    def hold(self, shape: Hashable, id: str, attempt: T) -> bool:
        """Whether ``attempt`` is to wait in our line; else it is counted as in Ray's."""
        found = self._shapes.setdefault(shape, _Shape())
        if self._enter(found):
            return False
        found.line.add(id, attempt)
        return True

    def left(self, shape: Hashable) -> list[T]:
        """One has left Ray's line; those that come into it now."""
        found = self._shapes[shape]
        found.sent -= 1
        entering = [attempt for attempt, _ in found.line.serve(lambda _: self._enter(found) or None)]
        if not found.sent and not found.line:
            del self._shapes[shape]
        return entering

    def remove(self, shape: Hashable, id: str) -> bool:
        """Take ``id`` out of our line; whether it was there."""
        found = self._shapes.get(shape)
        return found is not None and found.line.remove(id) is not None

    def urge(self, id: str, waiting: int) -> None:
        """See :meth:`Line.urge`."""
        for found in self._shapes.values():
            found.line.urge(id, waiting)

    def _enter(self, shape: _Shape[T]) -> bool:
        cpus = self._cpus()
        has_room = cpus is None or shape.sent < max(1.0, AHEAD * cpus)
        shape.sent += has_room
        return has_room
