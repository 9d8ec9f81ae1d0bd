from __future__ import annotations

import copy
import enum
import pickle
from collections.abc import Mapping
from typing import Any

import pytest

from search_spaces import Condition, SpaceError


class Encoder(enum.Enum):
    HASH = "hash"


@pytest.mark.parametrize(
    ("when", "allowed", "written"),
    [
        (None, {}, {}),
        ({}, {}, {}),
        ({"encoder": "hash"}, {"encoder": ("hash",)}, {"encoder": "hash"}),
        ({"encoder": Encoder.HASH}, {"encoder": ("hash",)}, {"encoder": "hash"}),
        ({"encoder": ("hash", "bin")}, {"encoder": ("hash", "bin")}, {"encoder": ["hash", "bin"]}),
        ({"a": [1], "b": None}, {"a": (1,), "b": (None,)}, {"a": 1, "b": None}),
        ({"layers": [[64, 64]]}, {"layers": ([64, 64],)}, {"layers": [[64, 64]]}),
        ({"a": {"k": 1}}, {"a": ({"k": 1},)}, {"a": {"k": 1}}),
    ],
)
def test_values_and_lists_of_values(when: Mapping[str, Any], allowed: dict[str, Any], written: dict[str, Any]) -> None:
    condition = Condition(when)
    assert dict(condition) == allowed
    assert condition.as_dict() == written
    assert Condition(condition.as_dict()) == condition
    assert bool(condition) == bool(allowed)
    assert len(condition) == len(allowed)


@pytest.mark.parametrize(
    ("when", "words", "path"),
    [
        ("hash", "maps parameters to values", ()),
        (["encoder"], "maps parameters to values", ()),
        ({1: "a"}, "names parameters by text", ()),
        ({"": "a"}, "names parameters by text", ()),
        ({"a": []}, "at least one allowed value", ("a",)),
        ({"a": object()}, "of type object", ("a",)),
        ({"a": [1, object()]}, "of type object", ("a", 1)),
    ],
)
def test_what_is_refused(when: Any, words: str, path: tuple[object, ...]) -> None:
    with pytest.raises(SpaceError, match=words) as caught:
        Condition(when)
    assert caught.value.path == path


def test_equality_knows_no_order_and_hash_agrees() -> None:
    one, other = Condition({"a": [1, 2], "b": "x"}), Condition({"b": ["x"], "a": [2, 1]})
    assert one == other
    assert hash(one) == hash(other)
    assert one == Condition({"a": [1, 2, 1], "b": "x"})
    assert one != Condition({"a": [1, 2]})
    assert one != {"a": [1, 2], "b": "x"}
    assert Condition({"a": 1}) != Condition({"a": 1.0})


def test_it_copies_what_it_is_given_and_can_be_copied() -> None:
    values = ["hash"]
    condition = Condition({"encoder": values})
    values.append("bin")
    assert condition["encoder"] == ("hash",)
    assert pickle.loads(pickle.dumps(condition)) == copy.deepcopy(condition) == condition
    assert repr(condition) == "Condition({'encoder': 'hash'})"
