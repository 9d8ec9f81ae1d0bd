"""As much of MLflow as the mirror uses, in memory and without the seconds that importing it takes.

The tests of the mirror run against this and against MLflow itself, so what differs between them shows. It keeps the
rules that the mirror relies on: a parameter is never changed, equal values of a metric are one, what is deleted takes
no writes, and there is a limit to what goes into one call.
"""

from __future__ import annotations

import itertools
import math
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class MlflowException(Exception):
    def __init__(self, message: str, error_code: str = "INTERNAL_ERROR") -> None:
        super().__init__(message)
        self.error_code = error_code


@dataclass(frozen=True)
class Metric:
    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True)
class Param:
    key: str
    value: str


RunTag = Param


class Page(list[Any]):
    token = None


@dataclass
class Stored:
    info: SimpleNamespace
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[tuple[str, int, int, str], Metric] = field(default_factory=dict)

    @property
    def data(self) -> SimpleNamespace:
        latest: dict[str, Metric] = {}
        for metric in self.metrics.values():
            best = latest.get(metric.key)
            latest[metric.key] = metric if best is None or _order(metric) > _order(best) else best
        values = {key: metric.value for key, metric in latest.items()}
        return SimpleNamespace(params=dict(self.params), tags=dict(self.tags), metrics=values)

    def to_dictionary(self) -> dict[str, Any]:
        return {"info": vars(self.info).copy(), "data": vars(self.data)}


def _order(metric: Metric) -> tuple[int, int, float]:
    return metric.step, metric.timestamp, 0.0 if math.isnan(metric.value) else metric.value


