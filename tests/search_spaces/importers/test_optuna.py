from __future__ import annotations

import json
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, distribution_to_json

from search_spaces import Categorical, Float, Int, SpaceError
from search_spaces.importers import import_space

BOTH = [
    (FloatDistribution(0, 1), Float(0, 1)),
    (FloatDistribution(1e-3, 1, log=True), Float(1e-3, 1, log=True)),
    (FloatDistribution(0, 1, step=0.25), Float(0, 1, step=0.25)),
    (IntDistribution(1, 9, step=2), Int(1, 9, step=2)),
    (IntDistribution(1, 9, log=True), Int(1, 9, log=True)),
    (CategoricalDistribution([None, "a", 1.5]), Categorical([None, "a", 1.5])),
]


@pytest.mark.parametrize(("theirs", "ours"), BOTH)
@pytest.mark.parametrize("form", ["object", "text", "mapping"])
def test_every_form(theirs: Any, ours: Any, form: str) -> None:
    text = distribution_to_json(theirs)
    given = {"object": theirs, "text": text, "mapping": json.loads(text)}[form]
    found = import_space({"x": given})
    assert found.format == "optuna"
    assert found.space["x"] == ours
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("name", "attributes", "expected"),
    [
        ("UniformDistribution", {"low": 0, "high": 1}, Float(0, 1)),
        ("LogUniformDistribution", {"low": 0.1, "high": 1}, Float(0.1, 1, log=True)),
        ("DiscreteUniformDistribution", {"low": 0, "high": 1, "q": 0.5}, Float(0, 1, step=0.5)),
        ("IntUniformDistribution", {"low": 1, "high": 7, "step": 3}, Int(1, 7, step=3)),
        ("IntLogUniformDistribution", {"low": 1, "high": 7, "step": 1}, Int(1, 7, log=True)),
    ],
)
def test_those_of_optuna_2(name: str, attributes: dict[str, Any], expected: Any) -> None:
    assert import_space({"x": {"name": name, "attributes": attributes}}).space["x"] == expected


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SpaceError, match="x: high is missing"):
        import_space({"x": {"name": "FloatDistribution", "attributes": {"low": 1}}})
