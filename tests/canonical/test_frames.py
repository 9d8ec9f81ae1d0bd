"""pandas' values: what has one identity and what has two."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import pandas as stpd

from hpo_pipelines.canonical import NotCanonical, hash_buffer, value_digest


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


def with_attrs(value: Any, **attrs: Any) -> Any:
    value.attrs.update(attrs)
    return value


DAYS = pd.date_range("2024-01-01", periods=3)
LOOK_ALIKES: list[Any] = [
    *(
        frame(),
        pd.DataFrame(index=[0]),
        pd.DataFrame(columns=["a"]),
        frame(a=[]),
        frame(a=[1]),
        frame(b=[1]),
        frame(a=[1.0]),
    ),
    *(frame(a=[1], b=[2]), frame(b=[2], a=[1]), frame(a=[1, 2]), frame(a=["1"]), frame(a=[True]), frame(a=[None])),
    *(pd.DataFrame({"a": [1]}, index=[1]), pd.DataFrame({"a": [1]}, index=["x"]), pd.DataFrame({"a": [1]}, index=[0])),
    *(pd.DataFrame({0: [1]}), pd.DataFrame({"0": [1]}), with_attrs(frame(a=[1]), unit="m")),
    *(frame(a=[1]).set_flags(allows_duplicate_labels=False), frame(a=[1]).rename_axis("i"), frame(a=[1])["a"]),
    *(pd.Series([1]), pd.Series([1], name="a", dtype="i4"), pd.Series([1], name=0), pd.Series([1], dtype="Int64")),
    *(pd.Series([1], dtype="category"), pd.Series([1], dtype=object), pd.Series([1], dtype="int64[pyarrow]")),
    *(pd.Series([1], dtype="Sparse[int]"), pd.Series([1.0, None], dtype="Float64"), pd.Series([1.0, None])),
    *(pd.Series([True, None], dtype="boolean"), pd.Series([1, None], dtype="Int64"), pd.Series([1, 0], dtype="Int64")),
    *(pd.Series(["x", None]), pd.Series(["x", ""]), pd.Series(["x", "nan"]), pd.Series(["x", None], dtype=object)),
    *(pd.Series(["x", None], dtype="string"), pd.Series(["x", None], dtype="string[python]"), pd.Series(["", "x"])),
    *(
        pd.Series(["x", None], dtype=pd.ArrowDtype(pa.string())),
        pd.Series([b"x", None], dtype=pd.ArrowDtype(pa.binary())),
    ),
    *(pd.Series(["ab", "c"]), pd.Series(["a", "bc"]), pd.Series(["abc", ""]), pd.Series(pd.Categorical(["a", "b"]))),
    *(pd.Series(pd.Categorical(["a", "b"], ["b", "a"])), pd.Series(pd.Categorical(["a", "b"], ["a", "b", "c"]))),
    *(pd.Series(pd.Categorical(["a", "b"], ordered=True)), pd.Series(pd.Categorical(["a", None], ["a", "b"]))),
    *(pd.Series(DAYS), pd.Series(DAYS.as_unit("ns")), pd.Series(DAYS.tz_localize("UTC")), pd.Series(DAYS - DAYS[0])),
    *(pd.Series(DAYS.tz_localize("Europe/Paris")), pd.Series(DAYS.to_period("D")), pd.Series(DAYS.to_period("M"))),
    *(pd.Series(pd.interval_range(0, 3)), pd.Series(pd.interval_range(0, 3, closed="left")), pd.Series([(1, 2)])),
    *(pd.Series([[1, 2]]), pd.Series([{1}]), pd.Series([None, 1], dtype=object), pd.Series([np.nan, 1], dtype=object)),
    *(pd.RangeIndex(3), pd.RangeIndex(3, name="x"), pd.Index([0, 1, 2]), pd.Index([0.0, 1, 2]), pd.RangeIndex(0, 6, 2)),
    *(DAYS, DAYS._with_freq(None), pd.Index(["a"]), pd.Index(["a"], dtype=object), pd.CategoricalIndex(["a"])),
    *(
        pd.MultiIndex.from_tuples([(1, "a"), (2, "b")]),
        pd.MultiIndex.from_tuples([(1, "a"), (2, "b")], names=["x", "y"]),
    ),
    *(
        pd.Index([(1, "a"), (2, "b")], tupleize_cols=False),
        pd.interval_range(0, 3),
        DAYS.to_period("D"),
        DAYS - DAYS[0],
    ),
    *(
        pd.Timestamp("2024"),
        pd.Timestamp("2024").as_unit("ns"),
        pd.Timestamp("2024", tz="UTC"),
        pd.NaT,
        pd.NA,
        None,
        "NaTType",
    ),
    *(pd.Timestamp("2024", tz="Europe/Paris"), pd.Timedelta(1, "D"), pd.Period("2024"), pd.Period("2024-01"), np.nan),
    *(pd.Interval(0, 1), pd.Interval(0, 1, "left"), pd.Interval(0.0, 1.0), pd.array([1, 2]), pd.array(["x"])),
    *(pd.Series([[1, None]], dtype=pd.ArrowDtype(pa.list_(pa.int64()))), pd.Series([1, 2], dtype="int8[pyarrow]")),
    *(pd.Series([1, 2], dtype="timestamp[s][pyarrow]"), pd.Series([1.0, None], dtype="double[pyarrow]")),
]


def test_look_alikes_differ() -> None:
    seen: dict[str, object] = {}
    for value in LOOK_ALIKES:
        digest = value_digest(value)
        assert digest not in seen, f"one identity: {value!r}, {seen[digest]!r}"
        seen[digest] = value


@pytest.mark.parametrize(
    "value", LOOK_ALIKES, ids=lambda value: f"{type(value).__name__} {getattr(value, 'dtype', '')}"
)
def test_identity_survives_a_pickle(value: object) -> None:
    assert value_digest(pickle.loads(pickle.dumps(value, protocol=5))) == value_digest(value)


def test_layout_of_blocks_does_not_count() -> None:
    values = np.random.default_rng(0).random((9000, 4))
    consolidated = pd.DataFrame(values, columns=list("abcd"))
    by_column = pd.DataFrame({name: values[:, number].copy() for number, name in enumerate("abcd")}, copy=False)
    grown = consolidated[["a"]].copy()
    for name in "bcd":
        grown[name] = consolidated[name].to_numpy().copy()
    rows = pd.DataFrame(values, columns=list("abcd"), copy=False)
    strided = pd.DataFrame(np.repeat(values, 2, axis=1)[:, ::2], columns=list("abcd"), copy=False)
    for other in (by_column, grown, rows, strided, consolidated[::-1][::-1], consolidated.copy()):
        assert value_digest(other) == value_digest(consolidated)


def test_index_and_columns_derived_otherwise_are_the_same() -> None:
    value = pd.MultiIndex.from_product([["a", "b", "c"], [1, 2]])
    assert value_digest(value[:2]) == value_digest(pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]))
    assert value_digest(pd.DataFrame({"a": [1], "b": [2]})[["b", "a"]]) == value_digest(
        pd.DataFrame({"b": [2], "a": [1]})
    )


@pytest.mark.parametrize(
    "dtype", ["str", "string", "large_string[pyarrow]", "string[pyarrow]", pd.ArrowDtype(pa.binary())]
)
def test_chunks_and_offsets_of_texts_do_not_count(dtype: Any) -> None:
    texts = ["x", None, "", "éé", "long" * 50] * 1000
    data = [text and text.encode() for text in texts] if dtype == pd.ArrowDtype(pa.binary()) else texts
    whole = pd.Series(data, dtype=dtype)
    cut = pd.concat([whole[:7], whole[7:1234], whole[1234:]])
    shifted = pd.concat([whole[:3], whole])[3:].reset_index(drop=True)
    assert value_digest(cut) == value_digest(whole)
    assert value_digest(shifted) == value_digest(whole)
    assert value_digest(whole[5:10]) == value_digest(pd.Series(data[5:10], index=range(5, 10), dtype=dtype))


def test_what_lies_under_a_null_does_not_count() -> None:
    buffers = pa.array(["a", "hidden", "b"], pa.large_string()).buffers()
    null = pa.array([True, False, True]).buffers()[1]
    dirty = pa.Array.from_buffers(pa.large_string(), 3, [null, *buffers[1:]])
    clean = pd.Series(["a", None, "b"], dtype=pd.ArrowDtype(pa.large_string()))
    assert value_digest(pd.Series(pd.arrays.ArrowExtensionArray(dirty))) == value_digest(clean)
    numbers = pa.Array.from_buffers(pa.int64(), 3, [null, pa.array([1, 77, 3]).buffers()[1]])
    other = pd.Series([1, None, 3], dtype="int64[pyarrow]")
    assert value_digest(pd.Series(pd.arrays.ArrowExtensionArray(numbers))) == value_digest(other)
    masked = pd.arrays.IntegerArray(np.array([1, 77]), np.array([False, True]))
    assert value_digest(pd.Series(masked)) == value_digest(pd.Series([1, None], dtype="Int64"))


def test_columns_are_hashed_where_they_lie() -> None:
    value = pd.DataFrame(np.random.default_rng(0).random((10_000, 3)))
    value["text"] = ["t" * 20] * len(value)
    seen: list[memoryview] = []

    def digest(view: memoryview) -> bytes:
        seen.append(view)
        return hash_buffer(view)

    assert value_digest(value, buffer_digest=digest) == value_digest(value)
    base = value[0].to_numpy().__array_interface__["data"][0]
    addresses = [np.frombuffer(view, np.uint8).__array_interface__["data"][0] - base for view in seen]
    assert addresses[:3] == [0, 80_000, 160_000], "the three columns of one block, without a copy"
    assert [view.nbytes for view in seen[3:]] == [80_008, 200_000], "offsets and bytes of the texts"


def test_object_columns_go_item_by_item() -> None:
    left, right = pd.Series([{1: 2, 3: 4}, (1,)]), pd.Series([{3: 4, 1: 2}, (1,)])
    assert value_digest(left) == value_digest(right)


class Strange(pd.DataFrame):
    pass


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (frame(a=[1], b=[object()]), "['b'][0]"),
        (pd.Series([object()]), "[0]"),
        (pd.DataFrame({"a": [1]}, index=[object()]), ".index[0]"),
        (pd.DataFrame([[1]], columns=[object()]), ".columns[0]"),
        (with_attrs(frame(a=[1]), x=object()), ".attrs['x']"),
        (Strange({"a": [1]}), ""),
        (pd.offsets.Day(1), ""),
        (frame(a=[1]).groupby("a"), ""),
    ],
    ids=lambda item: item if isinstance(item, str) else "",
)
def test_what_has_no_identity_is_named(value: object, path: str) -> None:
    with pytest.raises(NotCanonical) as caught:
        value_digest(value)
    assert caught.value.path == path


COLUMN = st.one_of(
    st.lists(st.integers(-3, 3), min_size=4, max_size=4),
    st.lists(st.floats(), min_size=4, max_size=4),
    st.lists(st.none() | st.text(max_size=3), min_size=4, max_size=4),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.lists(st.sampled_from("abc"), min_size=4, max_size=4).map(pd.Categorical),
    st.lists(st.none() | st.integers(0, 3), min_size=4, max_size=4).map(lambda items: pd.array(items, dtype="Int64")),
    st.lists(st.datetimes(pd.Timestamp(1700, 1, 1), pd.Timestamp(2200, 1, 1)), min_size=4, max_size=4),
    st.lists(st.tuples(st.integers()), min_size=4, max_size=4),
)
FRAMES = st.dictionaries(st.text(max_size=3), COLUMN, min_size=1, max_size=4).map(pd.DataFrame)


@settings(max_examples=40)  # A frame takes pandas milliseconds to make.
@given(FRAMES)
def test_law_layout_and_pickle_do_not_count(value: pd.DataFrame) -> None:
    digest = value_digest(value)
    assert value_digest(pickle.loads(pickle.dumps(value, protocol=5))) == digest
    assert value_digest(pd.concat([value[:2], value[2:]])) == digest
    assert value_digest(pd.concat([value[[name]] for name in value], axis=1)) == digest


@given(stpd.series(dtype="int8"), stpd.series(dtype="int8"))
def test_law_one_digest_if_and_only_if_equal(left: Any, right: Any) -> None:
    assert (value_digest(left) == value_digest(right)) == left.equals(right)
