"""The bytes of an artifact: parts laid one after the other, and an index of their digests.

A *plain* artifact is one part, as it is; its digest is the BLAKE3 of the file. An *indexed* one is

    part, padding to 64 bytes, part, … , index

    index    count of parts (u32), then for each: offset (u64), length (u64), count of segments (u32)
             then for each segment of each part: length (u64), BLAKE3 (32 bytes)
             length of all the above (u64), ``hpoparts`` (8 bytes)

with little-endian numbers, and its digest is the BLAKE3 of the index: a tree of hashes two levels high. So a column
that was hashed for the identity of a frame is not hashed again for storage, and a reader checks the index and the first
part without reading the rest. Readers of ``.npy`` and pickle files stop before the index: they read the file as it is.
"""

from __future__ import annotations

import shutil
import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from blake3 import blake3

from hpo_pipelines.canonical import hash_buffer
from hpo_pipelines.errors import ArtifactCorrupt, ArtifactError

_MAGIC = b"hpoparts"
_ALIGN = 64
_COUNT, _PART, _SEGMENT, _FOOTER = (struct.Struct(code) for code in ("<I", "<QQI", "<Q32s", "<Q8s"))
_SMALL = 1 << 16  # Buffers below this are not worth remembering.


class Segment(NamedTuple):
    length: int
    digest: bytes


class Digests:
    """Remembers the digest of each large buffer by where it lies in memory, so that none is hashed twice.

    It keeps every buffer alive, since an address means nothing once its memory was given back.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[memoryview, bytes]] = {}

    def __call__(self, view: memoryview) -> bytes:
        """The BLAKE3 of ``view``, hashed now or before."""
        if view.nbytes < _SMALL:
            return hash_buffer(view)
        start = _address(view)
        known = self._known.get(start)
        if known is None or known[0].nbytes != view.nbytes:
            known = self._known[start] = (view, hash_buffer(view))
        return known[1]

    def segments(self, view: memoryview) -> Iterator[Segment]:
        """``view`` cut where remembered buffers begin and end."""
        if view.nbytes < _SMALL:
            yield Segment(view.nbytes, hash_buffer(view))
            return
        start, done = _address(view), 0
        starts = sorted(self._known)
        for address in starts[bisect_left(starts, start) :]:
            at, (known, digest) = address - start, self._known[address]
            if at < done or at + known.nbytes > view.nbytes:
                continue
            if at > done:
                yield Segment(at - done, hash_buffer(view[done:at]))
            yield Segment(known.nbytes, digest)
            done = at + known.nbytes
        if done < view.nbytes:
            yield Segment(view.nbytes - done, hash_buffer(view[done:]))


def _address(view: memoryview) -> int:
    import numpy as np

    return int(np.frombuffer(view, np.uint8).__array_interface__["data"][0])


@dataclass(frozen=True)
class FilePart:
    """A file whose content is a part, hashed when this was made."""

    path: Path
    size: int
    digest: bytes
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> FilePart:
        before = path.stat()
        hasher, size = blake3(), 0
        with path.open("rb") as file:  # Not mapped: a file that shrinks under a map ends the process.
            while piece := file.read(1 << 20):
                hasher.update(piece)
                size += len(piece)
        return cls(path, size, hasher.digest(), before.st_mtime_ns)

    def write(self, file: BinaryIO) -> None:
        """Copy the file into ``file``. Raises ArtifactError if it is no longer what was hashed."""
        now = None
        with suppress(FileNotFoundError):
            with self.path.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
            now = self.path.stat()
        if now is None or (now.st_size, now.st_mtime_ns) != (self.size, self.changed_ns):
            raise ArtifactError(
                f"{self.path} changed while it was being stored. Close the file and wait for its writers before "
                "returning its path."
            )


Part = memoryview | FilePart


@dataclass(frozen=True)
class Sealed:
    """Parts ready to be written, with what will be their digest and size in bytes."""

    parts: tuple[Part, ...]
    index: bytes
    digest: str
    size: int

    def write(self, file: BinaryIO) -> None:
        position = 0
        for part in self.parts:
            if self.index:
                file.write(bytes(-position % _ALIGN))
                position += -position % _ALIGN
            if isinstance(part, FilePart):
                part.write(file)
                position += part.size
            else:
                file.write(part)
                position += part.nbytes
        file.write(self.index)


def seal_plain(part: memoryview, digests: Digests) -> Sealed:
    """One part, stored as it is."""
    return Sealed((part,), b"", digests(part).hex(), part.nbytes)


def seal(parts: Sequence[Part], digests: Digests) -> Sealed:
    """Several parts and their index."""
    head, tail = bytearray(_COUNT.pack(len(parts))), bytearray()
    position = 0
    for part in parts:
        position += -position % _ALIGN
        if isinstance(part, FilePart):
            length, segments = part.size, [Segment(part.size, part.digest)]
        else:
            length, segments = part.nbytes, list(digests.segments(part))
        head += _PART.pack(position, length, len(segments))
        for segment in segments:
            tail += _SEGMENT.pack(*segment)
        position += length
    body = head + tail
    index = bytes(body + _FOOTER.pack(len(body), _MAGIC))
    return Sealed(tuple(parts), index, blake3(index).hexdigest(), position + len(index))


class Opened:
    """The parts of an indexed artifact in memory. Raises ArtifactCorrupt if the index is not that of ``digest``."""

    def __init__(self, view: memoryview, digest: str, name: str) -> None:
        self._name = name
        footer = view[-_FOOTER.size :]
        length, magic = _FOOTER.unpack(footer) if footer.nbytes == _FOOTER.size else (0, b"")
        end = view.nbytes - _FOOTER.size
        if magic != _MAGIC or length > end or blake3(view[end - length :]).hexdigest() != digest:
            raise corrupt(name, "its index does not match its digest")
        body = view[end - length : end]
        (count,) = _COUNT.unpack_from(body)
        self.parts: list[memoryview] = []
        self._gaps: list[memoryview] = []
        reached = 0
        self._segments: list[list[Segment]] = []
        cursor = _COUNT.size + count * _PART.size
        for number in range(count):
            offset, size, segments = _PART.unpack_from(body, _COUNT.size + number * _PART.size)
            self.parts.append(view[offset : offset + size])
            self._gaps.append(view[reached:offset])
            reached = offset + size
            found = _SEGMENT.iter_unpack(body[cursor : cursor + segments * _SEGMENT.size])
            self._segments.append([Segment(*fields) for fields in found])
            cursor += segments * _SEGMENT.size

    def check(self, number: int) -> None:
        """Hash part ``number`` anew. Raises ArtifactCorrupt."""
        start = 0
        for segment in self._segments[number]:
            if hash_buffer(self.parts[number][start : start + segment.length]) != segment.digest:
                raise corrupt(self._name, f"part {number} differs from byte {start} on")
            start += segment.length

    def check_all(self) -> None:
        """Check every byte, those between the parts too. Raises ArtifactCorrupt."""
        for number in range(len(self.parts)):
            self.check(number)
        if any(any(gap) for gap in self._gaps):
            raise corrupt(self._name, "there are bytes between its parts")


def corrupt(name: str, what: str) -> ArtifactCorrupt:
    return ArtifactCorrupt(
        f"artifact {name} is damaged: {what}. An artifact's bytes never change once written: delete it, and run the "
        "step that made it again."
    )
