from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces.documents import Format, read
from search_spaces.errors import SpaceError
from search_spaces.values import canonical
from search_spaces.writers import write

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared

FORMATS: list[Format] = ["yaml", "toml", "json"]
JSON = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize("format", FORMATS)
@settings(PATIENT, max_examples=60)
@given(mapping=st.dictionaries(st.text(), JSON, max_size=4), under=st.none() | st.text())
def test_what_is_written_is_read_back(format: Format, mapping: dict[str, Any], under: str | None) -> None:
    value = read(write(mapping, format, under=under), format, "x").value
    assert canonical(value) == canonical(mapping if under is None else {under: mapping})


def test_one_line_per_entry() -> None:
    mapping = {"lr": {"low": 1e-05, "log": True}, "a b": ["x", "no", 1.0, "1.0"], "e": 1e300, "f": 0.5}
    assert write(mapping, "yaml") == (
        'lr: {low: 1.0e-05, log: true}\n"a b": [x, "no", 1.0, "1.0"]\ne: 1.0e+300\nf: 0.5\n'
    )
    assert write(mapping, "toml") == (
        'lr = {low = 1e-05, log = true}\n"a b" = ["x", "no", 1.0, "1.0"]\ne = 1e+300\nf = 0.5\n'
    )
    assert write(mapping, "json") == (
        '{\n  "lr": {"low": 1e-05, "log": true},\n  "a b": ["x", "no", 1.0, "1.0"],\n  "e": 1e+300,\n  "f": 0.5\n}\n'
    )


def test_under_a_key() -> None:
    assert write({"a": 1}, "yaml", under="params") == "params:\n  a: 1\n"
    assert write({"a": 1}, "toml", under="params") == "[params]\na = 1\n"
    assert read(write({"a": 1}, "json", under="params"), "json", "x").value == {"params": {"a": 1}}


@pytest.mark.parametrize(
    ("mapping", "format", "words"),
    [
        ({"a": [None]}, "toml", "^a: TOML has no null"),
        ({"a": 2**63}, "toml", "^a: TOML holds integers of 64 bits"),
        ({"a": 1}, "ymal", "a format is yaml, toml or json; got 'ymal'.*'yaml'"),
    ],
)
def test_what_cannot_be_written(mapping: dict[str, Any], format: str, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        write(mapping, format)
