from __future__ import annotations

import math
from typing import Any

import pytest

from search_spaces import Categorical, Fixed, Float, Int, SpaceError
from search_spaces.importers import import_space


def one(kind: str, *values: Any) -> Any:
    return import_space({"x": {"_type": kind, "_value": list(values)}})


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("choice", ["a", "b"], Categorical(["a", "b"])),
        ("randint", [1, 5], Int(1, 4)),
        ("randint", [5], Int(0, 4)),
        ("uniform", [0, 1], Float(0, 1)),
        ("quniform", [0, 10, 2.5], Float(0, 10, step=2.5)),
        ("quniform", [2, 10, 5], Categorical([2, 5, 10])),
        ("quniform", [1, 8, 1], Int(1, 8)),
        ("quniform", [0.1, 0.3, 0.1], Float(0.1, 0.3, step=0.1)),
        ("loguniform", [1e-5, 0.1], Float(1e-5, 0.1, log=True)),
        ("qloguniform", [1, 100, 1], Int(1, 100, log=True)),
    ],
)
def test_distributions(kind: str, values: list[Any], expected: Any) -> None:
    found = one(kind, *values)
    assert found.format == "nni"
    assert found.space["x"] == expected
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("kind", "values", "expected", "warning"),
    [
        ("qloguniform", [1, 100, 5], Int(1, 100, log=True), "not rounded to multiples of 5"),
        ("normal", [0, 1], Float(-3, 3), "normal distribution has no counterpart"),
        ("qnormal", [0, 1, 0.5], Float(-3, 3), "normal distribution"),
        ("lognormal", [0, 1], Float(math.exp(-3), math.exp(3), log=True), "log-normal"),
    ],
)
def test_what_has_no_counterpart_is_warned_of(kind: str, values: list[Any], expected: Any, warning: str) -> None:
    found = one(kind, *values)
    assert found.space["x"] == expected
    assert warning in found.warnings[0]


def test_an_option_that_is_a_space_becomes_a_condition() -> None:
    conv = {
        "_name": "Conv",
        "size": {"_type": "randint", "_value": [1, 4]},
        "same": {"_type": "uniform", "_value": [0, 1]},
    }
    pool = {
        "_name": "Pool",
        "size": {"_type": "randint", "_value": [2, 9]},
        "same": {"_type": "uniform", "_value": [0, 1]},
    }
    found = import_space({"layer": {"_type": "choice", "_value": [conv, pool, {"_name": "Empty", "bias": True}]}})
    space = found.space
    assert space["layer._name"] == Categorical(["Conv", "Pool", "Empty"])
    assert space["layer.size"] == Int(1, 3, when={"layer._name": "Conv"})
    assert space["layer.Pool_size"] == Int(2, 8, when={"layer._name": "Pool"})
    assert space["layer.same"] == Float(0, 1, when={"layer._name": ["Conv", "Pool"]})
    assert space["layer.bias"] == Fixed(True, when={"layer._name": "Empty"})
    assert "that of Pool is called Pool_size" in found.warnings[0]


def test_an_experiment_holds_its_space() -> None:
    found = import_space({"searchSpace": {"x": {"_type": "uniform", "_value": [0, 1]}}, "maxTrialNumber": 10})
    assert list(found.space) == ["x"]
    assert "maxTrialNumber" in found.warnings[0]


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("randint", [5, 5], "the upper bound of randint is excluded, so it is above the lower"),
        ("quniform", [1, 2], "quniform has 3 values"),
        ("quniform", [1, 2, 0], "q is above 0"),
        ("quniform", [1.1, 1.9, 1], "no multiple of 1 between"),
        ("quniform", [0.5, 1000.2, 1], "uneven values: round the bounds"),
        ("unifrom", [1, 2], r"x\._type: NNI has no type 'unifrom'. Did you mean 'uniform'"),
        ("uniform", ["a", 2], "finite number; got 'a'"),
    ],
)
def test_wrong_parameters_are_refused_with_their_place(kind: str, values: list[Any], words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        one(kind, *values)
