from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces.errors import SpaceError
from search_spaces.lines import json_lines, toml_lines

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared

TOML = '''\
# [not] = "a key"
title = "a # b" # and [c]
"quoted \\u00e9" = 'literal = 1'
a.b . c = 1
a.b.d = [ # first
  1, # not, an = item
  {x = 1, "y" = [2,
    3]},
  """
[deep]
k = 1
""", \'\'\'it''s ""\'\'\'\'\',
]
when = 1979-05-27 07:32:00
escaped = "\\"" # "
empty = ""
none = []
nothing = {}

[table]
key = """"two" \\
  quotes"""""
[table . "sub.table"]
low = 1
[[rows]]
n = 1
  [rows.inner]
  m = 2
[[rows]]
n = 3
[[rows.deep]]
z = 4
'''


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every key and item in ``value``."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from paths(item, (*path, key))


def test_toml() -> None:
    lines = toml_lines(TOML)
    assert set(lines) == set(paths(tomllib.loads(TOML)))
    expected = {
        ("title",): 2,
        ("quoted é",): 3,
        ("a",): 4,
        ("a", "b"): 4,
        ("a", "b", "c"): 4,
        ("a", "b", "d"): 5,
        ("a", "b", "d", 0): 6,
        ("a", "b", "d", 1): 7,
        ("a", "b", "d", 1, "x"): 7,
        ("a", "b", "d", 1, "y"): 7,
        ("a", "b", "d", 1, "y", 0): 7,
        ("a", "b", "d", 1, "y", 1): 8,
        ("a", "b", "d", 2): 9,
        ("a", "b", "d", 3): 12,
        ("when",): 14,
        ("escaped",): 15,
        ("empty",): 16,
        ("none",): 17,
        ("nothing",): 18,
        ("table",): 20,
        ("table", "key"): 21,
        ("table", "sub.table"): 23,
        ("table", "sub.table", "low"): 24,
        ("rows",): 25,
        ("rows", 0): 25,
        ("rows", 0, "n"): 26,
        ("rows", 0, "inner"): 27,
        ("rows", 0, "inner", "m"): 28,
        ("rows", 1): 29,
        ("rows", 1, "n"): 30,
        ("rows", 1, "deep"): 31,
        ("rows", 1, "deep", 0): 31,
        ("rows", 1, "deep", 0, "z"): 32,
    }
    assert lines == expected


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment"])
def test_an_empty_toml_has_no_lines(text: str) -> None:
    assert toml_lines(text) == {}


def test_windows_line_ends_count_once() -> None:
    assert toml_lines("a = 1\r\n\r\nb = 2\r\n") == {("a",): 1, ("b",): 3}
    assert json_lines('{\r\n"a": 1,\r\n"b": 2}', "x.json") == {("a",): 2, ("b",): 3}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@PATIENT
@given(JSON, st.sampled_from([None, 0, 2, "\t"]), st.booleans())
def test_every_json_key_has_the_line_it_stands_on(value: Any, indent: Any, ascii: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii)
    lines = json_lines(text, "x.json")
    assert set(lines) == set(paths(value))
    rows = text.split("\n")
    for path, line in lines.items():
        if isinstance(path[-1], str):
            assert json.dumps(path[-1], ensure_ascii=ascii) + ":" in rows[line - 1]
    if indent is not None:
        assert len(set(lines.values())) == len(lines)  # each on a line of its own


def test_a_json_key_written_twice_is_refused() -> None:
    text = '{"a": {"x": 1},\n "b": {"x": 2},\n "a": 3}'
    with pytest.raises(SpaceError, match=r"^s\.json:3: a: a key is written once; 'a' also stands on line 1"):
        json_lines(text, "s.json")
    with pytest.raises(SpaceError, match=r"^s\.json:2: a\.x: a key"):
        json_lines('{"a": {"x": 1,\n "\\u0078": 2}}', "s.json")