class Memory:
    """What all clients see."""

    def __init__(self, root: Path, scheme: str = "") -> None:
        self.root = root
        self.scheme = scheme
        self.experiments: dict[str, SimpleNamespace] = {}
        self.runs: dict[str, Stored] = {}
        self.numbers = itertools.count(1)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Stand in for the package ``mlflow``."""
        mlflow, entities, exceptions = (ModuleType(f"mlflow{name}") for name in ("", ".entities", ".exceptions"))
        mlflow.MlflowClient = lambda uri: Client(self)  # type: ignore[attr-defined]
        vars(entities).update(Metric=Metric, Param=Param, RunTag=RunTag, ViewType=SimpleNamespace(ALL=3))
        exceptions.MlflowException = MlflowException  # type: ignore[attr-defined]
        for module in (mlflow, entities, exceptions):
            patch.setitem(sys.modules, module.__name__, module)


class Client:
    """MlflowClient."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def search_experiments(self, max_results: int = 1000) -> list[Any]:
        return list(self._memory.experiments.values())[:max_results]

    def get_experiment_by_name(self, name: str) -> Any:
        return next((one for one in self._memory.experiments.values() if one.name == name), None)

    def create_experiment(self, name: str, artifact_location: str | None = None) -> str:
        if self.get_experiment_by_name(name) is not None:
            raise MlflowException(f"Experiment(name={name}) already exists.", "RESOURCE_ALREADY_EXISTS")
        id = str(next(self._memory.numbers))
        place = artifact_location or f"{self._memory.scheme}{self._memory.root / id}"
        self._memory.experiments[id] = SimpleNamespace(
            experiment_id=id, name=name, lifecycle_stage="active", artifact_location=place
        )
        return id

    def delete_experiment(self, id: str) -> None:
        self._set_stage(id, "deleted")

    def restore_experiment(self, id: str) -> None:
        self._set_stage(id, "active")

    def _set_stage(self, id: str, stage: str) -> None:
        self._memory.experiments[id].lifecycle_stage = stage
        for run in self._memory.runs.values():
            if run.info.experiment_id == id:
                run.info.lifecycle_stage = stage

    def create_run(
        self,
        experiment_id: str,
        start_time: int = 0,
        tags: dict[str, str] | None = None,
        run_name: str | None = None,
    ) -> Stored:
        experiment = self._memory.experiments[experiment_id]
        if experiment.lifecycle_stage != "active":
            raise MlflowException("The experiment must be in the 'active' state.", "INVALID_PARAMETER_VALUE")
        id = f"{next(self._memory.numbers):032x}"
        info = SimpleNamespace(
            run_id=id, experiment_id=experiment_id, run_name=run_name, status="RUNNING", start_time=start_time,
            end_time=None, lifecycle_stage="active", artifact_uri=f"{experiment.artifact_location}/{id}/artifacts",
        )  # fmt: skip
        run = self._memory.runs[id] = Stored(info)
        run.tags.update({"mlflow.runName": run_name or id, **_texts(tags or {})})
        return run

    def get_run(self, id: str) -> Stored:
        if id not in self._memory.runs:
            raise MlflowException(f"Run with id={id} not found", "RESOURCE_DOES_NOT_EXIST")
        return self._memory.runs[id]

    def delete_run(self, id: str) -> None:
        self.get_run(id).info.lifecycle_stage = "deleted"

    def restore_run(self, id: str) -> None:
        self.get_run(id).info.lifecycle_stage = "active"

    def search_runs(self, experiments: list[str], condition: str = "", run_view_type: int = 1, **options: Any) -> Page:
        found = [run for run in self._memory.runs.values() if run.info.experiment_id in experiments]
        if run_view_type != 3:
            found = [run for run in found if run.info.lifecycle_stage == "active"]
        if condition:
            match = re.fullmatch(r"tags\.`([^`]+)` (=|LIKE) '([^']*)'", condition)
            assert match is not None, condition
            name, relation, value = match.groups()
            assert relation == "=" or value == "%"
            found = [run for run in found if name in run.tags and (relation == "LIKE" or run.tags[name] == value)]
        return Page(sorted(found, key=lambda run: run.info.start_time))

    def log_batch(self, id: str, metrics: Any = (), params: Any = (), tags: Any = ()) -> None:
        assert len(metrics) <= 1000
        assert len(params) <= 100
        assert len(tags) <= 100
        assert len(metrics) + len(params) + len(tags) <= 1000
        run = self._writable(id)
        for param in params:
            assert len(param.value) <= 6000
            if run.params.setdefault(param.key, param.value) != param.value:
                raise MlflowException(f"Changing param {param.key} is not allowed.", "INVALID_PARAMETER_VALUE")
        for metric in metrics:
            run.metrics[metric.key, metric.timestamp, metric.step, repr(metric.value)] = metric
        run.tags.update(_texts({tag.key: tag.value for tag in tags}))

    def log_param(self, id: str, key: str, value: str) -> None:
        self.log_batch(id, params=[Param(key, value)])

    def log_metric(self, id: str, key: str, value: float) -> None:
        self.log_batch(id, [Metric(key, value, 0, 0)])

    def delete_tag(self, id: str, key: str) -> None:
        del self._writable(id).tags[key]

    def update_run(self, id: str, status: str) -> None:
        self._writable(id).info.status = status

    def set_terminated(self, id: str, status: str, end_time: int) -> None:
        run = self._writable(id)
        run.info.status, run.info.end_time = status, end_time

    def _writable(self, id: str) -> Stored:
        run = self.get_run(id)
        if run.info.lifecycle_stage != "active":
            raise MlflowException(f"The run {id} must be in the 'active' state.", "INVALID_PARAMETER_VALUE")
        return run

    def get_metric_history(self, id: str, key: str) -> list[Metric]:
        return [metric for metric in self.get_run(id).metrics.values() if metric.key == key]

    def log_artifacts(self, id: str, folder: str) -> None:
        shutil.copytree(folder, self._place(id), dirs_exist_ok=True)

    def list_artifacts(self, id: str, folder: str = "") -> list[Any]:
        place = self._place(id)
        return [SimpleNamespace(path=str(path.relative_to(place))) for path in (place / folder).iterdir()]

    def _place(self, id: str) -> Path:
        return Path(self.get_run(id).info.artifact_uri.removeprefix(self._memory.scheme))


def _texts(tags: dict[str, str]) -> dict[str, str]:
    for value in tags.values():
        assert isinstance(value, str)
        assert len(value) <= 8000
    return tags
