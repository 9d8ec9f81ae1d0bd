"""What MLflow is to show of a trial's objectives: a tag for each with its direction, and a metric with its value."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hpo_pipelines.task import Metric, Task
from hpo_pipelines.tracking.contents import Point, key, last_values, milliseconds
from hpo_pipelines.types import ArtifactRef, Status


def names(study: Mapping[str, Any]) -> list[tuple[str | None, str]]:
    """The objectives of a study that is recorded with these parameters, with their directions; None is the value."""
    if "direction" not in study:
        return []
    objective, direction = study.get("objective"), study["direction"]
    if isinstance(objective, list):
        return list(zip(objective, direction, strict=True))
    return [(objective, str(direction))]


def tags(study: Mapping[str, Any]) -> dict[str, str]:
    """``objective.fit.auc`` → ``maximize``, for each; and the constraints, as one text."""
    found = {f"objective.{key(name or 'value')}": direction for name, direction in names(study)}
    constraints = study.get("constraints") or []
    return {**found, "constraints": "; ".join(constraints)} if constraints else found


def points(
    study: Mapping[str, Any],
    run: Task,
    steps: Sequence[Task],
    metrics: Sequence[Metric],
    outputs: Mapping[str, ArtifactRef],
) -> list[Point]:
    """The values of a completed trial: ``objective`` of one objective, ``objective.fit.auc`` of several."""
    if run.status is not Status.COMPLETED:
        return []
    wanted = names(study)
    reported = last_values(run, steps, metrics)
    end = milliseconds(run.finished_at or 0.0)
    found = []
    for name, _ in wanted:
        known = reported.get(key(name)) if name is not None else None
        value = known[0] if known is not None else _returned(name, outputs)
        if value is not None and not math.isnan(value):
            shown = "objective" if len(wanted) == 1 else f"objective.{key(name or 'value')}"
            found.append(Point(shown, value, end, 0))
    return found


def _returned(name: str | None, outputs: Mapping[str, ArtifactRef]) -> float | None:
    """The returned number, or that under the key ``name`` of the returned dict, if it is at hand and a number."""
    ref = outputs.get("value" if name is None else f"value.{name}")
    if ref is None or ref.format != "json" or ref.inline is None:
        return None
    value = json.loads(ref.inline)
    return float(value) if isinstance(value, int | float) else None
