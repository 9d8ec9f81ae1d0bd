from __future__ import annotations

import math
import re
from typing import Any

import pytest

from search_spaces import Categorical, Fixed, Float, Int, SpaceError
from search_spaces.importers import Imported, import_space


def imported(parameters: Any, **rest: Any) -> Imported:
    return import_space({"parameters": parameters, **rest})


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ({"value": 7}, Fixed(7)),
        ({"values": ["adam", "sgd"]}, Categorical(["adam", "sgd"])),
        ({"min": 1, "max": 10}, Int(1, 10)),
        ({"min": 1, "max": 10.0}, Float(1, 10)),
        ({"min": 1, "max": 10, "distribution": "uniform"}, Float(1, 10)),
        ({"min": 1, "max": 10, "distribution": "int_uniform"}, Int(1, 10)),
        ({"min": -5, "max": -1, "distribution": "log_uniform"}, Float(math.exp(-5), math.exp(-1), log=True)),
        ({"min": 1e-5, "max": 0.1, "distribution": "log_uniform_values"}, Float(1e-5, 0.1, log=True)),
        ({"min": 1, "max": 4, "distribution": "inv_log_uniform"}, Float(math.exp(-4), math.exp(-1), log=True)),
        ({"min": 1e-5, "max": 0.1, "distribution": "inv_log_uniform_values"}, Float(1e-5, 0.1, log=True)),
        ({"min": 0, "max": 10, "q": 2, "distribution": "q_uniform"}, Int(0, 10, step=2)),
        ({"min": 0, "max": 10, "distribution": "q_uniform"}, Int(0, 10)),
        ({"min": 0, "max": 1, "q": 0.1, "distribution": "q_uniform"}, Float(0, 1, step=0.1)),
        ({"min": 8, "max": 256, "q": 1, "distribution": "q_log_uniform_values"}, Int(8, 256, log=True)),
        ({"min": 0, "max": math.log(9), "distribution": "q_log_uniform"}, Int(1, 9, log=True)),
    ],
)
def test_distributions(parameter: dict[str, Any], expected: Any) -> None:
    found = imported({"x": parameter})
    assert found.space["x"] == expected
    assert found.warnings == ()
    assert found.format == "wandb"


@pytest.mark.parametrize(
    ("parameter", "expected", "warning"),
    [
        # Bounds that were meant as values: exp(1e-5) to exp(0.1) is surely not a learning rate.
        (
            {"min": 1e-5, "max": 0.1, "distribution": "log_uniform"},
            Float(math.exp(1e-5), math.exp(0.1), log=True),
            r"parameters.x: the bounds of log_uniform are exponents of e, so this is \[1.00001, 1.10517\]; "
            "if values were meant, W&B's name is log_uniform_values",
        ),
        ({"min": 3, "max": 10, "q": 4, "distribution": "q_uniform"}, Int(4, 8, step=4), None),
        (
            {"min": 1, "max": 11, "q": 4, "distribution": "q_uniform"},
            Int(0, 12, step=4),
            "values reach from 0 to 12; so do these",
        ),
        (
            {"min": 8, "max": 256, "q": 8, "distribution": "q_log_uniform_values"},
            Int(8, 256, log=True),
            "not rounded to multiples of 8",
        ),
        (
            {"min": 0.1, "max": 1.0, "q": 0.1, "distribution": "q_log_uniform_values"},
            Float(0.1, 1.0, log=True),
            "not rounded to multiples of 0.1",
        ),
        ({"distribution": "normal", "mu": 1, "sigma": 0.5}, Float(-0.5, 2.5), r"3 sigma, \[-0.5, 2.5\]"),
        ({"distribution": "log_normal"}, Float(math.exp(-3), math.exp(3), log=True), "evenly in the logarithm"),
        ({"distribution": "beta", "a": 2, "b": 3}, Float(0, 1), "beta"),
        ({"values": [1, 2], "probabilities": [0.9, 0.1]}, Categorical([1, 2]), "probabilities have no counterpart"),
        ({"values": [1, 1, 2]}, Categorical([1, 2]), "1 comes twice"),
    ],
)
def test_traps_are_warned_of(parameter: dict[str, Any], expected: Any, warning: str | None) -> None:
    found = imported({"x": parameter})
    assert found.space["x"] == expected
    assert len(found.warnings) == (warning is not None)
    if warning is not None:
        assert re.search(warning, found.warnings[0])


def test_nested_parameters_are_groups_and_the_rest_is_named() -> None:
    found = imported(
        {"optimizer": {"parameters": {"lr": {"min": 0.1, "max": 1.0}}}, "epochs": {"value": 3}},
        method="bayes",
        metric={"name": "loss"},
    )
    assert list(found.space) == ["optimizer.lr", "epochs"]
    assert found.warnings == ("left out, since a space has only parameters: method, metric.",)


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ({"min": 1}, "max is missing"),
        ({}, "min is missing"),
        (
            {"distribution": "log_unifrom_values", "min": 1, "max": 2},
            r"x\.distribution: .* Did you mean 'log_uniform_v",
        ),
        ({"distribution": "log_uniform", "min": 1, "max": 1000}, "no float: were the values meant"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "low must be above 0 with log"),
        ({"distribution": "int_uniform", "min": 0.5, "max": 1}, "whole number"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, "q is above 0"),
        ({"min": "a", "max": 1}, "finite number; got 'a'"),
    ],
)
def test_wrong_parameters_are_refused_with_their_place(parameter: dict[str, Any], words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        imported({"x": parameter})
