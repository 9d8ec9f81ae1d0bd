from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces import Categorical, Fixed, Float, Int, Space, SpaceError, loads

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared

CHURN = {
    "lr": {"low": 1e-5, "high": 1e-1, "log": True},
    "encoder": ["onehot", "hash"],
    "bits": {"low": 8, "high": 16, "when": {"encoder": "hash"}},
    "salt": {"choices": [1, 2], "when": {"bits": [8, 9]}},
    "seed": 7,
}
FILE = """\
lr: {low: 1e-5, high: 1e-1, log: true}
encoder:
  - onehot
  - hash
bits:
  low: 8
  high: 16
  when: {encoder: hash}
"""


def test_what_a_space_consists_of_stays_as_it_was_recorded() -> None:
    # Steps whose outputs, or whose code's constants, are spaces have them in artifacts and in keys.
    _, (_, state) = Space({"lr": Float(0, 1)}).__reduce_ex__(4)[1:3]
    assert sorted(state) == ["_constraints", "_distributions", "_places"]


def test_it_is_an_ordered_immutable_mapping() -> None:
    space = Space(CHURN)
    assert list(space) == ["lr", "encoder", "bits", "salt", "seed"]
    assert len(space) == 5
    assert space["seed"] == Fixed(7)
    assert space.get("nothing") is None
    assert "lr" in space
    assert dict(space)["bits"] == Int(8, 16, when={"encoder": "hash"})
    with pytest.raises(TypeError):
        space["lr"] = Fixed(1)  # type: ignore[index]
    with pytest.raises(AttributeError):
        space.lr = Fixed(1)  # type: ignore[attr-defined]
    assert repr(Space({"a": 1})) == "Space({'a': Fixed(value=1)})"


def test_it_copies_what_it_is_given() -> None:
    params: dict[str, Any] = {"a": [1, 2]}
    space = Space(params)
    params["a"].append(3)
    params["b"] = 1
    assert space == Space({"a": [1, 2]})


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ([1, 2], r"a space maps names to what they may be; got \[1, 2\]"),
        (None, "a space maps names"),
        ({1: 2}, "a parameter's name is text; got 1"),
        ({"": 2}, "a parameter's name is text; got ''"),
        ({"lr": {"low": 1, "high": 0}}, r"^lr\.low: low must not exceed high"),
    ],
)
def test_what_is_no_space(params: Any, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        Space(params)


@settings(PATIENT, max_examples=25)
@given(st.from_type(Space))
def test_equal_spaces_have_equal_digests_in_any_order(space: Space) -> None:
    backwards = Space({name: space[name] for name in reversed(list(space))})
    for twin in (
        backwards,
        Space(space),
        Space(space.as_dict()),
        pickle.loads(pickle.dumps(space)),
        copy.deepcopy(space),
    ):
        assert twin == space
        assert hash(twin) == hash(space)
        assert twin.digest() == space.digest()


@settings(PATIENT, max_examples=25)
@given(st.from_type(Space), st.from_type(Space))
def test_different_spaces_have_different_digests(one: Space, other: Space) -> None:
    assert (one == other) == (one.digest() == other.digest())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": {"low": 0, "high": 1.0}}, {"a": Float(0.0, 1)}, True),
        ({"a": Int(1, 10, step=2)}, {"a": Int(1, 9, step=2)}, True),
        ({"a": Int(0, 1)}, {"a": Float(0, 1)}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": [1]}, {"a": [1.0]}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": [1]}, False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": [1, 2], "b": Fixed(1, when={"a": [1, 2]})}, {"b": Fixed(1, when={"a": [2, 1]}), "a": [1, 2]}, True),
        ({"a": [1, 2], "b": Fixed(1, when={"a": 1})}, {"a": [1, 2], "b": Fixed(1)}, False),
    ],
)
def test_what_a_digest_tells_apart(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    assert (Space(one).digest() == Space(other).digest()) is same
    assert (Space(one) == Space(other)) is same


def test_a_digest_is_the_same_in_every_process_and_release() -> None:
    # Studies pin this: if it must change, so must _IDENTITY in space.py, and with it every recorded study.
    digest = "1c7045fefaa9900685b2a6f55cc23748d5bd2c2ea1397774654a96b51c118db1"
    assert Space(CHURN).digest() == digest
    code = f"from search_spaces import Space; print(Space({CHURN!r}).digest())"
    other = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "1"}, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == digest


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["lr", "encoder", "bits", "salt", "seed"]),
        ({"lr": 0.1, "new": [1, 2]}, ["lr", "encoder", "bits", "salt", "seed", "new"]),
        ({"encoder": "onehot"}, ["lr", "encoder", "seed"]),
        ({"encoder": ["onehot", "bin"]}, ["lr", "encoder", "seed"]),
        ({"bits": Int(10, 16)}, ["lr", "encoder", "bits", "seed"]),
        ({"bits": Int(9, 16)}, ["lr", "encoder", "bits", "salt", "seed"]),
    ],
)
def test_override_lays_parameters_over_and_drops_what_can_no_longer_exist(
    params: dict[str, Any], expected: list[str]
) -> None:
    assert list(Space(CHURN).override(params)) == expected


