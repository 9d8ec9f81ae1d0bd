from __future__ import annotations

import copy
import pickle
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_pipelines.output import Output, is_output, result, substitute


class Fixed:
    """A source whose value is known; counts how often it is asked."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.looks = 0

    def look(self, name: str) -> Any:
        self.looks += 1
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


def output(value: Any) -> Output:
    return Output(Fixed(value), "value")


def test_making_passing_and_collecting_an_output_looks_at_nothing() -> None:
    source = Fixed(3)
    out = Output(source, "value")
    held = [out, {"a": (out,)}]
    assert is_output(out)
    assert is_output(held[0])
    assert not is_output(3)
    assert source.looks == 0


@pytest.mark.parametrize(
    "look",
    [
        lambda out: out + 1 == 4,
        lambda out: 1 + out == 4,
        lambda out: -out == -3,
        lambda out: out < 4 <= out + 1,
        lambda out: bool(out),
        lambda out: f"{out:03d}" == "003",
        lambda out: str(out) == repr(out) == "3",
        lambda out: int(out) == float(out) == 3,
        lambda out: list(range(out)) == [0, 1, 2],
        lambda out: [10, 11, 12, 13][out] == 13,
        lambda out: {3: "x"}[out] == "x",
        lambda out: isinstance(out, int),
        lambda out: out.bit_length() == 2,
        lambda out: divmod(7, out) == (2, 1),
        lambda out: round(out) == 3,
        lambda out: hash(out) == hash(3),
    ],
)
def test_a_number_is_looked_at_as_a_number(look: Any) -> None:
    assert look(output(3))


def test_a_sequence_is_iterated_indexed_and_measured() -> None:
    out = output(["a", "b"])
    assert list(out) == ["a", "b"]
    assert [*out] == ["a", "b"]
    first, second = out
    assert (first, second) == ("a", "b")
    assert len(out) == 2
    assert "a" in out
    assert out[-1] == "b"
    assert list(reversed(out)) == ["b", "a"]


def test_a_callable_is_called_and_a_context_entered() -> None:
    assert output(lambda x: x + 1)(2) == 3

    class Context:
        def __enter__(self) -> str:
            return "in"

        def __exit__(self, *exc: object) -> None:
            return None

    with output(Context()) as inside:
        assert inside == "in"


def test_a_failure_is_raised_at_every_look() -> None:
    out = output(ValueError("bad"))
    for _ in range(2):
        with pytest.raises(ValueError, match="bad"):
            bool(out)


def test_the_value_is_fetched_once() -> None:
    source = Fixed([1])
    out = Output(source, "value")
    assert out[0] == 1
    assert out[0] == 1
    assert source.looks == 1


def test_augmented_assignment_rebinds_and_leaves_other_names_alone() -> None:
    out = other = output(3)
    out += 1
    assert (out, other) == (4, 3)
    assert type(out) is int
    grown = also = output([1])
    grown += [2]
    assert grown == also == [1, 2]  # as with a plain list


def test_copies_and_pickles_are_of_the_value() -> None:
    assert type(copy.copy(output([1]))) is list
    assert copy.deepcopy(output({"a": [1]})) == {"a": [1]}
    assert pickle.loads(pickle.dumps(output((1, 2)))) == (1, 2)


def test_result_gives_the_object_itself_and_leaves_the_rest_alone() -> None:
    assert result(output(None)) is None
    plain = [1, {"a": 2}]
    assert result(plain) is plain
    mixed = result([1, {"a": output(2)}])
    assert mixed == [1, {"a": 2}]
    assert type(mixed[1]["a"]) is int  # type: ignore[index]


@dataclass(frozen=True)
class Settings:
    rate: Any
    name: str = "x"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda leaf: [leaf, 1],
        lambda leaf: (1, leaf),
        lambda leaf: {"k": leaf},
        lambda leaf: OrderedDict(k=leaf),
        lambda leaf: Point(1, leaf),
        lambda leaf: Settings(leaf),
        lambda leaf: [{"k": (Settings([leaf]),)}],
        lambda leaf: defaultdict(list, k=leaf),
    ],
)
def test_outputs_are_found_however_deep_and_containers_keep_their_type(wrap: Any) -> None:
    out = output(5)
    found: list[Any] = []

    def note(leaf: Any) -> int:
        found.append(leaf)
        return 5

    replaced = substitute(wrap(out), note)
    assert len(found) == 1
    assert type(replaced) is type(wrap(5))
    assert replaced == wrap(5)


def test_a_container_that_holds_itself_ends() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    assert substitute(loop, lambda leaf: leaf) is loop


values = st.recursive(
    st.integers() | st.text() | st.none() | st.booleans(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(values)
def test_without_outputs_nothing_is_copied(value: Any) -> None:
    assert substitute(value, lambda leaf: pytest.fail("no leaf here")) is value
