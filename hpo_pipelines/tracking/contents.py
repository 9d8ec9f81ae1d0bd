"""What MLflow is to show of a task: pure functions from our records to its words, its limits kept."""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo_pipelines.task import Metric, Task
from hpo_pipelines.types import ArtifactRef, Kind, Status

TASK_TAG = "hpo.task"
"""The tag by which a task is found in MLflow; its value is the task's id."""
ATTEMPT_TAG = "hpo.attempt"
PARENT_TAG = "mlflow.parentRunId"
LABELS_TAG = "hpo.tags"
"""JSON list of the task's own tags; each also is an MLflow tag of its own."""

PARAM_LIMIT = 6000
TAG_LIMIT = 8000
KEY_LIMIT = 250

_NOT_IN_A_KEY = re.compile(r"[^/\w.\- :]")
_WORD = re.compile(r"(?!(?:None|True|False|nan|inf)$)[A-Za-z_./][\w./\-]*")
"""Text that nobody takes for another value."""
_to_json = json.JSONEncoder(ensure_ascii=False, default=str).encode

_STATUS = {
    Status.DRAFT: "SCHEDULED",
    Status.QUEUED: "SCHEDULED",
    Status.RUNNING: "RUNNING",
    Status.COMPLETED: "FINISHED",
    Status.FAILED: "FAILED",
    Status.ABORTED: "KILLED",
    Status.PRUNED: "KILLED",
    Status.SKIPPED: "KILLED",
}


def mlflow_status(status: Status) -> str:
    """MLflow's word for ``status``; it has one for what was stopped, whoever stopped it."""
    return _STATUS[status]


def milliseconds(seconds: float) -> int:
    """A time of ours (seconds since the epoch) as MLflow's."""
    return round(seconds * 1000)


def key(name: str) -> str:
    """``name`` as MLflow accepts it for a parameter, metric or tag: other characters become ``_``."""
    cleaned = _NOT_IN_A_KEY.sub("_", name)[:KEY_LIMIT]
    path = posixpath.normpath(cleaned)
    # A slash makes groups, so MLflow wants a path that could be one of a file.
    if path == cleaned and path != "." and not path.startswith(("..", "/")):
        return cleaned
    return cleaned.replace("/", "_").lstrip(".") or "_"


def cut(text: str, limit: int) -> str:
    """``text``, of which the end gives way to ``…`` when it has more than ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


# -- parameters


def param_texts(params: Mapping[str, Any]) -> dict[str, str]:
    """Encoded parameters (:mod:`hpo_pipelines.parameters`) as text: scalars plainly, containers as JSON.

    Where that does not say all, the exact values, with their types, are in the artifact ``params.json``.
    """
    return {key(name): cut(_text(value), PARAM_LIMIT) for name, value in params.items()}


def _text(value: Any) -> str:
    shown = _plain(value)
    return json.dumps(shown, ensure_ascii=False) if isinstance(shown, dict | list) else str(shown)


def _plain(value: Any) -> Any:
    """``value`` without the marks that keep its type."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    mark = next(iter(value), "")
    if isinstance(mark, str) and mark.startswith("$"):
        return _plain(value[mark])
    return {name: _plain(item) for name, item in value.items()}


# -- metrics


@dataclass(frozen=True)
class Point:
    """One value of an MLflow metric; ``timestamp`` in milliseconds since the epoch."""

    key: str
    value: float
    timestamp: int
    step: int

    @property
    def order(self) -> tuple[int, int, float]:
        """For a metric's latest value MLflow takes the one with the greatest step, then time, then value."""
        return self.step, self.timestamp, 0.0 if math.isnan(self.value) else self.value


def points(metrics: Sequence[Metric], prefixes: Mapping[str, str]) -> list[Point]:
    """The values as MLflow metrics, ``prefixes[task]`` before each name: ``fit.val_auc``, ``fit.2.val_auc``."""
    return [
        Point(key(prefixes[metric.task] + metric.name), metric.value, milliseconds(metric.at), metric.step)
        for metric in metrics
    ]


def closing(
    run: Task, steps: Sequence[Task], metrics: Sequence[Metric], *, finished_before: bool = False
) -> list[Point]:
    """What is to be added when ``run`` ends, so that each metric's latest value is the run's.

    ``run.metrics["fit.val_auc"]`` is the value reported last by the last call of ``fit``; under that key MLflow has
    the series of the first call, and of a series takes the value with the greatest step. ``metrics`` are all of the
    run and its ``steps``. With ``finished_before`` an earlier end may have added values, so nothing is left out.
    """
    prefixes = {run.id: "", **{step.id: f"{step.name}." for step in steps}}
    series: dict[str, Point] = {}
    for point in points(metrics, prefixes):
        best = series.get(point.key)
        series[point.key] = point if best is None or point.order >= best.order else best
    ends = []
    end = milliseconds(run.finished_at or 0.0)
    for name, (value, top) in last_values(run, steps, metrics).items():
        shown = series.get(name)
        if shown is None:
            ends.append(Point(name, value, end, top))
        elif finished_before or not _same(shown.value, value):
            ends.append(Point(name, value, max(shown.timestamp + 1, end), max(shown.step, top)))
    return ends


