"""Where something is written: the file, its lines, and the way to a key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from search_spaces.errors import SpaceError

Keys = tuple[str | int, ...]
"""The way from the top of a document to a value: names in mappings, indices in lists."""


@dataclass(frozen=True)
class Place:
    """A key of a document, found by ``path``; ``file`` is ``None`` for a space written in Python."""

    path: Keys = ()
    file: str | None = None
    lines: Mapping[Keys, int] = field(default_factory=dict, repr=False, compare=False)

    def at(self, *keys: str | int) -> Place:
        """The place of ``keys`` inside this one."""
        return replace(self, path=(*self.path, *keys))

    @property
    def line(self) -> int | None:
        """The line (from 1) of this key, or of the nearest key around it; ``None`` where no line is known."""
        for end in range(len(self.path), -1, -1):
            if self.path[:end] in self.lines:
                return self.lines[self.path[:end]]
        return None

    def error(self, message: str) -> SpaceError:
        """A SpaceError about this place: ``space.yaml:3: lr.low: message``."""
        line = self.line
        where = self.file if line is None else f"{self.file}:{line}"
        key = ".".join(str(part) for part in self.path)
        parts = [where if self.file else None, key or None, message]
        return SpaceError(
            ": ".join(part for part in parts if part), path=self.path, file=self.file, line=line if self.file else None
        )

    @contextmanager
    def locating(self) -> Iterator[None]:
        """Errors raised inside, whose paths lead on from here, name this place."""
        try:
            yield
        except SpaceError as error:
            raise self.at(*error.path).error(str(error)) from None
