"""The content-addressed store of outputs."""

from __future__ import annotations

import atexit
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from hpo_pipelines.artifacts.codec import CloudpickleCodec, Codec
from hpo_pipelines.artifacts.container import Digests, Opened, Sealed, corrupt, seal, seal_plain
from hpo_pipelines.artifacts.culprit import culprit
from hpo_pipelines.artifacts.formats import (
    BytearrayFormat,
    BytesFormat,
    Format,
    JsonFormat,
    NpyFormat,
    PickleFormat,
    Reading,
    Written,
    format_for,
)
from hpo_pipelines.artifacts.frames import ArrowFormat, FrameFormat, ParquetFormat
from hpo_pipelines.artifacts.location import Location, StoredFile, is_local, location_of, map_copy, normal_url
from hpo_pipelines.artifacts.paths import PathFormat
from hpo_pipelines.artifacts.preview import preview
from hpo_pipelines.canonical import NotCanonical, hash_buffer, type_name, value_digest
from hpo_pipelines.errors import ArtifactError, ArtifactMissing, HpoPipelinesError, NotSerializable
from hpo_pipelines.types import ArtifactRef

INLINE_LIMIT = 8192
"""Stored bytes up to this many travel in the reference and need no file."""

_COPIED = 1 << 20

FORMATS: Sequence[Format] = (
    PathFormat(),
    BytesFormat(),
    BytearrayFormat(),
    JsonFormat(),
    NpyFormat(),
    FrameFormat(),
    PickleFormat(),
    ArrowFormat(),
    ParquetFormat(),
)
"""In order of preference; what stands behind pickle is chosen by name only."""

_BY_NAME = {known.name: known for known in FORMATS}


class ArtifactStore:
    """Outputs below ``url``: a local folder (path or ``file://``) or any URL that fsspec knows.

    Cheap to make, picklable, safe to use from many threads and processes at once. The file of an artifact is
    ``<url>/ab/cdef…``, named by its digest (:mod:`hpo_pipelines.artifacts.container` says of what). Writes are not
    forced to the disk: after a power cut an artifact may be short, which every reader notices.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.url = normal_url(url)

    @cached_property
    def _location(self) -> Location:
        return location_of(self.url)

    def __reduce__(self) -> tuple[type[ArtifactStore], tuple[str]]:
        return type(self), (self.url,)

    def __repr__(self) -> str:
        return f"ArtifactStore({self.url!r})"

    def put(
        self, value: object, *, name: str = "output", format: str | None = None, code: Codec | None = None
    ) -> ArtifactRef:
        """Store ``value`` and give what stands for it; ``name`` is the output's, for messages.

        The format follows from the type unless one is named. A value that :func:`value_digest` knows is identified by
        that, another by the digest of its bytes.

        Raises NotSerializable, ArtifactError (the place cannot be written).
        """
        digests = Digests()
        try:
            chosen = format_for(value, FORMATS, format)
            written = _write(chosen, value, code or CloudpickleCodec())
        except NotSerializable as refusal:
            raise NotSerializable(
                f"output {name!r} of type {type_name(type(value))} cannot be stored: {refusal}."
            ) from (refusal.__cause__)
        identity = _identity(value if written.stand_in is None else written.stand_in, digests)
        sealed = seal(written.parts, digests) if chosen.indexed else seal_plain(_only(written), digests)
        return ArtifactRef(
            digest=sealed.digest,
            value_digest=identity or sealed.digest,
            format=chosen.name,
            size=sealed.size,
            preview=preview(value),
            inline=self._keep(sealed),
        )

    def put_bytes(self, data: bytes | bytearray | memoryview, format: str = "bytes") -> ArtifactRef:
        """Store ``data`` as it is, under a format of the caller's own choice unless it is ``"bytes"``."""
        if format == "bytes":
            return self.put(bytes(data))
        if format in _BY_NAME:
            raise ArtifactError(f"put_bytes(format={format!r}): this format is made from values; use put(…, format=).")
        sealed = seal_plain(memoryview(data).cast("B"), Digests())
        picture = {"type": "bytes", "length": sealed.size}
        return ArtifactRef(sealed.digest, sealed.digest, format, sealed.size, picture, self._keep(sealed))

    def get(self, ref: ArtifactRef, *, code: Codec | None = None, folder: Path | None = None) -> Any:
        """The value: the caller's own copy, whose memory may be written to and is shared with nobody.

        A path is put below ``folder``, by default a temporary one that lasts as long as this process. Size, index and
        first part are checked against the digest; the buffers behind it only by :meth:`verify`.

        Raises ArtifactMissing, ArtifactCorrupt, ArtifactError (its classes or packages are not here), and what
        ``code`` raises of ours.
        """
        known = _BY_NAME.get(ref.format)
        if known is None:
            raise ArtifactError(
                f"artifact {ref.digest} has format {ref.format!r}, which holds no value; read it with read_bytes."
            )
        parts = _checked(self._map(ref), ref)
        try:
            return known.read(parts, Reading(code or CloudpickleCodec(), lambda: _fresh_folder(folder)))
        except HpoPipelinesError:
            raise
        except OSError as error:
            raise ArtifactError(f"artifact {ref.digest} cannot be unpacked: {error}. Is there room for it?") from error
        except Exception as error:
            raise ArtifactError(
                f"artifact {ref.digest} ({ref.format} of a {ref.preview.get('type', 'value')}) cannot be read here: "
                f"{type(error).__name__}: {error}. It needs the code and package versions it was written with."
            ) from error

    def exists(self, ref: ArtifactRef) -> bool:
        """Whether the bytes are there, in full length. Raises ArtifactError if the place cannot be reached."""
        return ref.inline is not None or self._location.size(ref.digest) == ref.size

    def open(self, ref: ArtifactRef) -> BinaryIO:
        """The stored bytes as a readable file, checked against nothing. Raises ArtifactMissing."""
        if ref.inline is not None:
            return io.BytesIO(ref.inline)
        try:
            return self._location.open(ref.digest)
        except FileNotFoundError as error:
            raise ArtifactMissing(
                f"artifact {ref.digest} is no longer in {self.url}. Run the step that made it again (hpo rerun)."
            ) from error

    def read_bytes(self, ref: ArtifactRef) -> bytes:
        """The stored bytes, every one checked. Raises ArtifactMissing, ArtifactCorrupt."""
        view = self._map(ref)
        _checked(view, ref, everything=True)
        return bytes(view)

    @property
    def is_local(self) -> bool:
        """Whether it is a folder, whose path is ``url``."""
        return is_local(self.url)

    def copy(self, ref: ArtifactRef, other: ArtifactStore) -> None:
        """Have the artifact in ``other`` too, as it is. Raises ArtifactMissing, ArtifactError."""
        if ref.inline is None and not other._location.keep(ref.digest, ref.size):
            with self.open(ref) as file:
                other._location.write(ref.digest, lambda target: shutil.copyfileobj(file, target, _COPIED))

    def verify(self, ref: ArtifactRef) -> None:
        """Read every byte and compare. Raises ArtifactMissing, ArtifactCorrupt."""
        _checked(self._map(ref), ref, everything=True)

    def delete(self, ref: ArtifactRef) -> None:
        """Remove the file, if there is one. Memory that readers hold stays as it is. Raises ArtifactError."""
        if ref.inline is None:
            self._location.delete(ref.digest)

    def files(self) -> Iterator[StoredFile]:
        """Every file here, named by the digest of its artifact, and what killed writers left. Raises ArtifactError."""
        return self._location.files()

    def sweep(self, file: StoredFile, before: float) -> bool:
        """Remove a listed file, unless it was put again since ``before`` (seconds since the epoch).

        Whether it was removed now. Safe beside processes that put (:mod:`hpo_pipelines.artifacts.location` says how
        safe). Raises ArtifactError.
        """
        return self._location.sweep(file, before)

    def _keep(self, sealed: Sealed) -> bytes | None:
        """Write what is too long to travel inside its reference; what is not, give back."""
        if sealed.size <= INLINE_LIMIT:
            file = io.BytesIO()
            sealed.write(file)
            return file.getvalue()
        if not self._location.keep(sealed.digest, sealed.size):
            self._location.write(sealed.digest, sealed.write)
        return None

    def _map(self, ref: ArtifactRef) -> memoryview:
        if ref.inline is not None:
            return memoryview(bytearray(ref.inline))
        with self.open(ref) as file:
            return map_copy(file)


