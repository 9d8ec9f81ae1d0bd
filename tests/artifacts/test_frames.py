"""Frames and series: everything comes back, and the columns can be written to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.canonical import value_digest
from hpo_pipelines.errors import NotSerializable


def wide(rows: int) -> pd.DataFrame:
    """A column of every kind."""
    index = pd.MultiIndex.from_arrays([pd.date_range("2020", periods=rows, freq="h"), range(rows)], names=["t", "n"])
    frame = pd.DataFrame(
        {
            "float": np.linspace(0, 1, rows),
            "int8": np.arange(rows).astype("i1"),
            "bool": np.arange(rows) % 2 == 0,
            "str": [f"row {number}" if number % 3 else None for number in range(rows)],
            "category": pd.Categorical(["a", "b"] * (rows // 2), categories=["b", "a", "c"], ordered=True),
            "Int64": pd.array([1, None] * (rows // 2), dtype="Int64"),
            "zoned": pd.date_range("2020", periods=rows, tz="Europe/Paris", unit="ms"),
            "delta": pd.to_timedelta(range(rows), unit="s"),
            "period": pd.period_range("2020", periods=rows, freq="D"),
            "object": [{"k": (1, 2)}, None] * (rows // 2),
            "arrow": pd.array([[1], None] * (rows // 2), dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
            7: np.arange(rows, dtype="f4"),
        }
    ).set_axis(index)
    frame.attrs["unit"] = {"float": "m"}
    return frame


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


@pytest.mark.parametrize("rows", [0, 4, 5000])
def test_everything_comes_back(store: ArtifactStore, rows: int) -> None:
    value = wide(rows)
    ref = store.put(value)
    copy = store.get(ref)
    pd.testing.assert_frame_equal(copy, value, check_freq=True)
    assert copy.attrs == value.attrs
    assert value_digest(copy) == value_digest(value) == ref.value_digest
    assert store.put(copy).value_digest == ref.value_digest
    store.verify(ref)


@pytest.mark.parametrize("name", ["float", "str", "category", "Int64", "zoned", "object", 7])
def test_series(store: ArtifactStore, name: Any) -> None:
    value = wide(6000)[name]
    copy = store.get(store.put(value))
    pd.testing.assert_series_equal(copy, value)
    assert value_digest(copy) == value_digest(value)


@pytest.mark.parametrize("rows", [4, 5000])
def test_every_column_can_be_written_to(store: ArtifactStore, rows: int) -> None:
    value = wide(rows).reset_index(drop=True)
    ref = store.put(value)
    copy = store.get(ref)
    for name in copy.columns:
        copy.loc[0, name] = copy[name].iloc[1]
        assert isinstance(copy[name].iloc[0], type(copy[name].iloc[1]))
    copy["float"] += 1
    copy["new"] = 1
    assert copy.loc[3, "float"] == value.loc[3, "float"] + 1
    pd.testing.assert_frame_equal(store.get(ref), value)


def test_columns_on_read_only_memory_come_back_writable(store: ArtifactStore) -> None:
    values = np.zeros((50_000, 2))
    values.flags.writeable = False
    value = pd.DataFrame(values, copy=False)
    with pytest.raises(ValueError, match="read-only"):
        value.iloc[0, 0] = 1
    copy = store.get(store.put(value))
    copy.iloc[0, 0] = 1
    assert copy.iloc[0, 0] == 1


def test_a_slice_is_stored_without_the_rest(store: ArtifactStore) -> None:
    value = pd.DataFrame({"a": np.zeros(1_000_000), "s": ["text"] * 1_000_000})
    assert store.put(value[:1000]).size < 200_000


def test_a_subclass_is_no_frame(store: ArtifactStore) -> None:
    ref = store.put(Special({"a": [1]}))
    assert ref.format == "pickle"
    assert type(store.get(ref)) is Special


class Special(pd.DataFrame):
    pass


@pytest.mark.filterwarnings("ignore:Series.values returning:DeprecationWarning")  # pyarrow's use of pandas
@pytest.mark.parametrize("format", ["arrow", "parquet"])
@pytest.mark.parametrize("rows", [4, 5000])
def test_arrow_and_parquet_on_request(store: ArtifactStore, format: str, rows: int) -> None:
    value = wide(rows).drop(columns=["object", "period", "arrow", 7]).rename_axis(index=["t", "n"])
    value.columns = value.columns.astype("str")
    ref = store.put(value, format=format)
    copy = store.get(ref)
    pd.testing.assert_frame_equal(copy, value, check_freq=False)
    assert ref.value_digest == value_digest(copy)
    copy.iloc[0, 0] = 7.0
    assert copy.iloc[0, 0] == 7.0
    pd.testing.assert_frame_equal(store.get(ref), value, check_freq=False)
    store.verify(ref)


@pytest.mark.parametrize("format", ["arrow", "parquet"])
def test_one_float_column_is_writable_too(store: ArtifactStore, format: str) -> None:
    copy = store.get(store.put(pd.DataFrame({"a": np.zeros(50_000)}), format=format))
    copy.iloc[0, 0] = 7.0
    assert copy["a"].sum() == 7.0


@pytest.mark.parametrize("format", ["arrow", "parquet"])
@pytest.mark.parametrize("name", ["x", None])
def test_series_on_request(store: ArtifactStore, format: str, name: str | None) -> None:
    value = pd.Series([1.5, None], index=["u", "v"], name=name)
    copy = store.get(store.put(value, format=format))
    pd.testing.assert_series_equal(copy, value)
    copy.iloc[0] = 7
    with pytest.raises(NotSerializable, match="name of a series"):
        store.put(value.rename(3), format=format)


def test_the_same_values_by_another_format_are_the_same_value(store: ArtifactStore) -> None:
    value = pd.DataFrame({"a": [1.5, 2.5], "s": ["x", None]})
    digests = {store.put(value, format=format).value_digest for format in ("frame", "pickle", "arrow", "parquet")}
    assert digests == {value_digest(value)}


@pytest.mark.parametrize("format", ["arrow", "parquet"])
def test_what_arrow_cannot_hold(store: ArtifactStore, format: str) -> None:
    value = pd.DataFrame({"mixed": [1, "x", (2,)]})
    with pytest.raises(
        NotSerializable, match=r"output 'train' of type pandas\S*DataFrame .*no type for a column.*mixed"
    ):
        store.put(value, format=format, name="train")
    with pytest.raises(NotSerializable, match="no type for a column"):
        store.put(wide(4)[["arrow"]], format=format)
    with pytest.raises(NotSerializable, match=f"{format}.* cannot hold it exactly"):
        store.put([1], format=format)


def test_other_tools_read_them(store: ArtifactStore, tmp_path: Path) -> None:
    value = pd.DataFrame({"a": np.arange(5000.0)})
    ref = store.put(value, format="parquet")
    assert pq.read_table(Path(store.url) / ref.digest[:2] / ref.digest[2:]).num_rows == 5000
    ref = store.put(value, format="arrow")
    with pa.memory_map(str(Path(store.url) / ref.digest[:2] / ref.digest[2:])) as source:
        assert pa.ipc.open_file(source).read_all().num_rows == 5000
