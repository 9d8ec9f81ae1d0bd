"""What encodings are written with: an encoder that hashes as it goes, and the refusal of what has no identity."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from blake3 import blake3

from hpo_pipelines.canonical.leaves import LEAVES, text
from hpo_pipelines.errors import HpoPipelinesError

BufferDigest = Callable[[memoryview], bytes]
"""Gives the 32-byte BLAKE3 of a contiguous view of bytes."""

Writer = Callable[["Encoder", Any], None]
"""Appends the encoding of a value of one class."""

_BIG = 1 << 16  # From this many bytes on a buffer enters the encoding by its digest.
_FLUSH = 1 << 20


class NotCanonical(HpoPipelinesError, TypeError):
    """A value has no canonical identity.

    ``path`` leads to the culprit inside the value (``[3].model``, empty for the value itself), ``type_name`` is its
    type and ``why`` the reason.
    """

    def __init__(self, path: str, type_name: str, why: str) -> None:
        super().__init__(path, type_name, why)
        self.path, self.type_name, self.why = path, type_name, why

    @property
    def said(self) -> str:
        """What is to be said behind the name of the value: ``is of type generator, which has no identity: …``."""
        holds = f"holds at {self.path} a value" if self.path else "is"
        return f"{holds} of type {self.type_name}, which has no identity: {self.why}"

    def __str__(self) -> str:
        return f"the value {self.said}"

    def below(self, step: str) -> NotCanonical:
        """The same refusal, seen from the container that holds the value at ``step``."""
        return NotCanonical(step + self.path, self.type_name, self.why)


def type_name(cls: type) -> str:
    """``module.qualname``, without ``builtins.``."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def hash_buffer(view: memoryview) -> bytes:
    """The 32-byte BLAKE3 of ``view``.

    On one thread: BLAKE3's thread pool does not survive ``os.fork``, which user code in a step may call.
    """
    return blake3(view).digest()


class Encoder:
    """Writes canonical encodings into a BLAKE3, a megabyte at a time."""

    __slots__ = ("_buffer_digest", "_hasher", "_writer_of", "out")

    def __init__(
        self, buffer_digest: BufferDigest, writer_of: Callable[[type], Writer], *, nested: bool = False
    ) -> None:
        self.out = bytearray()
        self._writer_of = writer_of
        self._buffer_digest = buffer_digest
        self._hasher = None if nested else blake3()

    def write(self, value: Any) -> None:
        """Append the encoding of ``value``. Raises NotCanonical."""
        cls = type(value)
        leaf = LEAVES.get(cls)
        if leaf is not None:
            self.out += leaf(value)
        else:
            self._writer_of(cls)(self, value)

    def write_at(self, step: str, value: Any) -> None:
        """Append the encoding of a part of a value; a refusal says that the part sits at ``step``."""
        try:
            self.write(value)
        except NotCanonical as refusal:
            raise refusal.below(step) from None

    def tag(self, name: str) -> None:
        """Append a name that tells kinds of values apart."""
        self.out += text(name)

    def buffer(self, view: memoryview, *, scratch: bool = False) -> None:
        """Append the bytes of a contiguous ``view``; ``scratch`` says that it is a copy, not part of the value."""
        if view.nbytes < _BIG:
            self.out += b"y%x:" % view.nbytes
            self.out += view
        else:
            self.digest(view.nbytes, hash_buffer(view) if scratch else self._buffer_digest(view))

    def pieces(self, views: Iterable[memoryview], size: int) -> None:
        """Append ``size`` bytes that come in several views, exactly as :meth:`buffer` would in one."""
        if size < _BIG:
            self.buffer(memoryview(b"".join(views)), scratch=True)
            return
        hasher = blake3()
        for view in views:
            hasher.update(view)
        self.digest(size, hasher.digest())

    def digest(self, size: int, digest: bytes) -> None:
        """Append ``size`` bytes of which only the digest is at hand."""
        self.out += b"#%x:" % size
        self.out += digest

    def nested(self, value: object) -> bytes:
        """The encoding of ``value`` by itself, for sorting."""
        leaf = LEAVES.get(type(value))
        if leaf is not None:
            return leaf(value)
        inner = Encoder(self._buffer_digest, self._writer_of, nested=True)
        inner.write(value)
        return bytes(inner.out)

    def flush(self) -> None:
        """Keep memory bounded while a long value is written."""
        if self._hasher is not None and len(self.out) >= _FLUSH:
            self._hasher.update(self.out)
            self.out = bytearray()

    def hexdigest(self) -> str:
        assert self._hasher is not None, "a nested encoding has no digest of its own"
        self._hasher.update(self.out)
        self.out = bytearray()
        return self._hasher.hexdigest()
