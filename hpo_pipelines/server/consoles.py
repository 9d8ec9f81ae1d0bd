"""Console files by byte offset: a page reads on from where it was, and a 50 MB log costs what is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo_pipelines.progress import collapsed

TAIL = 64 * 1024
MOST = 1024 * 1024
"""Bytes of one answer."""


@dataclass(frozen=True)
class Part:
    """Bytes ``start`` to ``end`` of the ``size`` that a console has by now, as text."""

    start: int
    end: int
    size: int
    text: str


class ConsoleFiles:
    """One or several files, one after the other, as one sequence of bytes."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [(path, path.stat().st_size) for path in paths if path.exists()]
        self.size = sum(size for _, size in self._files)

    def read(self, start: int, end: int) -> bytes:
        """Bytes ``start`` to ``end``, or as many as there are."""
        found, offset = [], 0
        for path, size in self._files:
            first, last = max(start, offset) - offset, min(end, offset + size) - offset
            if first < last:
                with path.open("rb") as file:
                    file.seek(first)
                    found.append(file.read(last - first))
            offset += size
        return b"".join(found)

    def part(
        self, offset: int | None = None, *, before: int | None = None, limit: int = TAIL, whole: bool = True
    ) -> Part:
        """Whole lines: from ``offset`` on, those that end at ``before``, or (neither) the last ones.

        ``limit`` bytes at most. ``whole`` gives, at the end of the file, also a line without an end. Progress bars are
        reduced to their last frame.
        """
        limit = min(limit, MOST)
        if offset is not None:
            start, end = min(max(0, offset), self.size), min(max(0, offset) + limit, self.size)
        else:
            end = self.size if before is None else min(before, self.size)
            start = max(0, end - limit)
        data = self.read(start, end)
        if offset is None and start > 0:
            cut = data.find(b"\n") + 1
            data, start = data[cut:], start + cut
        if not (whole and end >= self.size):
            keep = data.rfind(b"\n") + 1
            # A line longer than the limit is given in parts rather than never.
            if keep or len(data) < limit:
                data = data[:keep]
        return Part(
            start, start + len(data), self.size, collapsed(data.decode("utf-8", "replace").replace("\r\n", "\n"))
        )
