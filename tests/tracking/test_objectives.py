from __future__ import annotations

from dataclasses import replace

from hpo_pipelines.task import Metric, Task
from hpo_pipelines.tracking import objectives
from hpo_pipelines.types import ArtifactRef, Kind, Status

RUN = Task("r", Kind.PIPELINE, "churn", "retention", status=Status.COMPLETED, finished_at=2.0)


def number(text: bytes, format: str = "json") -> ArtifactRef:
    return ArtifactRef("d", "v", format, len(text), inline=text)


def test_of_one_objective_the_value_is_called_so() -> None:
    study = {"objective": None, "direction": "minimize"}
    (point,) = objectives.points(study, RUN, [], [], {"value": number(b"0.25")})
    assert (point.key, point.value, point.timestamp) == ("objective", 0.25, 2000)
    assert objectives.tags(study) == {"objective.value": "minimize"}


def test_of_several_each_is_named_and_may_be_a_metric_or_a_returned_key() -> None:
    study = {"objective": ["score", "cost:of it"], "direction": ["maximize", "minimize"], "constraints": ["a < 1"]}
    metrics = [Metric("r", "score", 0.5, 0, 1.0)]
    found = objectives.points(study, RUN, [], metrics, {"value.cost:of it": number(b"3")})
    assert [(point.key, point.value) for point in found] == [("objective.score", 0.5), ("objective.cost:of it", 3.0)]
    assert objectives.tags(study)["constraints"] == "a < 1"


def test_what_has_no_value_shows_none() -> None:
    study = {"objective": "x", "direction": "minimize"}
    assert objectives.points(study, replace(RUN, status=Status.PRUNED), [], [Metric("r", "x", 1.0, 0, 1.0)], {}) == []
    assert objectives.points(study, RUN, [], [Metric("r", "x", float("nan"), 0, 1.0)], {}) == []
    assert objectives.points(study, RUN, [], [], {"value.x": number(b'"text"')}) == []
    assert objectives.points(study, RUN, [], [], {"value.x": number(b"..", "pickle")}) == []
    assert objectives.points({}, RUN, [], [], {}) == []
