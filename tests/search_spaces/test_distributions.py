from __future__ import annotations

import copy
import dataclasses
import enum
import math
import pickle
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces import Categorical, Condition, Distribution, Fixed, Float, Int, Space, SpaceError

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared
DISTRIBUTIONS = st.one_of(st.from_type(Float), st.from_type(Int), st.from_type(Categorical), st.from_type(Fixed))


class Encoder(enum.Enum):
    ONEHOT = "onehot"
    HASH = "hash"


@pytest.mark.parametrize(
    ("make", "words", "path"),
    [
        (lambda: Float(2, 1), "low must not exceed high; got low=2.0, high=1.0: swap them", ("low",)),
        (lambda: Float(0, 1, log=True), "above 0 with log; got low=0.0", ("low",)),
        (lambda: Float(-1.0, 1, log=True), "above 0 with log; got low=-1.0", ("low",)),
        (lambda: Float(1, 2, log=True, step=0.1), "log and step exclude each other", ("step",)),
        (lambda: Float(math.nan, 1), "low is a finite number; got nan", ("low",)),
        (lambda: Float(0, math.inf), "high is a finite number; got inf", ("high",)),
        (lambda: Float(0, 10**400), "high is a finite number", ("high",)),
        (lambda: Float(-1e308, 1e308), "high - low must be finite", ("high",)),
        (lambda: Float(True, 2), "low is a finite number; got True of type bool", ("low",)),
        (lambda: Float("1e-5", 1), "got '1e-5' of type str: remove the quotes", ("low",)),  # type: ignore[arg-type]
        (lambda: Float(None, 1), "got None of type NoneType", ("low",)),  # type: ignore[arg-type]
        (lambda: Float(0, 1, log="yes"), "log is true or false; got 'yes'", ("log",)),  # type: ignore[arg-type]
        (lambda: Float(0, 1, step=0), "step must be above 0; got step=0.0", ("step",)),
        (lambda: Float(0, 1, step=-0.1), "step must be above 0", ("step",)),
        (lambda: Float(0, 1, step=2), "step must fit between low=0.0 and high=1.0", ("step",)),
        (lambda: Float(0, 1, step=1e-300), "lost in rounding", ("step",)),
        (lambda: Float(1e17, 1e17 + 64, step=1), "lost in rounding", ("step",)),
        (lambda: Float(0, 1, step=math.nan), "step is a finite number", ("step",)),
        (lambda: Int(2, 1), "low must not exceed high; got low=2, high=1", ("low",)),
        (lambda: Int(0, 8, log=True), "above 0 with log", ("low",)),
        (lambda: Int(1, 8, log=True, step=2), "log and step exclude each other", ("step",)),
        (lambda: Int(1.5, 8), "low of an integer range is an integer; got 1.5", ("low",)),  # type: ignore[arg-type]
        (lambda: Int(1, 8.0), r"use Float \(type: float\)", ("high",)),  # type: ignore[arg-type]
        (lambda: Int(False, 8), "got False of type bool", ("low",)),
        (lambda: Int(1, 8, step=0), "step must be above 0", ("step",)),
        (lambda: Int(1, 8, step=8), "step must fit", ("step",)),
        (lambda: Int(0, 2**53 + 1), r"high lies within ±2\*\*53", ("high",)),
        (lambda: Categorical([]), "at least one choice", ("choices",)),
        (lambda: Categorical("abc"), r"choices is a list; got 'abc'", ("choices",)),
        (lambda: Categorical({"a": 1}), "choices is a list", ("choices",)),
        (lambda: Categorical({1, 2}), "choices is a list", ("choices",)),
        (lambda: Categorical(3), "choices is a list", ("choices",)),  # type: ignore[arg-type]
        (lambda: Categorical([1, "a", 1]), "1 comes twice", ("choices", 2)),
        (lambda: Categorical([[1], {}, [1]]), r"\[1\] comes twice", ("choices", 2)),
        (lambda: Categorical([1, math.nan]), "finite", ("choices", 1)),
        (lambda: Fixed(math.inf), "finite", ("value",)),
        (lambda: Fixed([object()]), "of type object", ("value", 0)),
        (lambda: Float(0, 1, when={"a": []}), "at least one allowed value", ("when", "a")),
        (lambda: Fixed(1, when="a"), "when maps", ("when",)),  # type: ignore[arg-type]
    ],
)
def test_constructors_refuse(make: Callable[[], Distribution], words: str, path: tuple[object, ...]) -> None:
    with pytest.raises(SpaceError, match=words) as caught:
        make()
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("distribution", "high", "size"),
    [
        (Float(0, 1), 1.0, None),
        (Float(2, 2), 2.0, 1),
        (Float(2, 2, step=1), 2.0, 1),
        (Float(0, 0.3, step=0.1), 0.3, 4),
        (Float(0, 0.1 + 0.2, step=0.1), 0.3, 4),
        (Float(0, 1, step=0.3), 0.9, 4),
        (Float(-1, 1, step=2), 1.0, 2),
        (Float(0, 1, step=1 / 3), 1.0, 4),
        (Int(1, 10), 10, 10),
        (Int(1, 10, step=2), 9, 5),
        (Int(1, 8, log=True), 8, 8),
        (Int(3, 3), 3, 1),
    ],
)
def test_a_step_lowers_high_to_the_last_value_reached(distribution: Any, high: float, size: int | None) -> None:
    assert distribution.high == pytest.approx(high, abs=1e-15)
    assert distribution.size() == size


