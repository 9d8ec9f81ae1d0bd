"""Making chains in Python: what is checked when a step is added."""

from __future__ import annotations

from typing import Any

import pytest

from hpo_pipelines import DefinitionError, Pipeline, TaskNotFound, Workspace
from hpo_pipelines.assembly import Assembly
from hpo_pipelines.chain import Recorded


@pytest.fixture
def chain(recorded: Workspace) -> Assembly:
    made = Pipeline.from_tasks("nightly", "retention", parameters={"size": 10, "lr": float}, workspace=recorded)
    return made.add("prep", task="churn#1/prep", params={"size": "${pipeline.size}"})


def test_what_is_not_given_is_the_tasks_own(chain: Assembly) -> None:
    chain.add("train", task="churn#1/fit", params={"lr": 0.5})
    step = chain.definition.step("train")
    assert step.params == {"lr": 0.5, "note": ""}
    assert isinstance(step.inputs["train"], Recorded)


def test_references_are_edges(chain: Assembly) -> None:
    chain.add(
        "train", task="churn#1/fit", inputs={"train": "${prep.outputs.train}"},
        params={"note": "${prep.id} of ${pipeline.url}"}, when="${prep.metrics.rows} > 1000",
    )  # fmt: skip
    step = chain.definition.step("train")
    assert (step.called_before, step.over_before) == ({"prep"}, {"prep"})
    chain.add("score", task="churn#1/evaluate", inputs={"model": "${train.output}"}, after=["prep"])
    assert chain.definition.step("score").over_before == {"prep"}


def test_a_recorded_output_by_its_name(chain: Assembly, recorded: Workspace) -> None:
    chain.add("train", task="churn#1/fit", inputs={"train": "churn#1/prep.test"})
    chain.add("score", task="churn#1/evaluate", inputs={"model": "churn#1/fit"})
    prep, fit = recorded.get("churn#1/prep").id, recorded.get("churn#1/fit").id
    assert chain.definition.step("train").inputs["train"] == Recorded(prep, "test", "churn#1/prep.test")
    assert chain.definition.step("score").inputs["model"] == Recorded(fit, "value", "churn#1/fit.value")


FIT: dict[str, Any] = {"task": "churn#1/fit"}
WRONG: list[tuple[dict[str, Any], str]] = [
    (
        FIT | {"inputs": {"train": "${prep.outputs.trian}"}},
        r"no output 'trian'; did you mean 'train'\? Known: train, test",
    ),
    (FIT | {"inputs": {"train": "${prp.outputs.train}"}}, "no step 'prp' here; the steps before it: prep"),
    (FIT | {"inputs": {"train": "${train.output}"}}, "no step 'train' here"),
    (FIT | {"inputs": {"train": "${prep.metrics.rows}"}}, "an input is an output of a step"),
    (FIT | {"inputs": {"train": "x ${prep.outputs.train}"}}, "one reference and no more text"),
    (FIT | {"inputs": {"train": 3}}, "an input is a reference"),
    (FIT | {"inputs": {"trian": "${prep.outputs.train}"}}, r"takes no 'trian'; did you mean 'train'"),
    (FIT | {"params": {"lr": "${pipeline.size}"}, "inputs": {"lr": "${prep.outputs.train}"}}, "among both"),
    (FIT | {"params": {"note": "${prep.metrics.row}"}}, r"no metric 'row'; did you mean 'rows'"),
    (FIT | {"params": {"note": "${prep.params.siz}"}}, r"no param 'siz'; did you mean 'size'"),
    (FIT | {"params": {"note": "${pipeline.siz}"}}, r"no parameter 'siz'; did you mean 'size'.* Known: size, lr, id"),
    (FIT | {"params": {"note": "${prep.foo}"}}, "a step has outputs"),
    (FIT | {"params": {"lr": "fast"}}, "'lr' takes float; got 'fast'"),
    (FIT | {"params": {"lr": object()}}, "an argument is a value that JSON"),
    (FIT | {"params": {"note": ("${prep.id}",)}}, "in texts, lists and dicts only"),
    (FIT | {"after": ["prp"]}, "no step 'prp' here"),
    (FIT | {"when": "${prep.metrics.row} > 1"}, "no metric 'row'"),
    (FIT | {"when": "rows > 1"}, "'rows' is no name here"),
    ({"task": "others#1/configured"}, "a value for config; what others#1/configured had for config is not recorded"),
    ({"task": 3}, "named by text"),
]


@pytest.mark.parametrize(("step", "said"), WRONG)
def test_a_wrong_step_lists_what_there_is_and_is_not_added(chain: Assembly, step: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said) as raised:
        chain.add("train", **step)
    assert str(raised.value).startswith("step 'train' of the chain nightly: ")
    assert [each.name for each in chain.definition] == ["prep"]


def test_a_task_that_is_not_recorded(chain: Assembly) -> None:
    with pytest.raises(TaskNotFound, match="churn#7"):
        chain.add("train", task="churn#7/fit")


@pytest.mark.parametrize("name", ["prep", "pipeline", "a-b", "1a", "", "class", None])
def test_a_step_that_cannot_be_called_so(chain: Assembly, name: Any) -> None:
    with pytest.raises(DefinitionError, match="called"):
        chain.add(name, task="churn#1/fit")


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"executor": 1}, "options of run"),
        ({"url": "x"}, "what .* names of a run"),
        ({"a b": 1}, "like a Python variable"),
        ({"x": object()}, "is not a value that JSON"),
        ({"x": {"type": "flot"}}, "did you mean 'float'"),
        ({"x": {"choices": ["a"], "default": "b"}}, "none of"),
        ({"x": {"choices": [1.5]}}, "choices are texts"),
        ({"x": {"type": "int", "default": "b"}}, "default of 'x' must be int"),
        ({"x": complex}, "type='complex'"),
    ],
)
def test_parameters_that_cannot_be(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        Pipeline.from_tasks("x", parameters=parameters)


def test_parameters_by_type_default_and_description() -> None:
    made = Pipeline.from_tasks(
        "x", parameters={"n": 3, "lr": float, "f": {"type": "float", "default": 1}, "mode": {"choices": ["a", "b"]}}
    )
    assert made.parameters.bind({"lr": 2, "mode": "b"}) == {"n": 3, "lr": 2.0, "f": 1.0, "mode": "b"}


def test_what_it_returns_is_checked(chain: Assembly) -> None:
    with pytest.raises(DefinitionError, match="no step 'fit' here"):
        chain.returns(auc="${fit.output}")
    with pytest.raises(DefinitionError, match="not both"):
        chain.returns("${prep.id}", other="${prep.id}")
    with pytest.raises(DefinitionError, match="a text with references"):
        chain.returns(auc=3)  # type: ignore[arg-type]
    assert chain.returns("${prep.id}").definition.returns == {"": "${prep.id}"}


def test_a_name_that_no_pipeline_has() -> None:
    with pytest.raises(DefinitionError, match="a name without '/'"):
        Pipeline.from_tasks("a/b")
