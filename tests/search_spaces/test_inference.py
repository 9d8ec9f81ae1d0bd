from __future__ import annotations

import enum
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces import (
    Categorical,
    Distribution,
    Fixed,
    Float,
    Int,
    SpaceError,
    distribution_of,
    parse_assignment,
    parse_distribution,
)
from search_spaces.place import Place

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared


class Encoder(enum.Enum):
    ONEHOT = "onehot"
    HASH = "hash"


class Word(enum.StrEnum):
    CALL = "uniform(0, 1)"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Float(0, 1), Float(0, 1)),
        (3, Fixed(3)),
        (3.0, Fixed(3.0)),
        (True, Fixed(True)),
        (None, Fixed(None)),
        ("adam", Fixed("adam")),
        ("1e-5", Fixed("1e-5")),
        ("RBF(1.0)", Fixed("RBF(1.0)")),
        (Encoder.HASH, Fixed("hash")),
        (Word.CALL, Fixed("uniform(0, 1)")),
        (Encoder, Categorical(["onehot", "hash"])),
        ([1, 2, 3], Categorical([1, 2, 3])),
        (("a", [1]), Categorical(["a", [1]])),
        ("loguniform(1e-5, 1e-1)", Float(1e-5, 1e-1, log=True)),
        ({"low": 1, "high": 9}, Int(1, 9)),
        ({"low": 1, "high": 9, "log": True}, Int(1, 9, log=True)),
        ({"low": 1, "high": 9, "step": 2}, Int(1, 9, step=2)),
        ({"low": 1, "high": 9.0}, Float(1, 9)),
        ({"low": 0, "high": 1, "step": 0.5}, Float(0, 1, step=0.5)),
        ({"low": 1, "high": 9, "type": "float"}, Float(1, 9)),
        ({"type": "int", "low": 1, "high": 9}, Int(1, 9)),
        ({"low": 1, "high": 9, "when": {"a": 1}}, Int(1, 9, when={"a": 1})),
        ({"choices": ["a", "b"], "when": {"a": [1, 2]}}, Categorical(["a", "b"], when={"a": [1, 2]})),
        ({"type": "categorical", "choices": ["a"]}, Categorical(["a"])),
        ({"value": {"low": 1}}, Fixed({"low": 1})),
        ({"value": [1, 2]}, Fixed([1, 2])),
        ({"type": "fixed", "value": "uniform(0, 1)"}, Fixed("uniform(0, 1)")),
    ],
)
def test_plain_values_stand_for_distributions(value: Any, expected: Distribution) -> None:
    assert distribution_of(value) == expected


@pytest.mark.parametrize(
    ("value", "words", "path"),
    [
        (
            {"low": 1, "high": 2, "lgo": True},
            "unknown key 'lgo'. Did you mean 'log'[?] Known keys: low, high",
            ("x", "lgo"),
        ),
        ({"low": 1, "high": 2, "hihg": 3}, "Did you mean 'high'", ("x", "hihg")),
        ({"min": 1, "max": 2}, "unknown key 'min'. Did you mean 'low'", ("x", "min")),
        ({"values": [1, 2]}, "Did you mean 'choices'", ("x", "values")),
        ({"alpha": 1}, r"unknown key 'alpha'. A fixed mapping is written \{value", ("x", "alpha")),
        ({1: 2}, "unknown key 1. Known keys", ("x", "1")),
        ({}, "has low and high, or choices, or value", ("x",)),
        ({"log": True}, "has low and high, or choices, or value; got {log}", ("x",)),
        ({"low": 1}, "int needs high; got only low: add high", ("x",)),
        ({"high": 1.5}, "float needs low", ("x",)),
        ({"type": "fixed"}, "fixed needs value", ("x",)),
        ({"low": 1, "choices": [1]}, "low does not go with categorical, which has choices", ("x", "low")),
        ({"value": 1, "choices": [1]}, "value does not go with categorical", ("x", "value")),
        ({"value": 1, "log": True}, "log does not go with fixed", ("x", "log")),
        ({"type": "int", "low": 1, "high": 2, "choices": [1]}, "choices does not go with int", ("x", "choices")),
        ({"low": 1, "high": 2, "type": "flaot"}, "type is one of float, int.*Did you mean 'float'", ("x", "type")),
        ({"low": 1, "high": 2, "type": ["int"]}, r"type is one of float, int.*got \['int'\]", ("x", "type")),
        ({"low": 2, "high": 1}, "low must not exceed high", ("x", "low")),
        ({"low": "1", "high": 2}, "got '1' of type str", ("x", "low")),
        ({"low": 1, "high": 2, "when": "a"}, "when maps parameters to values", ("x", "when")),
        ({"low": 1, "high": 2, "when": {"a": []}}, "at least one allowed value", ("x", "when", "a")),
        ([], "at least one choice", ("x",)),
        ([1, 2, 1], "1 comes twice", ("x", 2)),
        ([1, {"a": object()}], "of type object", ("x", 1, "a")),
        (float("nan"), "finite", ("x",)),
        (object(), "of type object", ("x",)),
        ("uniform(2, 1)", "low must not exceed high", ("x",)),
    ],
)
def test_wrong_values_are_refused_at_their_place(value: Any, words: str, path: tuple[object, ...]) -> None:
    with pytest.raises(SpaceError, match=words) as caught:
        distribution_of(value, Place(("x",)))
    assert caught.value.path == path
    assert str(caught.value).startswith(".".join(map(str, path)) + ": ")


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("lr=loguniform(1e-5,1e-1)", "lr", Float(1e-5, 1e-1, log=True)),
        (" lr = 1e-5 ", "lr", Fixed(1e-5)),
        ("seed=7", "seed", Fixed(7)),
        ("shuffle=true", "shuffle", Fixed(True)),
        ("shuffle=no", "shuffle", Fixed("no")),
        ("limit=null", "limit", Fixed(None)),
        ("name=None", "name", Fixed("None")),
        ("name=''", "name", Fixed("")),
        ('name="uniform(0, 1)"', "name", Fixed("uniform(0, 1)")),
        ("query=a=b", "query", Fixed("a=b")),
        ("note=hello: world #1", "note", Fixed("hello: world #1")),
        ("depth=[2, 4, 8]", "depth", Categorical([2, 4, 8])),
        ("depth={low: 2, high: 8, step: 2}", "depth", Int(2, 8, step=2)),
        ("depth={value: [2, 4]}", "depth", Fixed([2, 4])),
        ("encoder=choice(hash,onehot)", "encoder", Categorical(["hash", "onehot"])),
        ("fit.lr=0.5", "fit.lr", Fixed(0.5)),
    ],
)
def test_assignments(text: str, name: str, expected: Distribution) -> None:
    assert parse_assignment(text) == (name, expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr", "an assignment is NAME=VALUE; got 'lr'"),
        ("=3", "an assignment is NAME=VALUE"),
        ("lr=", "^lr: a parameter has a value; got nothing"),
        ("lr=loguniform(0, 1)", r"^lr: loguniform\(0, 1\): low must be above 0"),
        ("lr={low: 1, hgih: 2}", r"^lr\.hgih: unknown key 'hgih'. Did you mean 'high'"),
        ("lr=[1, 2", "^lr: .*this is not YAML"),
        ("lr=.nan", "^lr: a value is finite"),
    ],
)
def test_wrong_assignments(text: str, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        parse_assignment(text)


@PATIENT
@given(st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False))
def test_plain_numbers_on_a_command_line_keep_their_type(value: Any) -> None:
    assert parse_distribution(str(value)) == Fixed(value)
