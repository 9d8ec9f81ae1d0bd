"""Chains in files, and where in them something is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo_pipelines import ConfigError, DefinitionError, Workspace
from hpo_pipelines.assembly import load_chain

TEXT = """\
project: retention
parameters:
  size: 10
  lr: {type: float, default: 0.1, description: learning rate}
steps:
  prep:
    task: "churn #1/prep"
    params: {size: "${pipeline.size}"}
  train:
    task: latest of retention/churn/fit
    inputs: {train: "${prep.outputs.train}"}
    params:
      note: "${prep.id} of ${pipeline.url}"
    after: [prep]
    when: "${prep.metrics.rows} > 5"
returns: {model: "${train.output}"}
"""


def write(folder: Path, text: str, name: str = "nightly.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_file_is_the_chain_that_the_builder_makes(recorded: Workspace, tmp_path: Path) -> None:
    made = load_chain(write(tmp_path, TEXT), workspace=recorded)
    assert (made.name, made.project) == ("nightly", "retention")
    assert made.parameters["lr"].description == "learning rate"
    step = made.definition.step("train")
    assert (step.task, step.after, step.when) == ("churn#1/fit", ("prep",), "${prep.metrics.rows} > 5")
    assert made.definition.returns == {"model": "${train.output}"}


def test_other_forms(recorded: Workspace, tmp_path: Path) -> None:
    toml = '[steps.prep]\ntask = "churn#1/prep"\nafter = []\n'
    json = '{"name": "x", "steps": {"prep": {"task": "churn#1/prep"}}, "returns": "${prep.metrics.rows}"}'
    assert (
        load_chain(write(tmp_path, toml, "a.toml"), workspace=recorded).definition.step("prep").task == "churn#1/prep"
    )
    assert load_chain(write(tmp_path, json, "b.json"), workspace=recorded).definition.returns[""]


WRONG = [
    ("outputs.train", "outputs.trian", 11, "steps.train.inputs.train", "did you mean 'train'"),
    ("metrics.rows", "metrics.row", 15, "steps.train.when", "did you mean 'rows'"),
    ("${pipeline.size}", "${pipeline.siz}", 8, "steps.prep.params.size", "did you mean 'size'"),
    ('"${pipeline.size}"', "many", 8, "steps.prep.params.size", "takes int"),
    ("[prep]", "[prp]", 14, "steps.train.after", "no step 'prp' here; the steps before it: prep"),
    ("churn #1", "churn #9", 7, "steps.prep.task", "no run 'churn#9'"),
    ("${prep.id}", "${prep.ids}", 13, "steps.train.params.note", "a step has"),
    ("> 5", "> len('x')", 15, "steps.train.when", "not part of the language"),
    ("after:", "afetr:", 14, "steps.train.afetr", "did you mean 'after'"),
    ("${train.output}", "${trian.output}", 16, "returns", "no step 'trian'"),
    ("steps:", "stps:", 5, "stps", "did you mean 'steps'"),
    ("type: float", "type: flaot", 2, "parameters", "did you mean 'float'"),
    ("    task: latest of retention/churn/fit\n", "", 9, "steps.train", "names? it|repeats a task"),
    ("size: 10", "size: [1", 4, "", "not YAML"),
    ("  prep:", "  pipeline:", 6, "steps.pipeline", "stands for the chain's own run"),
]


@pytest.mark.parametrize(("old", "new", "line", "key", "said"), WRONG)
def test_a_mistake_is_said_with_its_line(
    recorded: Workspace, tmp_path: Path, old: str, new: str, line: int, key: str, said: str
) -> None:
    assert old in TEXT
    path = write(tmp_path, TEXT.replace(old, new, 1))
    with pytest.raises(DefinitionError, match=said) as raised:
        load_chain(path, workspace=recorded)
    assert str(raised.value).startswith(f"{path}:{line}: {key}")


@pytest.mark.parametrize("text", ["", "[]", "3", "steps: 4", "steps: {}", "steps: {a: 3}", "name: [1]\nsteps: {}"])
def test_what_is_no_chain(recorded: Workspace, tmp_path: Path, text: str) -> None:
    with pytest.raises(DefinitionError, match=r"a chain|steps is|name is|a step is"):
        load_chain(write(tmp_path, text), workspace=recorded)


def test_a_file_that_there_is_not(recorded: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_chain(tmp_path / "nothing.yaml", workspace=recorded)
    with pytest.raises(ConfigError, match="a file that ends with"):
        load_chain(tmp_path / "nothing.py", workspace=recorded)
