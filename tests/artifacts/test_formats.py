"""Which format a value gets, and what comes back."""

from __future__ import annotations

import math
import tracemalloc
from collections import OrderedDict
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.canonical import hash_buffer, value_digest

STORE = ArtifactStore("/nowhere")  # Everything here is short enough to be inline.


class Level(IntEnum):
    LOW = 1


shared: list[Any] = [1]
endless: list[Any] = []
endless.append(endless)
deep: list[Any] = []
for _ in range(300):
    deep = [deep]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "json"),
        (True, "json"),
        (-0.0, "json"),
        (math.nan, "json"),
        (-math.inf, "json"),
        (10**4000, "json"),
        (10**5000, "pickle"),
        ("é\0\u2028", "json"),
        ("\ud83d\ude00", "pickle"),
        ("\U0001f600", "json"),
        ([1, [2.5, {"a": [None, "x"]}]], "json"),
        ({"b": 1, "a": 2}, "json"),
        (deep, "json"),
        ((1, 2), "pickle"),
        ([(1, 2)], "pickle"),
        ({1: 2}, "pickle"),
        ({1, 2}, "pickle"),
        (Level.LOW, "pickle"),
        ({"a": Level.LOW}, "pickle"),
        (OrderedDict(a=1), "pickle"),
        ([shared, shared], "pickle"),
        (endless, "pickle"),
        (np.float64(1), "pickle"),
        ([np.int64(1)], "pickle"),
        (b"x", "bytes"),
        (bytearray(b"x"), "bytearray"),
        (np.arange(3), "npy"),
        (np.array(1.5), "npy"),
        (np.zeros((0, 3), "M8[ns]"), "npy"),
        (np.array(["a", "bb"]), "npy"),
        (np.array([1], ">i4"), "npy"),
        (np.array([1, "x"], object), "pickle"),
        (np.array([(1, 2.0)], "i4,f8"), "pickle"),
        (np.array(["x"], np.dtypes.StringDType()), "pickle"),
        (np.ma.masked_array([1, 2], [True, False]), "pickle"),
        (np.array([1.0], np.dtype("f8", metadata={"unit": "m"})), "pickle"),
        (pd.DataFrame({"a": [1]}), "frame"),
        (pd.Series([1]), "frame"),
        (pd.Index([1]), "pickle"),
        (lambda: 1, "pickle"),
    ],
    ids=lambda item: f"{item!r:.30}" if isinstance(item, str) and item.isascii() else type(item).__name__,
)
def test_the_format_follows_from_the_type(value: Any, expected: str) -> None:
    ref = STORE.put(value)
    assert ref.format == expected
    copy = STORE.get(ref)
    assert type(copy) is type(value)
    if ref.value_digest != ref.digest:
        assert value_digest(copy) == value_digest(value)


def test_order_of_a_dict_comes_back() -> None:
    assert list(STORE.get(STORE.put({"b": 1, "a": 2}))) == ["b", "a"]


def test_one_list_in_two_places_stays_one() -> None:
    copy = STORE.get(STORE.put([shared, shared]))
    assert copy[0] is copy[1]


def test_functions_travel_by_value() -> None:
    offset = 3
    assert STORE.get(STORE.put(lambda x: x + offset))(4) == 7


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


@pytest.mark.parametrize(
    "value",
    [
        np.random.default_rng(0).random((300, 400)),
        np.asfortranarray(np.random.default_rng(0).random((300, 400))),
        np.random.default_rng(0).random((300, 800))[:, ::2],
        np.arange(200_000)[::-1],
        np.arange("2020", "2300", dtype="M8[D]").astype("M8[ns]"),
        np.zeros((100_000, 0)),
        np.array(["é" * 9, "x"] * 10_000),
    ],
    ids=["C", "Fortran", "strided", "reversed", "times", "empty", "text"],
)
def test_large_arrays(store: ArtifactStore, value: np.ndarray[Any, Any]) -> None:
    ref = store.put(value)
    copy = store.get(ref)
    np.testing.assert_array_equal(copy, value)
    assert (type(copy), copy.dtype) == (np.ndarray, value.dtype)
    assert copy.flags.writeable
    assert copy.flags.aligned
    assert value_digest(copy) == ref.value_digest
    store.verify(ref)


def test_large_buffers_inside_other_values_are_mapped(store: ArtifactStore) -> None:
    value = {"weights": [np.random.default_rng(0).random(100_000) for _ in range(3)], ("k",): b"x"}
    ref = store.put(value)
    copy = store.get(ref)
    assert all((left == right).all() for left, right in zip(value["weights"], copy["weights"]))
    assert not any(array.flags.owndata for array in copy["weights"])


BIG = 8 << 20
BULKY = {
    "array": lambda: np.random.default_rng(0).random(BIG // 8),
    "Fortran array in a dict": lambda: {"a": np.random.default_rng(0).random((1024, BIG // 8192)), 1: 2},
    "frame": lambda: pd.DataFrame(np.random.default_rng(0).random((BIG // 32, 4))),
    "frame of columns": lambda: pd.DataFrame({"a": np.zeros(BIG // 16), "b": np.ones(BIG // 16, "i8")}),
    "bytes": lambda: b"x" * BIG,
}


@pytest.mark.parametrize("make", BULKY.values(), ids=BULKY)
def test_every_byte_is_hashed_once_and_copied_never(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    value = make()
    hashed = 0

    def counting(view: memoryview) -> bytes:
        nonlocal hashed
        hashed += view.nbytes
        return hash_buffer(view)

    for module in ("artifacts.container", "artifacts.store", "canonical.encoder"):
        monkeypatch.setattr(f"hpo_pipelines.{module}.hash_buffer", counting)
    store.put([1])
    tracemalloc.start()
    try:
        store.put(value)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert BIG <= hashed < 1.02 * BIG
    assert peak < 0.1 * BIG
