"""numpy's values: what has one identity and what has two."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stnp

from hpo_pipelines.canonical import NotCanonical, value_digest

PAIRS = np.dtype([("a", "i4"), ("b", "f8")])
LOOK_ALIKES: list[Any] = [
    *(1.0, 1, True, "1", b"1"),
    *(
        np.float64(1),
        np.float32(1),
        np.float16(1),
        np.int64(1),
        np.int32(1),
        np.uint8(1),
        np.bool_(True),
        np.longdouble(1),
    ),
    *(
        np.complex128(1),
        np.str_("1"),
        np.bytes_(b"1"),
        np.datetime64(1, "s"),
        np.datetime64(1, "ns"),
        np.timedelta64(1, "s"),
    ),
    *(np.float64(0), np.float64(-0.0), np.float64("nan"), np.float32("nan"), np.complex128(complex(1, np.nan))),
    *(np.complex128(complex(2, np.nan)), np.datetime64("NaT"), np.array((1, 1.0), PAIRS)[()]),
    *(np.array(1.0), np.array([1.0]), np.array([[1.0]]), np.array([1]), np.array([1], "i4"), np.array([2.0])),
    *(np.array(["1"]), np.array([b"1"]), np.array(["1"], object), np.array([1], object), np.array([1.0], object)),
    *(
        np.array([True]),
        np.array(["1", "11"]),
        np.array([], float),
        np.array([], int),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
    ),
    *(
        np.arange(6),
        np.arange(6).reshape(2, 3),
        np.arange(6).reshape(3, 2),
        np.arange(6)[::-1],
        np.arange(6, dtype="f8"),
    ),
    *(np.array([(1, 1.0)], PAIRS), np.array([(1, 1.0)], [("a", "i4"), ("c", "f8")]), [np.float64(1)], [1.0]),
    *(np.array(["1"], np.dtypes.StringDType()), np.array(["1"], np.dtypes.StringDType(na_object=None))),
    *(
        np.dtype("f8"),
        np.dtype("f4"),
        np.dtype(">f8"),
        PAIRS,
        np.dtype(("f8", (2,))),
        np.array([np.nan]),
        np.array([[1], "x", None], object),
    ),
    *(
        np.zeros(8192),
        np.zeros(8193),
        np.zeros((2, 4096)),
        np.zeros(8192, "i8"),
        np.zeros(65536, "i1"),
        np.zeros((1, 8192)),
    ),
]


def test_look_alikes_differ() -> None:
    seen: dict[str, object] = {}
    for value in LOOK_ALIKES:
        digest = value_digest(value)
        assert digest not in seen, f"{value!r:.60} and {seen[digest]!r:.60} have one identity"
        seen[digest] = value


@pytest.mark.parametrize("value", LOOK_ALIKES, ids=lambda value: type(value).__name__)
def test_identity_survives_a_pickle(value: object) -> None:
    assert value_digest(pickle.loads(pickle.dumps(value, protocol=5))) == value_digest(value)


def test_every_nan_scalar_of_a_dtype_is_one() -> None:
    for dtype in (np.float16, np.float32, np.float64, np.longdouble):
        assert value_digest(dtype(-np.nan)) == value_digest(dtype(np.nan))


def layouts(value: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """The same array in other memory: Fortran order, strided, reversed strides, unaligned, read-only."""
    strided = np.empty((*value.shape, 2), value.dtype)[..., 0]
    strided[...] = value
    backwards = value[::-1].copy()[::-1] if value.ndim else value
    locked = value.copy()
    locked.flags.writeable = False
    raw = bytearray(value.nbytes + 1)
    unaligned = np.ndarray(value.shape, value.dtype, raw, offset=1)
    unaligned[...] = value
    return [value.copy("F"), strided, backwards, locked, unaligned]


@pytest.mark.parametrize("shape", [(10,), (300, 400), (3, 40_000), (2, 700_000), (20, 30, 40), (200_000,), ()])
def test_layout_in_memory_does_not_count(shape: tuple[int, ...]) -> None:
    value = np.random.default_rng(1).random(shape)
    for other in layouts(value):
        assert value_digest(other) == value_digest(value)


@pytest.mark.parametrize("dtype", ["f4", "M8[s]", "U3", "c16", [("a", "i4"), ("b", "f8", (2,))]])
def test_byte_order_does_not_count(dtype: Any) -> None:
    value = np.array([1, 2]).astype(dtype) if isinstance(dtype, str) else np.array([(1, (2, 3))], dtype)
    assert value_digest(value.astype(value.dtype.newbyteorder(">"))) == value_digest(value)


def test_a_memory_map_is_its_array(tmp_path: Any) -> None:
    value = np.arange(10.0)
    np.save(tmp_path / "x.npy", value)
    assert value_digest(np.load(tmp_path / "x.npy", mmap_mode="r")) == value_digest(value)


def test_chance_bytes_do_not_count() -> None:
    aligned = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    clean, dirty = np.zeros(3, aligned), np.frombuffer(bytearray([255]) * 48, aligned)
    dirty["a"], dirty["b"] = 0, 0
    assert clean.tobytes() != dirty.tobytes()
    assert value_digest(dirty) == value_digest(clean)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant != 63, reason="only x87 numbers have unused bytes")
def test_chance_bytes_of_long_doubles_do_not_count() -> None:
    clean, dirty = np.zeros(3, np.longdouble), np.frombuffer(bytes([255]) * 48, np.longdouble).copy()
    dirty.view(np.uint8).reshape(3, 16)[:, :10] = 0
    assert clean.tobytes() != dirty.tobytes()
    assert value_digest(dirty) == value_digest(clean)
    assert value_digest(dirty[0]) == value_digest(clean[0])
    assert value_digest(dirty.view(np.clongdouble) if dirty.size % 2 == 0 else dirty) == value_digest(clean)


def test_object_arrays_go_item_by_item() -> None:
    left, right = np.array([{1: 2, 3: 4}, "x" * 50], object), np.array([{3: 4, 1: 2}, "x" * 25 + "x" * 25], object)
    assert value_digest(left) == value_digest(right)
    with pytest.raises(NotCanonical, match="object"):
        value_digest(np.array([1, object()], object))


@pytest.mark.parametrize("value", [np.ma.masked_array([1, 2], [0, 1]), np.rec.array([(1,)]), np.random.default_rng(0)])
def test_other_numpy_objects_are_refused(value: object) -> None:
    with pytest.raises(NotCanonical, match="numpy"):
        value_digest([value])


DTYPES = stnp.scalar_dtypes() | stnp.unicode_string_dtypes(max_len=3) | stnp.byte_string_dtypes(max_len=3)
ARRAYS = DTYPES.flatmap(
    lambda dtype: stnp.arrays(dtype, stnp.array_shapes(min_dims=0, max_dims=3, max_side=4, min_side=0))
)


@given(ARRAYS)
def test_law_layout_and_pickle_do_not_count(value: np.ndarray[Any, Any]) -> None:
    digest = value_digest(value)
    for other in [*layouts(value), pickle.loads(pickle.dumps(value, protocol=5))]:
        assert value_digest(other) == digest


@given(st.data())
def test_law_arrays_of_other_content_differ(data: st.DataObject) -> None:
    value = data.draw(stnp.arrays(st.sampled_from(["i4", "f4", "S2"]), (2, 2)))
    other = data.draw(stnp.arrays(st.sampled_from(["i4", "f4", "S2"]), (2, 2)))
    same = value.dtype == other.dtype and value.tobytes() == other.tobytes()
    assert (value_digest(value) == value_digest(other)) == same
