from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces import Categorical, Distribution, Fixed, Float, Int, Space, SpaceError

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared

CHURN: dict[str, Any] = {
    "lr": Float(1e-5, 1e-1, log=True),
    "bits": Int(8, 16, when={"encoder": "hash"}),
    "salt": Fixed(1, when={"bits": [8, 9]}),
    "encoder": Categorical(["onehot", "hash", "bin"]),
}


@pytest.mark.parametrize(
    ("params", "words", "path"),
    [
        (
            {"a": Int(1, 2, when={"encodr": 1}), "encoder": 1},
            "'encodr' is none. Did you mean 'encoder'",
            "a.when.encodr",
        ),
        (
            {"a": Int(1, 2, when={"b": "hahs"}), "b": ["hash", "bin"]},
            "b never takes 'hahs', .* mean 'hash'",
            "a.when.b",
        ),
        ({"a": Int(1, 2, when={"b": 7}), "b": [1, 2]}, r"b never takes 7, it is Categorical", "a.when.b"),
        ({"a": Int(1, 2, when={"b": [1, 3]}), "b": [1, 2]}, "b never takes 3", "a.when.b"),
        ({"a": Int(1, 2, when={"b": 10}), "b": Int(1, 9)}, r"b never takes 10, it is Int\(low=1, high=9\)", "a.when.b"),
        ({"a": Int(1, 2, when={"b": 2}), "b": Int(1, 9, step=2)}, "b never takes 2", "a.when.b"),
        ({"a": Int(1, 2, when={"b": 2}), "b": 1}, r"b never takes 2, it is Fixed\(value=1\)", "a.when.b"),
        ({"a": Int(1, 2, when={"b": True}), "b": [0, 1]}, "b never takes True", "a.when.b"),
        ({"a": Int(1, 2, when={"b": 0.5}), "b": Float(0, 1)}, "b is a continuous range.*exactly 0.5", "a.when.b"),
        (
            {"a": Int(1, 2, when={"b": [64, 64]}), "b": [[64, 64], [8]]},
            r"never takes 64.*write \[\[64, 64\]\]",
            "a.when.b",
        ),
        ({"a": Int(1, 2, when={"a": 1})}, "no circle; got a → a", "a.when"),
        (
            {"a": Int(1, 2, when={"c": 1}), "b": Int(1, 2, when={"a": 1}), "c": Int(1, 2, when={"b": 1})},
            "no circle; got (a → b → c → a|b → c → a → b|c → a → b → c|a → c → b → a|b → a → c → b|c → b → a → c)",
            None,
        ),
        (
            {"a": [1, 2], "b": Int(1, 2, when={"a": 1}), "c": Int(1, 2, when={"a": 2, "b": 1})},
            "c needs another a than its parents have",
            "c.when",
        ),
        (
            {
                "a": [1, 2],
                "b": Fixed(1, when={"a": 1}),
                "c": Fixed(1, when={"a": 2}),
                "d": Fixed(1, when={"b": 1, "c": 1}),
            },
            "d needs another a than its parents have",
            "d.when",
        ),
    ],
)
def test_impossible_conditions(params: dict[str, Any], words: str, path: str | None) -> None:
    with pytest.raises(SpaceError, match=words) as caught:
        Space(params)
    if path is not None:
        assert ".".join(map(str, caught.value.path)) == path


def test_a_condition_on_a_list_says_how_to_write_it() -> None:
    with pytest.raises(SpaceError, match=r"for the one value that is a list write \[\[64, 32\]\]"):
        Space({"layers": [[64, 32], [8]], "a": Int(1, 2, when={"layers": [64, 32]})})
    space = Space({"layers": [[64, 32], [8]], "a": Int(1, 2, when={"layers": [[64, 32]]})})
    assert space.is_active("a", {"layers": [64, 32]})
    assert not space.is_active("a", {"layers": [8]})


def test_order_puts_selectors_first_and_parents_before_children() -> None:
    assert Space(CHURN).order() == ("encoder", "bits", "lr", "salt")


@settings(PATIENT, max_examples=25)
@given(st.from_type(Space), st.randoms(use_true_random=False))
def test_order_does_not_depend_on_the_order_written(space: Space, random: Any) -> None:
    names = list(space)
    random.shuffle(names)
    shuffled = Space({name: space[name] for name in names})
    ordered = space.order()
    assert ordered == shuffled.order()
    assert sorted(ordered) == sorted(space)
    assert all(ordered.index(parent) < ordered.index(name) for name in space for parent in space[name].when)
    chosen = {parent for name in space for parent in space[name].when}
    assert set(ordered[: len(chosen)]) == chosen