@pytest.mark.parametrize(
    ("distribution", "inside", "outside"),
    [
        (Float(0, 1), [0, 0.5, 1, Fraction(1, 3), np.float32(0.5)], [-0.1, 1.1, True, "0.5", None, math.nan, 10**400]),
        (Float(0, 1, step=0.1), [0.1 + 0.2, 0.3, 1], [0.35, 1.1]),
        (Float(0, 1e6, step=1e-3), [999999.999, 123456.789], [0.0005]),
        (Int(1, 9, step=2), [1, 3.0, 9, np.int64(5)], [2, 10, True, 1.5, "3", [3]]),
        (
            Categorical([1, "a", None, [1, 2], True]),
            [1, 1.0, "a", None, [1.0, 2], (1, 2), True],
            [2, False, {}, math.nan],
        ),
        (Categorical([0.0, 2.5]), [0, False or 0.0, 2.5], [False, "0"]),
        (Fixed({"a": 1}), [{"a": 1.0}], [{"a": 2}, None, object()]),
    ],
)
def test_contains(distribution: Distribution, inside: list[Any], outside: list[Any]) -> None:
    assert [value for value in inside if not distribution.contains(value)] == []
    assert [value for value in outside if distribution.contains(value)] == []


def test_minus_zero_is_zero() -> None:
    assert Float(-0.0, 1) == Float(0.0, 1)
    assert math.copysign(1, Float(-0.0, 1).low) == 1


def test_enums_stand_for_their_values() -> None:
    assert Categorical(Encoder).choices == ("onehot", "hash")
    assert Categorical([Encoder.HASH, None]).choices == ("hash", None)
    assert Fixed(Encoder.HASH).value == "hash"


def test_choices_come_from_any_iterable_and_are_copied() -> None:
    layers = [64]
    distribution = Categorical(item for item in (layers, None))
    layers.append(32)
    assert distribution.choices == ([64], None)


@pytest.mark.parametrize(
    ("choices", "labels"),
    [
        (["a", 1, None, 0.5], ("a", 1, None, 0.5)),
        ([1, 1.0, True], ("1", "1.0", "true")),
        (["1", 1], ("1", 1)),
        ([[64, 64], "x", {"b": 1, "a": None}], ("[64,64]", '"x"', '{"a":null,"b":1}')),
    ],
)
def test_labels_are_scalars_that_differ(choices: list[Any], labels: tuple[Any, ...]) -> None:
    distribution = Categorical(choices)
    assert distribution.labels == labels
    for choice, label in zip(distribution.choices, labels, strict=True):
        assert distribution.label_of(choice) == label
        assert repr(distribution.choice_of(label)) == repr(choice)


def test_labels_are_found_for_equal_numbers_and_refused_for_others() -> None:
    distribution = Categorical([1, 2.0])
    assert distribution.label_of(1.0) == 1
    assert distribution.label_of(2) == 2.0
    with pytest.raises(SpaceError, match=r"3 is not a choice; the choices are 1, 2\.0"):
        distribution.label_of(3)
    with pytest.raises(SpaceError, match=r"True is not a choice"):
        distribution.label_of(True)
    with pytest.raises(SpaceError, match=r"'x' is not a label; the labels are 1, 2\.0"):
        distribution.choice_of("x")