def last_values(run: Task, steps: Sequence[Task], metrics: Sequence[Metric]) -> dict[str, tuple[float, int]]:
    """The value of each key as the run has it: its own by name, each call's, the last call's by component.

    With each the greatest step that any call reported it at: what is added there is later than all that is there, an
    earlier end's addition included.
    """
    ordered = sorted(steps, key=lambda step: step.position or 0)
    prefixes = [(run.id, "")] + [(step.id, f"{step.name}.") for step in ordered]
    prefixes += [(step.id, f"{step.component}.") for step in ordered]
    reported: dict[str, list[Metric]] = {}
    for metric in metrics:
        reported.setdefault(metric.task, []).append(metric)
    found: dict[str, tuple[float, int]] = {}
    for task, prefix in prefixes:
        for metric in reported.get(task, ()):
            name = key(prefix + metric.name)
            _, top = found.get(name, (0.0, metric.step))
            found[name] = metric.value, max(top, metric.step)
    return found


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


# -- tags


def tags(task: Task, **more: object) -> dict[str, str]:
    """The tags of ``task``: what it is, where it stands, its own tags and notes; ``more`` are ``hpo.`` tags."""
    git = task.git or {}
    found: dict[str, object] = {
        TASK_TAG: task.id,
        "hpo.kind": task.kind,
        "hpo.status": task.status,
        "hpo.reason": task.reason,
        "hpo.executor": task.executor,
        "hpo.cloned_from": task.cloned_from,
        "hpo.rerun_of": task.rerun_of,
        "hpo.attempt": task.attempt if task.attempt > 1 else None,
        "hpo.attempt_of": task.attempt_of,
        "mlflow.source.git.commit": git.get("commit"),
        "mlflow.source.git.branch": git.get("branch"),
        "mlflow.note.content": task.notes,
        **{f"hpo.{name}": value for name, value in more.items()},
    }
    if task.kind is Kind.STEP:
        found |= {"hpo.component": task.component, "hpo.key": task.key, "hpo.reused_from": task.reused_from}
    if task.tags:
        found |= {LABELS_TAG: json.dumps(task.tags), **labels(task.tags)}
    return {name: cut(str(value), TAG_LIMIT) for name, value in found.items() if value not in (None, "")}


def labels(names: Sequence[str]) -> dict[str, str]:
    """A task's own tags as MLflow's: ``baseline`` is ``true``, ``team=risk`` is ``risk`` under ``team``."""
    found = {}
    for label in names:
        name, _, value = label.partition("=")
        # The names that mean something to MLflow and to us are not for the taking; such a label still is in the list.
        if name and not name.startswith(("mlflow.", "hpo.")):
            found[key(name)] = cut(value or "true", TAG_LIMIT)
    return found


def labels_in(tag: str | None) -> dict[str, str]:
    """The :func:`labels` of the value of LABELS_TAG."""
    return labels(json.loads(tag)) if tag else {}


# -- artifacts


def outputs_json(outputs: Mapping[str, Mapping[str, ArtifactRef]]) -> str:
    """Step name → output name → what it is, with its preview. A line for each step."""
    shown = {
        step: {
            name: {
                "format": ref.format,
                "size": ref.size,
                "digest": ref.digest,
                "value_digest": ref.value_digest,
                "preview": ref.preview,
            }
            for name, ref in refs.items()
        }
        for step, refs in outputs.items()
        if refs
    }
    return _in_lines(shown)


def _in_lines(record: Mapping[str, Any]) -> str:
    """JSON with a line for each member. Indenting it all, as MLflow's pages do, takes Python 20 times as long."""
    members = [f"{_to_json(name)}: {_to_json(value)}" for name, value in record.items()]
    return "{\n" + ",\n".join(members) + "\n}\n" if members else "{}\n"


def files(task: Task, outputs: Mapping[str, Mapping[str, ArtifactRef]], sources: Mapping[str, str]) -> dict[str, str]:
    """The artifacts of a finished task, path → text: what its parameters, metrics and tags leave open.

    All in one folder, since it takes longer to make a folder than to fill it.
    """
    found = {}
    if not all(map(_says_all, task.params.values())):
        found["params.json"] = _in_lines(task.params)
    if any(outputs.values()):
        found["outputs.json"] = outputs_json(outputs)
    if sources:
        found["code.py"] = "\n\n".join(f"# {name}\n{source.rstrip()}\n" for name, source in sources.items())
    diff = (task.git or {}).get("diff")
    if isinstance(diff, str) and diff:
        found["changes.diff"] = diff
    error = error_text(task.error)
    if error:
        found["error_message.txt"] = error
    return found


def _says_all(value: Any) -> bool:
    """Whether a parameter's text is its whole value, type included: a number's is, and that of most words."""
    if isinstance(value, bool | int | float):
        return True
    return isinstance(value, str) and len(value) <= PARAM_LIMIT and bool(_WORD.fullmatch(value))


def error_text(error: Mapping[str, Any] | None) -> str:
    """A failure for people: its traceback, and the end of the step's console."""
    if not error:
        return ""
    traceback = str(error.get("traceback") or f"{error.get('type')}: {error.get('message')}").rstrip()
    console = str(error.get("log") or "").rstrip()
    return f"{traceback}\n" + (f"\nThe end of its console:\n{console}\n" if console else "")
