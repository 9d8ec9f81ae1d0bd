"""What MLflow is shown of a task."""

from __future__ import annotations

import json
import math
import posixpath
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpo_pipelines.parameters.encoding import encode
from hpo_pipelines.task import Metric, Task
from hpo_pipelines.tracking import contents
from hpo_pipelines.tracking.contents import Point
from hpo_pipelines.types import ArtifactRef, Kind, Status


def task(id: str = "run", kind: Kind = Kind.PIPELINE, **fields: Any) -> Task:
    return Task(id=id, kind=kind, name=id, project="retention", pipeline="churn", **fields)


def step(id: str, name: str, component: str, position: int) -> Task:
    return replace(task(id, Kind.STEP, component=component, position=position), name=name)


def ref(preview: dict[str, Any]) -> ArtifactRef:
    return ArtifactRef("d", "v", "json", 3, preview)


# -- words and limits


@pytest.mark.parametrize("status", Status)
def test_every_status_has_a_word(status: Status) -> None:
    assert contents.mlflow_status(status) in {"SCHEDULED", "RUNNING", "FINISHED", "FAILED", "KILLED"}


@given(st.text(min_size=1, max_size=300))
def test_every_name_becomes_one_that_mlflow_takes(name: str) -> None:
    key = contents.key(name)
    # The rules of mlflow.utils.validation.
    assert re.match(r"^[/\w.\- :]*$", key)
    assert posixpath.normpath(key) == key != "."
    assert not key.startswith(("..", "/"))
    assert 0 < len(key) <= 250


@pytest.mark.parametrize("name", ["val_auc", "fit.2.val_auc", "train/loss", "a b:c-d", ".hidden"])
def test_good_names_stay(name: str) -> None:
    assert contents.key(name) == name


@pytest.mark.parametrize(
    ("name", "key"), [("loss(train)", "loss_train_"), ("../x", "_x"), ("a//b", "a__b"), ("..", "_"), ("@", "_")]
)
def test_other_names_are_changed_a_little(name: str, key: str) -> None:
    assert contents.key(name) == key


# -- parameters


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (1e-5, "1e-05"),
        (7, "7"),
        (True, "True"),
        (None, "None"),
        ("None", "None"),
        ("", ""),
        (math.inf, "inf"),
        ([1, [2.5, None]], "[1, [2.5, null]]"),
        ({"a": {"b": "ü"}}, '{"a": {"b": "ü"}}'),
        ((1, 2), "[1, 2]"),
    ],
)
def test_parameters_as_text(value: Any, text: str) -> None:
    assert contents.param_texts({"p": encode(value)}) == {"p": text}


def test_what_keeps_a_type_is_not_shown() -> None:
    params = {
        "day": {"$date": "2024-01-31"},
        "path": {"$path": "data/churn.csv"},
        "color": {"$enum": "RED", "of": "Color"},
        "config": {"$dataclass": {"lr": 0.1, "when": {"$date": "2024-01-31"}}, "of": "Config"},
        "plain": {"$dict": [[1, "a"]]},
    }
    assert contents.param_texts(params) == {
        "day": "2024-01-31",
        "path": "data/churn.csv",
        "color": "RED",
        "config": '{"lr": 0.1, "when": "2024-01-31"}',
        "plain": '[[1, "a"]]',
    }


def test_a_long_parameter_is_cut_visibly() -> None:
    (text,) = contents.param_texts({"p": "x" * 7000}).values()
    assert len(text) == 6000
    assert text.endswith("x…")


# -- metrics


def latest(points: list[Point]) -> dict[str, float]:
    """MLflow's rule: the greatest step, then time, then value."""
    found: dict[str, Point] = {}
    for point in points:
        best = found.get(point.key)
        found[point.key] = point if best is None or point.order > best.order else best
    return {key: point.value for key, point in found.items()}


RUN = task(finished_at=2000.0)
STEPS = [step("s0", "fit", "fit", 0), step("s1", "load", "load", 1), step("s2", "fit.2", "fit", 2)]
PREFIXES = {"run": "", "s0": "fit.", "s1": "load.", "s2": "fit.2."}


def run_metrics(metrics: list[Metric]) -> dict[str, float]:
    """What ``run.metrics`` gives: its own by name, of each call, of the last call that reported by component."""
    found = {metric.name: metric.value for metric in metrics if metric.task == "run"}
    for prefix in ("name", "component"):
        for one in STEPS:
            for metric in metrics:
                if metric.task == one.id:
                    found[f"{getattr(one, prefix)}.{metric.name}"] = metric.value
    return found


reports = st.lists(
    st.builds(
        Metric,
        st.sampled_from(list(PREFIXES)),
        st.sampled_from(["auc", "loss"]),
        st.floats(width=32) | st.sampled_from([0.0, 1.0]),
        st.integers(0, 4),
        st.floats(1000.0, 1000.01),
    ),
    max_size=12,
)


@given(reports)
def test_the_latest_value_of_each_metric_is_the_runs(metrics: list[Metric]) -> None:
    points = contents.points(metrics, PREFIXES) + contents.closing(RUN, STEPS, metrics)
    shown = latest(points)
    wanted = run_metrics(metrics)
    assert shown.keys() == wanted.keys()
    for key, value in wanted.items():
        assert shown[key] == value or (math.isnan(shown[key]) and math.isnan(value))


