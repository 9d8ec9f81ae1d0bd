"""Parts, segments and the index."""

from __future__ import annotations

import io

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from hpo_pipelines.artifacts.container import Digests, Opened, Sealed, seal, seal_plain
from hpo_pipelines.errors import ArtifactCorrupt


def written(sealed: Sealed) -> bytes:
    file = io.BytesIO()
    sealed.write(file)
    return file.getvalue()


def view(array: np.ndarray) -> memoryview:  # type: ignore[type-arg]
    return memoryview(array).cast("B")


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_law_parts_come_back_aligned(parts: list[bytes]) -> None:
    sealed = seal([memoryview(part) for part in parts], Digests())
    data = written(sealed)
    assert len(data) == sealed.size
    opened = Opened(memoryview(data), sealed.digest, "x")
    assert [bytes(part) for part in opened.parts] == parts
    for number in range(len(parts)):
        opened.check(number)
    position = 0
    for part in parts:
        position += -position % 64
        assert data[position : position + len(part)] == part
        position += len(part)


def test_plain_is_one_part_as_it_is() -> None:
    sealed = seal_plain(memoryview(b"hello"), Digests())
    assert written(sealed) == b"hello"
    assert sealed.digest == blake3(b"hello").hexdigest()


def test_a_known_buffer_becomes_a_segment() -> None:
    block = np.arange(60_000.0)
    first, last = view(block[10_000:20_000]), view(block[20_000:50_000])
    digests = Digests()
    for known in (first, last):
        assert digests(known) == blake3(known).digest()
    segments = list(digests.segments(view(block)))
    assert [segment.length for segment in segments] == [80_000, 80_000, 240_000, 80_000]
    assert [segment.digest for segment in segments[1:3]] == [digests(first), digests(last)]
    sealed = seal([view(block)], digests)
    opened = Opened(memoryview(written(sealed)), sealed.digest, "x")
    opened.check(0)


def test_a_buffer_that_reaches_beyond_a_part_is_no_segment_of_it() -> None:
    block = np.arange(60_000.0)
    digests = Digests()
    digests(view(block))
    inner = view(block[:30_000])
    assert [segment.digest for segment in digests.segments(inner)] == [blake3(inner).digest()]
    digests(inner)
    assert [segment.length for segment in digests.segments(view(block))] == [240_000, 240_000]


def test_memory_given_back_is_not_mistaken_for_what_lay_there() -> None:
    digests = Digests()
    for number in range(50):  # Each array may be given the address of the last, were that one not kept.
        array = np.full(20_000, float(number))
        assert digests(view(array)) == blake3(view(array)).digest()


@pytest.mark.parametrize("place", [0, 64, 65, 127, 128, 136, -1, -10, -20, -60])
def test_a_changed_byte_is_found(place: int) -> None:
    sealed = seal([memoryview(b"a" * 65), memoryview(b"b" * 9)], Digests())
    data = bytearray(written(sealed))
    data[place] ^= 1
    with pytest.raises(ArtifactCorrupt, match="artifact x is damaged"):
        Opened(memoryview(data), sealed.digest, "x").check_all()


@pytest.mark.parametrize("data", [b"", b"short", b"\xff" * 8 + b"hpoparts", b"\0" * 8 + b"hpoparts"])
def test_bytes_without_an_index(data: bytes) -> None:
    with pytest.raises(ArtifactCorrupt, match="index does not match"):
        Opened(memoryview(data), "0" * 64, "x")
