from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces.documents import Format, read
from search_spaces.errors import SpaceError
from search_spaces.values import canonical, scalar

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared

YAML = """\
# a comment
lr: 1e-5
words: [no, yes, on, 1_000, 2024-01-01, 12:30, =, <<]
numbers: {hex: 0x1F, octal: 0o17, old: 010, float: 1., exp: 1E3}
tagged: [!!str 5, !!float 1, !!int "7", !!null "", !!bool "true", !!float .5]
base: &base
  low: 1
copy: *base
text: |
  two
  lines
empty:
"""


def test_yaml_is_version_1_2() -> None:
    document = read(YAML, "yaml", "x.yaml")
    assert canonical(document.value) == canonical(
        {
            "lr": 1e-5,
            "words": ["no", "yes", "on", "1_000", "2024-01-01", "12:30", "=", "<<"],
            "numbers": {"hex": 31, "octal": 15, "old": 10, "float": 1.0, "exp": 1000.0},
            "tagged": ["5", 1.0, 7, None, True, 0.5],
            "base": {"low": 1},
            "copy": {"low": 1},
            "text": "two\nlines\n",
            "empty": None,
        }
    )
    place = document.place
    assert [place.at(key).line for key in document.value] == [2, 3, 4, 5, 6, 8, 9, 12]
    assert place.at("base", "low").line == 7
    assert str(place.at("base", "low").error("wrong")) == "x.yaml:7: base.low: wrong"


@pytest.mark.parametrize(
    ("format", "text", "expected"),
    [
        ("yaml", "", None),
        ("yaml", "{}", {}),
        ("yaml", "%YAML 1.1\n---\na: no", {"a": "no"}),
        ("json", '{"a": [1, 1.0, 1e-5, true, null, "\\ud83d\\ude00"]}', {"a": [1, 1.0, 1e-5, True, None, "😀"]}),
        ("json", '{\n\t"a": 1\n}', {"a": 1}),
        ("toml", "a = 1e-5\nb = [true]\n[c]\nd = 'x'", {"a": 1e-5, "b": [True], "c": {"d": "x"}}),
        ("toml", "", {}),
    ],
)
def test_values(format: Format, text: str, expected: Any) -> None:
    assert canonical(read(text, format, "x").value) == canonical(expected)


@pytest.mark.parametrize(
    ("format", "text", "message"),
    [
        ("yaml", "a: 1\nb: [1,\nc: 2", r"^x:3: this is not YAML: .*column"),
        ("yaml", "a:\n\t- 1", r"^x:2: this is not YAML: found character '\\t' that cannot start .*column 1"),
        ("yaml", "a: 1\n---\nb: 2", r"^x:2: this is not YAML: but found another document"),
        ("yaml", "a: 1\nb: *nothing", r"^x:2: this is not YAML: found undefined alias 'nothing'"),
        ("yaml", "a: 1\nb: \x00", r"^x:2: this is not YAML: special characters are not allowed"),
        ("yaml", "a: 1\nb: 2\na: 3", r"^x:3: a: a key is written once; 'a' also stands on line 1"),
        ("yaml", "a:\n  b: 2\n  b: 3", r"^x:3: a\.b: a key is written once; 'b' also stands on line 2"),
        ("yaml", "a: 1\n2: 3", r"^x:2: a key is text; got 2: put it in quotes"),
        ("yaml", "a:\n  null: 3", r"^x:2: a: a key is text; got None"),
        ("yaml", "? [a, b]\n: 1", r"^x:1: a key is text; got \['a', 'b'\]"),
        ("yaml", "a: 1\nb: !spaec xgboost", r"^x:2: b: the tag '!spaec' has no meaning here"),
        ("yaml", "b: !!set {a}", r"^x:1: b: the tag '!!set' has no meaning here"),
        ("yaml", "b: !!binary aGk=", r"^x:1: b: the tag '!!binary' has no meaning here"),
        ("yaml", "a: &a [*a]", r"^x: values nest too deeply"),
        ("yaml", "a: 1\nb: " + "[" * 500, r"^x:2: this is not YAML: maximum depth .* exceeded \(101\) \(column 103\)"),
        ("yaml", "a: &a [1,1,1,1,1,1,1,1]\n" + "".join(
            f"{after}: &{after} [{', '.join([f'*{before}'] * 8)}]\n" for before, after in zip("abcdefgh", "bcdefghi")
        ), r"has at most 100000 values; aliases make more"),
        ("yaml", "a: " + "9" * 5000, r"^x: a number cannot be read"),
        ("json", '{"a": 1,\n "b" 2}', r"^x:2: this is not JSON: Expecting ':' delimiter \(column 6\)"),
        ("json", "", r"^x:1: this is not JSON: Expecting value"),
        ("json", '{"a": 1,\n "a": 2}', r"^x:2: a: a key is written once"),
        ("json", "[" * 100000, r"^x: values nest too deeply"),
        ("json", "9" * 5000, r"^x: a number cannot be read"),
        ("toml", "a = 1\nb = \n", r"^x:2: this is not TOML: Invalid value \(column 5\)"),
        ("toml", "a = 1\na = 2", r"^x:\d: this is not TOML: Cannot overwrite a value"),
        ("toml", "a = 1\nb = [1,", r"^x:2: this is not TOML: Unclosed array|^x:2: this is not TOML: Invalid value"),
        ("xml", "<a/>", r"a format is yaml, toml or json; got 'xml'"),
        ("yml", "a: 1", r"got 'yml'.*Did you mean 'yaml'"),
    ],
)  # fmt: skip
def test_wrong_texts_are_refused_with_their_line(format: Any, text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        read(text, format, "x")


@PATIENT
@given(st.text("0123456789abefox_.+~nulTRUEinfa", min_size=1, max_size=6))
def test_plain_scalars_in_yaml_mean_what_they_mean_on_a_command_line(text: str) -> None:
    assert repr(read(f"x: {text}", "yaml", "x").value["x"]) == repr(scalar(text))


def test_an_anchor_may_be_defined_anew() -> None:
    assert read("a: &x 1\nb: &x 2\nc: *x", "yaml", "x").value == {"a": 1, "b": 2, "c": 2}
