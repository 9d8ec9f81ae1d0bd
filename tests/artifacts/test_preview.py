"""Previews are small, are JSON, and never fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_pipelines.artifacts import ArtifactStore, preview
from hpo_pipelines.artifacts.preview import LIMIT


class Silent:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Rude:
    def __repr__(self) -> str:
        return 3  # type: ignore[return-value]


class Odd:
    def __len__(self) -> int:
        raise ValueError("who knows")


class Long:
    def __repr__(self) -> str:
        return "x" * 10**6


@pytest.mark.parametrize(
    "value", [Silent(), [Silent()], {"a": (Silent(),)}, Rude(), Odd(), pd.DataFrame({"a": [Silent()]})]
)
def test_an_object_that_cannot_be_shown_is_stored_all_the_same(value: Any) -> None:
    store = ArtifactStore("/nowhere")
    ref = store.put(value)
    assert ref.preview["error"].startswith("no preview: ")
    assert type(store.get(ref)) is type(value)


def test_frames() -> None:
    frame = pd.DataFrame({"n": [1, 2, 3, 4, 5, 6], "x": [1.5, np.nan, np.inf, 0, 0, 0], "s": list("abcdef")})
    assert preview(frame[["n"]] > 1)["head"]["rows"][0] == [False]
    assert preview(frame) == {
        "type": "pandas.DataFrame",
        "shape": [6, 3],
        "dtypes": {"n": "int64", "x": "float64", "s": "str"},
        "head": {
            "columns": ["n", "x", "s"],
            "index": [0, 1, 2, 3, 4],
            "rows": [[1, 1.5, "a"], [2, "nan", "b"], [3, "inf", "c"], [4, 0.0, "d"], [5, 0.0, "e"]],
        },
    }


def test_series_and_arrays() -> None:
    series = preview(pd.Series(pd.date_range("2020", periods=3), name="t"))
    assert series["shape"] == [3]
    assert series["head"]["columns"] == ["t"]
    assert series["head"]["rows"][0] == ["2020-01-01 00:00:00"]
    assert preview(np.arange(20).reshape(10, 2))["head"] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert preview(np.array(1.5)) == {"type": "numpy.ndarray", "shape": [], "dtype": "float64", "head": 1.5}
    assert preview(np.arange(1000).reshape(10, 10, 10))["head"] == list(range(12))
    assert preview(np.array(["2020-01-01"], "M8[ns]"))["head"] == ["2020-01-01T00:00:00.000000000"]


def test_scalars_and_containers() -> None:
    assert preview(0.5) == {"type": "float", "repr": "0.5", "value": 0.5}
    assert preview(float("nan")) == {"type": "float", "repr": "nan", "value": "nan"}
    assert preview(None) == {"type": "NoneType", "repr": "None", "value": None}
    assert preview([1, 2]) == {"type": "list", "length": 2, "repr": "[1, 2]"}
    assert preview("x" * 9000)["length"] == 9000
    assert preview(b"x" * 9000)["length"] == 9000
    assert len(preview(Long())["repr"]) < 600


def test_paths(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    assert preview(tmp_path / "a.txt") | {"type": ""} == {"type": "", "name": "a.txt", "size": 5}
    assert preview(tmp_path)["entries"] == ["a.txt"]


@pytest.mark.parametrize(
    "value",
    [
        pd.DataFrame({f"column {'x' * 500} {number}": ["y" * 10_000] * 3 for number in range(500)}),
        pd.DataFrame(np.zeros((3, 2000))),
        pd.Series(["z" * 10**6] * 10, name="n" * 10**5),
        pd.Series([{"k": "z" * 10**6}] * 10),
        np.full((50, 50), "w" * 10_000),
        np.full((5, 12), np.array("é" * 10_000), dtype=object),
        {"k" * 10**6: "v" * 10**6},
        [["é" * 10**5] * 100] * 100,
        "\0" * 10**6,
        10**4000,
        10**6000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_previews_are_small(value: object) -> None:
    picture = preview(value)
    assert len(json.dumps(picture, allow_nan=False)) < LIMIT
    assert picture["type"]


PLAIN = st.none() | st.integers() | st.floats() | st.text() | st.binary()


@settings(max_examples=50)
@given(st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=5) | st.sets(st.text(), max_size=5), max_leaves=10))
def test_law_previews_are_json_and_small(value: object) -> None:
    assert len(json.dumps(preview(value), allow_nan=False)) < LIMIT
    assert preview(value) == preview(value)
