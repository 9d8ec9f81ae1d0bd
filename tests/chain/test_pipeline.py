"""A chain as it is recorded: a module that holds it as data, and is the same wherever it was made."""

from __future__ import annotations

import ast
import math

import pytest

from hpo_pipelines import DefinitionError, ParameterError
from hpo_pipelines.chain import Chain, ChainParameter, ChainStep, Definition, Recorded
from hpo_pipelines.chain.pipeline import source_of
from hpo_pipelines.snapshot import Content, load_private

STEPS = (
    ChainStep("prep", "step", "churn#1/prep", "01A", "abc", "flow:prep", {"size": "${pipeline.size}"}),
    ChainStep(
        "train", "step", 'churn#1/fit "x"', "01B", "def", "flow:fit",
        {"text": "line\nbreak " * 30, "cost": {"$float": "nan"}},
        {"data": "${prep.outputs.train}", "test": Recorded("01C", "test", "churn#1/split.test")},
        ("prep",), "${prep.metrics.rows} > 10",
    ),
)  # fmt: skip
PARAMETERS = (
    ChainParameter("size", "int", 10, (), "how many"),
    ChainParameter("lr", "float"),
    ChainParameter("mode", "str", "fast", ("fast", "slow")),
    ChainParameter("limit", "float", math.inf),
    ChainParameter("maybe", "int", None),
)
DEFINITION = Definition('night\'s "best" \\ one', "p", PARAMETERS, STEPS, {"auc": "${train.metrics.auc}"})


def test_its_data_makes_it_again() -> None:
    assert Definition.of(DEFINITION.data()) == DEFINITION


def test_its_snapshot_loads_as_the_same_chain() -> None:
    captured = Chain(DEFINITION, sources={"train": "def fit(): ..."}, packages={"numpy": "2.0"}).captured()
    content = Content.decode(captured.content)
    assert content.components == {"train": "def fit(): ..."}
    assert content.packages == {"numpy": "2.0"}
    loaded = load_private(captured.content).entry()
    assert isinstance(loaded, Chain)
    assert loaded.definition == DEFINITION
    assert loaded.captured().digest == captured.digest
    assert (loaded.name, loaded.project) == (DEFINITION.name, "p")


def test_the_recorded_module_is_python_that_a_person_can_read() -> None:
    module, text = source_of(DEFINITION)
    assert module == "chain_night_s_best_one"
    ast.parse(text)
    assert max(map(len, text.splitlines())) <= 120
    assert "'task': 'churn#1/prep'" in text


def test_what_it_is_called_does_not_escape_from_its_text() -> None:
    _, text = source_of(Definition('"""\nimport os  # ', "p", (), STEPS[:1]))
    tree = ast.parse(text)
    assert [type(node) for node in tree.body] == [ast.Expr, ast.ImportFrom, ast.Assign]


def test_its_parameters_are_typed() -> None:
    parameters = Chain(DEFINITION).parameters
    assert parameters.bind({"lr": 1}) == {"size": 10, "lr": 1.0, "mode": "fast", "limit": math.inf, "maybe": None}
    assert parameters["size"].description == "how many"
    with pytest.raises(ParameterError, match="mode"):
        parameters.bind({"lr": 1, "mode": "other"})
    with pytest.raises(ParameterError, match="without a default"):
        parameters.bind({})


def test_other_steps_are_another_snapshot() -> None:
    one = Chain(DEFINITION).captured().digest
    assert Chain(Definition(DEFINITION.name, "p", PARAMETERS, STEPS[:1])).captured().digest != one


def test_it_has_no_plain_function() -> None:
    with pytest.raises(DefinitionError, match="no plain function"):
        Chain(DEFINITION)(lr=1)


def test_an_empty_one_is_refused() -> None:
    with pytest.raises(DefinitionError, match="no step yet"):
        Chain(Definition("x", "p")).captured()