def test_a_choice_given_out_is_a_copy() -> None:
    distribution = Categorical([[64], [32]])
    distribution.choice_of("[64]").append(1)
    assert distribution.choices == ([64], [32])


@PATIENT
@given(st.from_type(Categorical))
def test_optuna_takes_the_labels_and_gives_back_the_choices(distribution: Categorical) -> None:
    theirs = optuna.distributions.CategoricalDistribution(distribution.labels)
    for index, choice in enumerate(distribution.choices):
        label = distribution.label_of(choice)
        assert theirs.to_internal_repr(label) == index
        assert repr(distribution.choice_of(theirs.to_external_repr(index))) == repr(choice)


@PATIENT
@given(st.from_type(Float) | st.from_type(Int))
def test_optuna_takes_a_range_as_it_is(distribution: Float | Int) -> None:
    names = {Float: optuna.distributions.FloatDistribution, Int: optuna.distributions.IntDistribution}
    theirs = names[type(distribution)](**distribution.fields())  # a warning, and so an error, if high had to be lowered
    assert (theirs.low, theirs.high, theirs.log, theirs.step) == (
        distribution.low,
        distribution.high,
        distribution.log,
        distribution.step,
    )
    assert theirs.single() == (distribution.size() == 1)
    assert all(distribution.contains(value) for value in distribution.examples())


@PATIENT
@given(st.floats(-10, 10), st.floats(0.1, 100), st.floats(1e-4, 10))
def test_lowering_high_once_is_enough_whatever_the_decimals(low: float, span: float, step: float) -> None:
    try:
        distribution = Float(low, low + span, step=step)
    except SpaceError:
        assert step > span - 1e-9  # low + span is rounded too
        return
    assert Float(distribution.low, distribution.high, step=step) == distribution
    assert distribution.contains(distribution.high)
    assert low + span - step < distribution.high + 1e-9


@PATIENT
@given(DISTRIBUTIONS)
def test_the_written_form_is_read_back(distribution: Distribution) -> None:
    assert Space({"x": distribution.as_dict()})["x"] == distribution


@PATIENT
@given(DISTRIBUTIONS, DISTRIBUTIONS)
def test_equality_agrees_with_hash_and_repr(one: Distribution, other: Distribution) -> None:
    twin = copy.deepcopy(one)
    assert pickle.loads(pickle.dumps(one)) == twin == one
    assert hash(twin) == hash(one)
    assert (one == other) == (one.identity() == other.identity() and repr(one) == repr(other))


def test_equality_tells_kinds_types_and_conditions_apart() -> None:
    different = [
        Float(0, 1),
        Int(0, 1),
        Fixed(1),
        Fixed(1.0),
        Fixed(True),
        Categorical([1]),
        Fixed(1, when={"a": 1}),
        1,
    ]
    assert all((one == other) == (one is other) for one in different for other in different)


def test_distributions_are_frozen_and_replaceable() -> None:
    distribution = Float(0, 1, when={"encoder": "hash"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        distribution.low = 2.0  # type: ignore[misc]
    assert dataclasses.replace(distribution, high=2.0) == Float(0, 2, when={"encoder": "hash"})
    assert distribution.when == Condition({"encoder": "hash"})


@pytest.mark.parametrize(
    ("distribution", "text", "written"),
    [
        (Float(1e-5, 0.1, log=True), "Float(low=1e-05, high=0.1, log=True)", {"low": 1e-5, "high": 0.1, "log": True}),
        (Float(0, 1, step=0.5), "Float(low=0.0, high=1.0, step=0.5)", {"low": 0.0, "high": 1.0, "step": 0.5}),
        (Int(1, 8, log=True), "Int(low=1, high=8, log=True)", {"low": 1, "high": 8, "log": True}),
        (Int(1, 9, step=2), "Int(low=1, high=9, step=2)", {"low": 1, "high": 9, "step": 2}),
        (Categorical(["a"]), "Categorical(choices=['a'])", {"choices": ["a"]}),
        (Fixed(1, when={"a": "b"}), "Fixed(value=1, when={'a': 'b'})", {"value": 1, "when": {"a": "b"}}),
    ],
)
def test_repr_and_the_written_form(distribution: Distribution, text: str, written: dict[str, Any]) -> None:
    assert repr(distribution) == text
    assert distribution.as_dict() == written
    names = {"Float": Float, "Int": Int, "Categorical": Categorical, "Fixed": Fixed}
    assert eval(text, names) == distribution