def _checked(view: memoryview, ref: ArtifactRef, *, everything: bool = False) -> Sequence[memoryview]:
    """The parts of an artifact. Raises ArtifactCorrupt if the length or what is looked at is not as written."""
    if view.nbytes != ref.size:
        raise corrupt(ref.digest, f"it has {view.nbytes} bytes instead of {ref.size}")
    known = _BY_NAME.get(ref.format)
    if known is None or not known.indexed:
        if hash_buffer(view).hex() != ref.digest:
            raise corrupt(ref.digest, "its bytes do not match its digest")
        return [view]
    opened = Opened(view, ref.digest, ref.digest)
    if everything:
        opened.check_all()
    else:
        opened.check(0)
    return opened.parts


def _write(chosen: Format, value: object, codec: Codec) -> Written:
    try:
        return chosen.write(value, codec)
    except NotSerializable:
        raise
    except OSError as error:
        raise NotSerializable(f"{error}; everything it consists of must be readable by this user") from error
    except Exception as error:  # A pickle runs the user's own methods, which may raise anything.
        where = culprit(value, codec)
        raise NotSerializable(
            f"{error or type(error).__name__}{where}. Return what it was made from, give its class a "
            "__getstate__ that leaves the culprit out, or write it to a file and return the Path"
        ) from error


def _identity(value: object, digests: Digests) -> str | None:
    try:
        return value_digest(value, buffer_digest=digests)
    except NotCanonical:
        return None


def _only(written: Written) -> memoryview:
    (part,) = written.parts
    assert isinstance(part, memoryview), "a plain artifact is made in memory"
    return part


_folders: dict[int, Path] = {}


def _fresh_folder(parent: Path | None) -> Path:
    """A new folder, below one that is removed at the end of this very process (not of a fork of it)."""
    if parent is None:
        pid = os.getpid()
        if pid not in _folders:
            _folders[pid] = Path(tempfile.mkdtemp(prefix="hpo-artifacts-"))
            atexit.register(_remove, pid)
        parent = _folders[pid]
    return Path(tempfile.mkdtemp(dir=parent))


def _remove(pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(_folders[pid], ignore_errors=True)