def test_override_keeps_and_narrows_conditions() -> None:
    space = Space(CHURN).override({"bits": Int(9, 12)})
    assert space["bits"] == Int(9, 12, when={"encoder": "hash"})
    assert space["salt"] == Categorical([1, 2], when={"bits": 9})
    other = Space(CHURN).override({"bits": {"low": 9, "high": 12, "when": {"encoder": "onehot"}}})
    assert other["bits"].when.as_dict() == {"encoder": "onehot"}


def test_override_refuses_what_contradicts_itself() -> None:
    with pytest.raises(SpaceError, match=r"^bits\.when\.encoder: encoder never takes 'hash'"):
        Space(CHURN).override({"encoder": "onehot", "bits": 9})
    with pytest.raises(SpaceError, match="a space maps names"):
        Space(CHURN).override(3)  # type: ignore[arg-type]


def test_override_remembers_where_things_are_written() -> None:
    over = loads("lr: 1\n\nextra: 2\n", "yaml", name="over.yaml")
    space = loads(FILE, "yaml", name="space.yaml").override(over)
    with pytest.raises(SpaceError) as caught:
        space.check([])
    places = [line.partition(": ")[0] for line in str(caught.value).splitlines()]
    assert places == ["over.yaml:1", "space.yaml:2", "space.yaml:5", "over.yaml:3"]


def test_check_names_file_line_and_nearest_parameter() -> None:
    space = loads(FILE, "yaml", name="space.yaml")
    space.check(["lr", "encoder", "bits", "more"])
    with pytest.raises(SpaceError) as caught:
        space.check(["lr", "encode", "bit_size"])
    assert str(caught.value).splitlines() == [
        "space.yaml:2: encoder: the pipeline has no parameter 'encoder'. Did you mean 'encode'? "
        "Its parameters: lr, encode, bit_size.",
        "space.yaml:5: bits: the pipeline has no parameter 'bits'. Did you mean 'bit_size'? "
        "Its parameters: lr, encode, bit_size.",
    ]
    assert (caught.value.file, caught.value.line, caught.value.path) == ("space.yaml", 2, ("encoder",))
    with pytest.raises(SpaceError, match=r"^a: the pipeline has no parameter 'a'. Its parameters: none\.$"):
        Space({"a": 1}).check(iter(()))


def test_check_asks_whether_the_pipeline_accepts_the_values() -> None:
    asked: list[tuple[str, Any]] = []

    def accepts(name: str, value: Any) -> str | None:
        asked.append((name, value))
        return "it wants an integer" if name == "lr" else None

    space = loads(FILE, "yaml", name="space.yaml")
    with pytest.raises(SpaceError, match=r"^space\.yaml:1: lr: the pipeline refuses 1e-05: it wants an integer$"):
        space.check(["lr", "encoder", "bits"], accepts=accepts)
    assert asked == [("lr", 1e-5), ("encoder", "onehot"), ("encoder", "hash"), ("bits", 8), ("bits", 16)]
    space.check(["lr", "encoder", "bits"], accepts=lambda name, value: None)