@example([Metric("s2", "auc", 0.0, 1, 1000.0)], [Metric("s2", "auc", 1.0, 0, 1000.0)])
@given(reports, reports)
def test_also_when_the_run_ends_a_second_time(first: list[Metric], more: list[Metric]) -> None:
    later = [replace(metric, at=metric.at + 2000.0) for metric in more]
    again = replace(RUN, finished_at=4000.0)
    points = contents.points([*first, *later], PREFIXES) + contents.closing(RUN, STEPS, first)
    points += contents.closing(again, STEPS, [*first, *later], finished_before=True)
    shown = latest(points)
    for key, value in run_metrics([*first, *later]).items():
        assert shown[key] == value or (math.isnan(shown[key]) and math.isnan(value))


def test_a_single_call_in_order_needs_nothing_more() -> None:
    metrics = [Metric("s0", "auc", value, number, 1000.0 + number) for number, value in enumerate([0.1, 0.2])]
    assert contents.closing(RUN, STEPS[:1], metrics) == []


def test_the_last_call_closes_the_series_of_the_component() -> None:
    metrics = [Metric("s0", "auc", 0.9, 5, 1000.0), Metric("s2", "auc", 0.7, 1, 1001.0)]
    assert contents.closing(RUN, STEPS, metrics) == [Point("fit.auc", 0.7, 2_000_000, 5)]


# -- tags


def test_the_tags_of_a_run() -> None:
    run = task(
        status=Status.FAILED,
        reason="step fit failed",
        cloned_from="older",
        git={"commit": "abc", "branch": "main", "dirty": True, "diff": "+x"},
        tags=("baseline", "team=risk", "mlflow.user=eve"),
        notes="**why**",
    )
    assert contents.tags(run, run="churn#7", trial=0, study="lr") == {
        "hpo.task": "run",
        "hpo.kind": "pipeline",
        "hpo.status": "failed",
        "hpo.reason": "step fit failed",
        "hpo.cloned_from": "older",
        "hpo.run": "churn#7",
        "hpo.trial": "0",
        "hpo.study": "lr",
        "hpo.tags": '["baseline", "team=risk", "mlflow.user=eve"]',
        "baseline": "true",
        "team": "risk",
        "mlflow.source.git.commit": "abc",
        "mlflow.source.git.branch": "main",
        "mlflow.note.content": "**why**",
    }


def test_a_step_says_what_it_is_a_call_of() -> None:
    tags = contents.tags(replace(STEPS[2], key="k", reused_from="other"))
    assert (tags["hpo.component"], tags["hpo.key"], tags["hpo.reused_from"]) == ("fit", "k", "other")


def test_an_attempt_names_the_one_before_it() -> None:
    tags = contents.tags(task(attempt=2, attempt_of="before"))
    assert (tags["hpo.attempt"], tags["hpo.attempt_of"]) == ("2", "before")
    assert not {"hpo.attempt", "hpo.attempt_of"} & contents.tags(task()).keys()


def test_long_tags_are_cut() -> None:
    assert len(contents.tags(task(notes="x" * 9000))["mlflow.note.content"]) == 8000


def test_labels_come_back_from_their_list() -> None:
    names = ("baseline", "team=risk", "=odd")
    assert contents.labels_in(json.dumps(names)) == contents.labels(names) == {"baseline": "true", "team": "risk"}
    assert contents.labels_in(None) == {}


# -- artifacts


def test_the_files_of_a_run() -> None:
    error = {"type": "ValueError", "message": "no", "traceback": "Traceback: no\n", "log": "epoch 1\n"}
    run = task(params={"lr": 0.1, "day": {"$date": "2024-01-31"}}, git={"diff": "+x\n"}, error=error)
    files = contents.files(
        run, {"fit": {"model": ref({"shape": [2]})}, "load": {}}, {"fit": "def fit(): ...\n", "a/b": "x"}
    )
    assert json.loads(files.pop("params.json")) == run.params
    assert json.loads(files.pop("outputs.json")) == {
        "fit": {"model": {"format": "json", "size": 3, "digest": "d", "value_digest": "v", "preview": {"shape": [2]}}}
    }
    assert files == {
        "code.py": "# fit\ndef fit(): ...\n\n\n# a/b\nx\n",
        "changes.diff": "+x\n",
        "error_message.txt": "Traceback: no\n\nThe end of its console:\nepoch 1\n",
    }


def test_nothing_is_made_of_nothing() -> None:
    assert contents.files(task(), {"fit": {}}, {}) == {}
    assert contents.error_text({"type": "ValueError", "message": "no"}) == "ValueError: no\n"


@pytest.mark.parametrize(
    ("value", "open_"),
    [
        (0.1, False), (5, False), (True, False), (float("nan"), False), ("churn.csv", False), ("data/a-b_c", False),
        (None, True), ("None", True), ("True", True), ("nan", True), ("5", True), ("1e-5", True), ("", True),
        ("two words", True), ("x" * 7000, True), ([1, 2], True), ({"$date": "2024-01-31"}, True),
    ],
)  # fmt: skip
def test_values_are_kept_exactly_where_their_text_does_not_tell_them(value: Any, open_: bool) -> None:
    files = contents.files(task(params={"p": value}), {}, {})
    assert ("params.json" in files) == open_
    if open_:
        assert json.loads(files["params.json"]) == {"p": value}


def test_outputs_stand_in_lines() -> None:
    text = contents.outputs_json({"load": {"value": ref({"a": 1})}, "fit": {"model": ref({"b": "ü"})}, "none": {}})
    assert [line[:6] for line in text.splitlines()] == ["{", '"load"', '"fit":', "}"]
    assert "ü" in text
    assert json.loads(text)["fit"]["model"]["preview"] == {"b": "ü"}
