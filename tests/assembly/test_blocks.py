"""What recorded tasks bring into a chain."""

from __future__ import annotations

import pytest
from samples import chained

from hpo_pipelines import DefinitionError, TaskNotFound, Workspace
from hpo_pipelines.assembly import block_of


def test_a_step_brings_its_arguments_and_names(recorded: Workspace) -> None:
    block = block_of(recorded, "churn#1/fit")
    assert (block.kind, block.label, block.component) == ("step", "churn#1/fit", "samples.chained:fit")
    assert block.names == ("train", "lr", "note")
    assert block.params == {"lr": 0.1, "note": ""}
    given = block.inputs["train"]
    assert (given.task, given.output, given.label) == (recorded.get("churn#1/prep").id, "train", "churn#1/prep.train")
    assert (block.outputs, block.metrics) == (("value",), ("auc",))
    assert "def fit(" in block.source


def test_values_that_a_record_shows_as_text_are_known_by_their_digests(recorded: Workspace) -> None:
    assert block_of(recorded, "churn#1/prep").params == {"size": 10, "columns": {"$tuple": ["a", "b"]}}
    block = block_of(recorded, "others#1/configured")
    assert block.params == {"weights": {"a": 1.0}, "big": [1, 2]}
    assert block.unrecorded == {"config"}


def test_a_step_without_a_recorded_key_gives_what_is_certain(recorded: Workspace) -> None:
    block = block_of(recorded, "others#1/unkeyed")
    assert block.component == "samples.chained:unkeyed"
    assert block.params == {"x": 1, "label": "l", "anything": None}


def test_a_failed_step_is_a_block_whose_metrics_nobody_knows(recorded: Workspace) -> None:
    block = block_of(recorded, "others#1/stumbles")
    assert block.metrics is None
    assert block.names == ("folder",)


def test_a_run_brings_its_parameters(recorded: Workspace) -> None:
    block = block_of(recorded, "churn#1")
    assert (block.kind, block.component, block.params) == ("run", "", {"size": 10, "lr": 0.1})
    assert set(block.outputs) == {"auc", "model"}
    assert block.metrics is not None
    assert "fit.auc" in block.metrics


def test_the_run_of_a_component_is_its_step(recorded: Workspace) -> None:
    block = block_of(recorded, "load#1")
    assert (block.kind, block.label, block.params) == ("step", "load#1/load", {"path": "abc", "times": 1})


@pytest.mark.parametrize(
    ("reference", "label"),
    [
        ("churn #1/fit", "churn#1/fit"),
        ("retention/churn#1", "churn#1"),
        ("latest of retention/churn", "churn#1"),
        ("latest of retention/churn/fit", "churn#1/fit"),
        ("latest of loads/load", "load#1/load"),
    ],
)
def test_names_of_tasks(recorded: Workspace, reference: str, label: str) -> None:
    assert block_of(recorded, reference).label == label
    assert block_of(recorded, block_of(recorded, reference).id).label == label


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("churn#99", "no run 'churn#99'"),
        ("churn#1/fitt", "did you mean 'fit'"),
        ("latest of retention/other", "Recorded: default/split, loads/load, retention/churn, retention/others"),
        ("latest of churn", "latest of PROJECT/PIPELINE"),
        ("latest of retention/others", "no completed run"),
        ("", "no task"),
    ],
)
def test_tasks_that_there_are_not(recorded: Workspace, reference: str, said: str) -> None:
    with pytest.raises(TaskNotFound, match=said):
        block_of(recorded, reference)


def test_a_component_that_never_ran_is_no_block(recorded: Workspace) -> None:
    with pytest.raises(DefinitionError, match="run it first"):
        block_of(recorded, "split#1")


def test_a_run_that_was_retriggered_brings_what_its_last_attempt_gave(place: Workspace) -> None:
    last = chained.cooled.run(workspace=place, executor="inline")
    first = last.attempts[0]
    assert (first.id != last.id, first.params, last.params) == (True, {"lr": 0.8}, {"lr": 0.4})
    block = block_of(place, first.label)
    assert (block.params, block.outputs, block.metrics) == ({"lr": 0.8}, ("value",), ("fit.auc",))
