from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import studied

from hpo_pipelines import optimize
from hpo_pipelines.errors import HpoPipelinesError, SpaceError
from hpo_pipelines.study.file import KEYS, StudyFile, is_study_file, schema
from search_spaces import Float, Int, Space, gallery
from search_spaces.yaml12 import read_yaml

DIGITS = Path(__file__).parents[2] / "examples" / "digits"

WHOLE = """\
pipeline: bodies.py:simple
objective: add.total
params:
  x: {low: 1, high: 9}
n_trials: 5
timeout: 2h
n_jobs: 2
"""


def written(folder: Path, text: str, name: str = "tune.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_paths_are_as_seen_from_the_file_and_its_name_is_the_studys(tmp_path: Path) -> None:
    found = StudyFile.load(written(tmp_path, WHOLE))
    assert found.pipeline == f"{tmp_path}/bodies.py:simple"
    assert found.space == Space({"x": Int(1, 9)})
    expected = {"objective": "add.total", "n_trials": 5, "timeout": "2h", "n_jobs": 2, "name": "tune"}
    assert found.options == expected


def test_several_objectives_may_be_a_mapping(tmp_path: Path) -> None:
    text = WHOLE.replace("objective: add.total", "objectives: {fit.auc: maximize, fit.size: minimize}")
    found = StudyFile.load(written(tmp_path, text))
    assert found.options["objective"] == ["fit.auc", "fit.size"]
    assert found.options["direction"] == ["maximize", "minimize"]
    assert "objectives" not in found.options


def test_a_space_file_and_what_is_laid_over_it(tmp_path: Path) -> None:
    written(tmp_path, "x: {low: 1, high: 9}\ny: {low: 0.0, high: 1.0}\n", "space.yaml")
    found = StudyFile.load(written(tmp_path, "run: simple#3\nspace: space.yaml\nparams: {x: 4}\nn_trials: 1\n"))
    assert (found.run, found.pipeline) == ("simple#3", None)
    assert found.space == Space({"x": 4, "y": Float(0.0, 1.0)})


WRONG = [
    (WHOLE.replace("n_trials", "n_trails"), "tune.yaml:5: n_trails: a study file has no 'n_trails'. Did you mean"),
    (WHOLE.replace("n_jobs: 2", "n_jobs: two"), "tune.yaml:7: n_jobs: it is a whole number, 1 or more; got 'two'."),
    (WHOLE.replace("n_jobs: 2", "n_jobs: true"), "tune.yaml:7: n_jobs: it is a whole number"),
    (WHOLE + "direction: maximise\n", "tune.yaml:8: direction: it is one of maximize, minimize; got 'maximise'. Did"),
    (WHOLE + "direction: [maximize, down]\n", "tune.yaml:8: direction: it is one of maximize, minimize"),
    (WHOLE + "objectives: {a: maximize}\n", "tune.yaml:8: objectives: it takes the place of objective"),
    (WHOLE + "objectives: {a: up}\n", "tune.yaml:8: objectives: it is a mapping of each STEP.METRIC to maximize"),
    (WHOLE + "constraints: [a == 3]\n", "tune.yaml:8: constraints: it is STEP.METRIC <= NUMBER"),
    (WHOLE + "target: high\n", "tune.yaml:8: target: it is a number"),
    (WHOLE + "plateau: 0\n", "tune.yaml:8: plateau: it is a whole number, 1 or more"),
    (WHOLE + "max_compute: soon\n", "tune.yaml:8: max_compute: it is seconds"),
    (WHOLE + "prune_on: a.b:down\n", "tune.yaml:8: prune_on: it is STEP.METRIC"),
    (WHOLE + "repeats: {seed: 1}\n", "tune.yaml:8: repeats: it is the parameter that is the seed"),
    (WHOLE + "repeats: {a: 2, b: 2}\n", "tune.yaml:8: repeats: it is the parameter that is the seed"),
    (WHOLE + "fidelity: {param: n, min: 9, max: 1}\n", "tune.yaml:8: fidelity: it is a parameter with its rungs"),
    (WHOLE + "fidelity: {param: n, mim: 1, max: 9}\n", "there is no 'mim'. Did you mean 'min'?"),
    (WHOLE + "enqueue: {x: 1}\n", "tune.yaml:8: enqueue: it is a list of points"),
    (WHOLE + "from_runs: 3\n", "tune.yaml:8: from_runs: it is all, tag:NAME, a run, or a list"),
    (WHOLE.replace("2h", "soon"), "tune.yaml:6: timeout: it is seconds, or a number with a unit"),
    (WHOLE.replace("high: 9", "high: 0"), "tune.yaml:4: params.x"),
    (WHOLE + "run: simple#1\n", "one pipeline or of one run; got pipeline and run"),
    (WHOLE.replace("pipeline:", "objective_:", 1), "no 'objective_'"),
    ("params: {x: 1}\n", "got neither"),
    ("pipeline: a:b\n", "needs a space"),
    ("- pipeline\n", "key: value pairs"),
    ("pipeline: [\n", "this is not YAML"),
    ("pipeline: a:b\nspace: nowhere.yaml\n", "nowhere.yaml: the file cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SpaceError) as error:
        StudyFile.load(written(tmp_path, text))
    assert said in str(error.value)


def test_a_space_of_the_gallery_with_constraints_laid_over(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        "pipeline: churn.py:churn\nspace: lightgbm\nsampler: {name: tpe, multivariate: true}\n"
        "params:\n  n_estimators: 50\n  constraints: [num_leaves > 2]\n"
    )
    study = StudyFile.load(path)
    assert study.options["sampler"] == {"name": "tpe", "multivariate": True}
    assert study.space == gallery("lightgbm", {"n_estimators": 50, "constraints": ["num_leaves > 2"]})
    again = tmp_path / "again.yaml"
    study.dump(again)
    assert StudyFile.load(again).space == study.space
    jsonschema.validate(json.loads(json.dumps(read_yaml(path.read_text(), "x")[0])), schema())
    path.write_text("pipeline: churn.py:churn\nspace: lightgbn\n")
    with pytest.raises(SpaceError, match="Did you mean 'lightgbm'"):
        StudyFile.load(path)
    path.write_text("pipeline: churn.py:churn\nspace: svm\nsampler: {multivariate: true}\n")
    with pytest.raises(SpaceError, match=r"study\.yaml:3: sampler: it is a name, such as tpe"):
        StudyFile.load(path)


def test_a_file_that_is_not_there_or_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="cannot be read"):
        StudyFile.load(tmp_path / "nowhere.yaml")
    with pytest.raises(SpaceError, match=r"kept in \.yaml"):
        StudyFile.load(written(tmp_path, WHOLE, "tune.yamll"))
    assert [is_study_file(name) for name in ("a.yaml", "a.JSON", "a.py", "a#1", "a.py:b")] == [True, True] + [False] * 3


OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "objective": st.sampled_from(["fit.auc", "score", ["fit.auc", "fit.size"]]),
    "direction": st.sampled_from(["maximize", "minimize", ["maximize", "minimize"]]),
    "constraints": st.sampled_from(["fit.memory <= 8e9", ["a < 1", "b >= -2.5"]]),
    "target": st.floats(-1e3, 1e3, allow_nan=False),
    "plateau": st.integers(1, 100),
    "max_compute": st.sampled_from([30, "2h"]),
    "prune_on": st.sampled_from(["validate.auc", ["validate.auc", "validate.loss:minimize"]]),
    "repeats": st.sampled_from([{"seed": 5}, {"seed": [1, 2]}]),
    "fidelity": st.sampled_from([{"param": "n", "min": 1, "max": 9}, {"param": "n", "min": 0.1, "max": 1, "eta": 2}]),
    "enqueue": st.sampled_from([[{"x": 1, "lr": 0.1}], []]),
    "from_study": st.sampled_from(["old", ["old", "older"]]),
    "from_runs": st.sampled_from(["all", ["tag:good", "churn#3"]]),
    "n_trials": st.integers(1, 10**6),
    "timeout": st.one_of(st.integers(0, 10**6), st.sampled_from(["90s", "2h"])),
    "seed": st.integers(0, 2**31),
    "executor": st.sampled_from(["inline", "local", "ray"]),
}


@given(st.fixed_dictionaries({"name": st.just("s")}, optional=OPTIONS), st.sampled_from(["yaml", "toml", "json"]))
def test_law_what_is_dumped_is_loaded_back(tmp_path_factory: pytest.TempPathFactory, options: Any, kind: str) -> None:
    path = tmp_path_factory.mktemp("round") / f"study.{kind}"
    made = StudyFile(
        Space({"x": Int(1, 3), "lr": Float(1e-5, 0.1, log=True)}), pipeline="package:churn", options=options
    )
    made.dump(path)
    assert StudyFile.load(path) == made
    run = StudyFile(made.space, run="churn#4", options=options)
    run.dump(path)
    assert StudyFile.load(path) == run


def test_the_schema_accepts_what_is_read_and_refuses_what_is_not() -> None:
    validator = jsonschema.Draft202012Validator(schema())
    validator.check_schema(schema())
    for text in (WHOLE, (DIGITS / "study.yaml").read_text()):
        assert list(validator.iter_errors(read_yaml(text, "x")[0])) == []
    for text, _ in WRONG:
        # What no schema says: a wrong duration or bound, and two keys that exclude each other.
        unsaid = ("nowhere", "min: 9, ", "[\n", "high: 0", "soon", "==", "a.b:down", "objectives: {a: maximize}")
        if not any(each in text for each in unsaid):
            assert list(validator.iter_errors(read_yaml(text, "x")[0])), text
    assert set(schema()["properties"]) == set(KEYS)
    json.dumps(schema())


def test_the_example_is_a_study_file() -> None:
    found = StudyFile.load(DIGITS / "study.yaml")
    assert found.pipeline == f"{DIGITS}/pipeline.py:digits"
    assert "model" in found.space
    assert found.options["name"] == "digits"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sampler: tpee", r"s\.yaml:3: sampler: .*Did you mean 'tpe'\?"),
        ("sampler: {name: tpe, multivarate: true}", r"s\.yaml:3: sampler: .*Did you mean 'multivariate'\?"),
        ("pruner: medain", r"s\.yaml:3: pruner: .*Did you mean 'median'\?"),
        ("queue: nope", r"s\.yaml:3: queue: there is no queue 'nope'"),
        ("repeats: {sed: 3}", r"s\.yaml:3: repeats: .*no parameter 'sed'"),
    ],
)
def test_what_only_the_study_finds_wrong_is_said_with_its_line(
    tmp_path: Path, home: Path, line: str, said: str
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"pipeline: samples.studied:halved\nparams: {{x: [1.0]}}\n{line}\nn_trials: 1\n")
    file = StudyFile.load(path)
    with pytest.raises(HpoPipelinesError, match=said), file.blamed(*file.options):
        optimize(studied.halved, file.space, **file.options)
    # What was given elsewhere is not the file's fault.
    with pytest.raises(HpoPipelinesError, match=r"^(?!.*yaml)"), file.blamed("name", "n_trials"):
        optimize(studied.halved, file.space, **file.options)


def test_a_space_of_the_gallery_that_there_is_not_is_said_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("pipeline: a:b\nspace: xgbost\n")
    with pytest.raises(SpaceError, match=r"s\.yaml:2: space: .*Did you mean 'xgboost'\?"):
        StudyFile.load(path)


def test_editors_are_told_the_names_that_there_are() -> None:
    keys = schema()["properties"]
    for key, name in (("sampler", "tpe"), ("pruner", "median"), ("space", "xgboost")):
        words, *others = keys[key]["anyOf"]
        assert name in words["enum"]
        assert {"type": "string", "minLength": 1} in others
        assert keys[key]["description"]