def test_is_active_follows_conditions_through_parents() -> None:
    space = Space(CHURN)
    assert space.active({"encoder": "hash", "bits": 9}) == {"lr": True, "bits": True, "salt": True, "encoder": True}
    assert space.active({"encoder": "hash", "bits": 12}) == {"lr": True, "bits": True, "salt": False, "encoder": True}
    # A value left over from another sample does not revive what its parent switches off.
    assert space.active({"encoder": "bin", "bits": 9}) == {"lr": True, "bits": False, "salt": False, "encoder": True}


def test_is_active_asks_for_the_values_that_decide() -> None:
    space = Space(CHURN)
    assert space.is_active("lr", {})
    with pytest.raises(SpaceError, match="bits depends on encoder, which has no value yet"):
        space.is_active("bits", {"lr": 0.1})
    with pytest.raises(SpaceError, match=r"'bit' is no parameter of this space. Did you mean 'bits'"):
        space.is_active("bit", {})


@pytest.mark.parametrize(
    ("parent", "when", "value", "active"),
    [
        (Int(1, 9), [3, 4.0], 3, True),
        (Int(1, 9), [3, 4.0], 4, True),
        (Int(1, 9), [3, 4.0], 5, False),
        (Categorical([True, False]), True, True, True),
        (Categorical([True, False]), True, 1, False),
        (Categorical(["a", None]), None, None, True),
        (Categorical(["a", None]), None, object(), False),
        (Float(0, 1, step=0.1), 0.3, 0.1 + 0.2, True),
        (Float(0, 1, step=0.1), 0.3, 0.4, False),
        (Float(0, 1, step=0.1), 1, 1.0, True),
        (Float(0, 1, step=0.1), 0.3, "0.3", False),
    ],
)
def test_values_compare_as_the_parent_sees_them(parent: Distribution, when: Any, value: Any, active: bool) -> None:
    space = Space({"parent": parent, "child": Fixed(1, when={"parent": when})})
    assert space.is_active("child", {"parent": value}) is active


def test_a_fixed_parent_needs_no_value() -> None:
    space = Space({"encoder": "hash", "bits": Int(8, 16, when={"encoder": "hash"}), "a": Fixed(1, when={"bits": 8})})
    assert space.is_active("bits", {})
    assert not space.is_active("a", {"bits": 9})


def samples(space: Space, names: tuple[str, ...], values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every sample of a finite space, one after the other: the plain meaning of conditions."""
    if not names:
        yield values
        return
    name, *rest = names
    if not space.is_active(name, values):
        yield from samples(space, tuple(rest), values)
        return
    for value in enumerated(space[name]):
        yield from samples(space, tuple(rest), {**values, name: value})


def enumerated(distribution: Distribution) -> list[Any]:
    if isinstance(distribution, Int):
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    if isinstance(distribution, Float):
        steps = range(distribution.size() or 0)
        return [distribution.low + k * (distribution.step or 0.0) for k in steps]
    return list(distribution.examples())


@settings(PATIENT, max_examples=40)
@given(st.from_type(Space))
def test_grid_size_counts_samples(space: Space) -> None:
    size = space.grid_size()
    assert (size is None) == any(space[name].size() is None for name in space)
    if size is not None and size <= 1000:
        assert size == sum(1 for _ in samples(space, space.order(), {}))


@pytest.mark.parametrize(
    ("params", "size"),
    [
        ({}, 1),
        ({"a": Float(0, 1)}, None),
        ({"a": Float(0, 1, step=0.25), "b": [1, 2]}, 10),
        ({"a": ["x", "y"], "b": Int(1, 5, when={"a": "x"})}, 6),
        ({"a": Float(0, 1, step=0.1), "b": [1, 2], "c": Fixed(1, when={"a": [0.3, 0.1 + 0.2]})}, 22),
        ({"a": Float(0, 1, step=0.5), "b": Int(1, 3, when={"a": 0.5})}, 5),
        ({"a": [1, 1.0, 2], "b": Int(1, 5, when={"a": 1})}, 11),
        ({"a": Int(1, 10**12), "b": Int(1, 10, when={"a": [3, 4]})}, 10**12 + 18),
        ({"a": [1, 2], "b": Int(1, 3, when={"a": 1}), "c": Int(1, 4, when={"b": 2})}, 1 + 1 + 1 + 4),
    ],
)
def test_grid_size(params: dict[str, Any], size: int | None) -> None:
    assert Space(params).grid_size() == size


def test_every_order_of_writing_gives_one_grid_size() -> None:
    params = {name: value for name, value in CHURN.items() if name != "lr"}
    sizes = {Space(dict(items)).grid_size() for items in itertools.permutations(params.items())}
    assert sizes == {2 + 9}
