from __future__ import annotations

import enum
import math
from fractions import Fraction

import numpy as np
import pytest

from search_spaces.errors import SpaceError
from search_spaces.values import canonical, comparable, nearest, plain, scalar


class Encoder(enum.Enum):
    ONEHOT = "onehot"
    SIZES = (1, 2)


class Level(enum.IntEnum):
    LOW = 1


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        (Fraction(1, 4), 0.25),
        ("é", "é"),
        ((1, [2, (3,)]), [1, [2, [3]]]),
        ({"a": {"b": (1,)}}, {"a": {"b": [1]}}),
        (Encoder.ONEHOT, "onehot"),
        (Encoder.SIZES, [1, 2]),
        (Level.LOW, 1),
        (Colour.RED, "red"),
        ({Colour.RED: 1}, {"red": 1}),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.str_("a"), "a"),
    ],
)
def test_plain_is_made_of_json_types_alone(value: object, expected: object) -> None:
    result = plain(value)
    assert result == expected
    assert type(result) is type(expected)
    assert canonical(result) == canonical(expected)


def test_plain_copies_deeply() -> None:
    inner = [1]
    copy = plain({"a": inner})
    inner.append(2)
    assert copy == {"a": [1]}


@pytest.mark.parametrize(
    ("value", "path", "words"),
    [
        ([0, math.nan], (1,), "finite"),
        ({"a": [math.inf]}, ("a", 0), "null"),
        ({1: 2}, (), 'put it in quotes, "1"'),
        ({"a": {3}}, ("a",), "of type set"),
        (object(), (), "of type object"),
        ("\ud83d", (), "surrogate"),
    ],
)
def test_plain_refuses_what_json_cannot_hold(value: object, path: tuple[object, ...], words: str) -> None:
    with pytest.raises(SpaceError, match=words) as caught:
        plain(value)
    assert caught.value.path == path


def test_plain_refuses_a_list_that_holds_itself() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(SpaceError, match="nests at most"):
        plain(endless)


def test_canonical_tells_types_apart_but_not_the_order_of_keys() -> None:
    assert len({canonical(value) for value in (1, 1.0, True, "1", [1], None)}) == 6
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})


def test_comparable_takes_whole_floats_for_integers_and_nothing_else() -> None:
    assert comparable({"a": [1.0, -0.0]}) == comparable({"a": [1, 0]})
    assert len({comparable(value) for value in (1, True, "1", 1.5)}) == 4
    assert comparable(object()) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None), ("~", None), ("null", None), ("None", "None"), ("nULL", "nULL"),
        ("true", True), ("False", False), ("no", "no"), ("yes", "yes"), ("on", "on"),
        ("0", 0), ("-12", -12), ("+7", 7), ("010", 10), ("0o17", 15), ("0x1F", 31), ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("1e-5", 1e-5), ("1E3", 1000.0), ("1.", 1.0), (".5", 0.5), ("-.5e+1", -5.0), ("1.5", 1.5), (".", "."),
        (".inf", math.inf), ("-.INF", -math.inf), ("inf", "inf"), ("nan", "nan"), ("e5", "e5"), ("1e", "1e"),
        ("2024-01-01", "2024-01-01"), ("12:30", "12:30"), ("١", "١"), ("lr", "lr"),
    ],
)  # fmt: skip
def test_scalar_follows_the_core_schema_of_yaml_1_2(text: str, expected: object) -> None:
    result = scalar(text)
    assert result == expected
    assert type(result) is type(expected)


def test_scalar_knows_nan() -> None:
    value = scalar(".nan")
    assert isinstance(value, float)
    assert math.isnan(value)


def test_nearest_names_the_closest_word_or_nothing() -> None:
    assert nearest("lgo", ["low", "log", "high"]) == " Did you mean 'log'?"
    assert nearest("zzz", ["low", "log"]) == ""
