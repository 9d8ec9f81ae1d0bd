"""Tune whole machine-learning pipelines: decorate functions, record every run, clone it with other parameters."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo_pipelines.callbacks import Call, Callbacks, skip
    from hpo_pipelines.component import Component, component
    from hpo_pipelines.defaults import get
    from hpo_pipelines.errors import (
        ArtifactError,
        AttemptsExhausted,
        CommandFailed,
        ConfigError,
        DefinitionError,
        HpoPipelinesError,
        ParameterError,
        Pruned,
        ScheduleError,
        SpaceError,
        StepAborted,
        StepError,
        StepFailed,
        StepLost,
        StepSkipped,
        StepTimedOut,
        StoreError,
        StudyError,
        TaskError,
        TaskNotFound,
        TrackingError,
    )
    from hpo_pipelines.output import result
    from hpo_pipelines.pipeline import Pipeline, pipeline
    from hpo_pipelines.reporting import report
    from hpo_pipelines.retriggering import retrigger
    from hpo_pipelines.run import Run
    from hpo_pipelines.scripts import command, notebook
    from hpo_pipelines.study import Study, optimize, plan_study
    from hpo_pipelines.study.trial import Trial
    from hpo_pipelines.types import Cache, Environment, Resources, Retry, Status
    from hpo_pipelines.workspace import Workspace
    from search_spaces import Categorical, Fixed, Float, Int, Space

__version__ = "0.1.0"

# Each name is imported when it is first used: a worker and `hpo --help` never pay for what they do not touch. Even the
# authoring names cost a quarter of a second of CPU together (wrapt alone brings asyncio).
_ORIGINS = {
    "hpo_pipelines.callbacks": ("Call", "Callbacks", "skip"),
    "hpo_pipelines.component": ("Component", "component"),
    "hpo_pipelines.defaults": ("get",),
    "hpo_pipelines.errors": (
        "ArtifactError", "AttemptsExhausted", "CommandFailed", "ConfigError", "DefinitionError", "HpoPipelinesError",
        "ParameterError", "Pruned", "ScheduleError", "SpaceError", "StepAborted", "StepError", "StepFailed", "StepLost",
        "StepSkipped", "StepTimedOut", "StoreError", "StudyError", "TaskError", "TaskNotFound", "TrackingError",
    ),
    "hpo_pipelines.output": ("result",),
    "hpo_pipelines.pipeline": ("Pipeline", "pipeline"),
    "hpo_pipelines.reporting": ("report",),
    "hpo_pipelines.retriggering": ("retrigger",),
    "hpo_pipelines.run": ("Run",),
    "hpo_pipelines.scripts": ("command", "notebook"),
    "hpo_pipelines.study": ("Study", "optimize", "plan_study"),
    "hpo_pipelines.study.trial": ("Trial",),
    "hpo_pipelines.types": ("Cache", "Environment", "Resources", "Retry", "Status"),
    "hpo_pipelines.workspace": ("Workspace",),
    "search_spaces": ("Categorical", "Fixed", "Float", "Int", "Space"),
}  # fmt: skip
_ORIGIN_OF = {name: origin for origin, names in _ORIGINS.items() for name in names}

__all__ = [
    "ArtifactError", "AttemptsExhausted", "Cache", "Call", "Callbacks", "Categorical", "CommandFailed", "Component",
    "ConfigError", "DefinitionError", "Environment", "Fixed", "Float", "HpoPipelinesError", "Int", "ParameterError",
    "Pipeline", "Pruned", "Resources", "Retry", "Run", "ScheduleError", "Space", "SpaceError", "Status", "StepAborted",
    "StepError", "StepFailed", "StepLost", "StepSkipped", "StepTimedOut", "StoreError", "Study", "StudyError",
    "TaskError", "TaskNotFound", "TrackingError", "Trial", "Workspace", "command", "component", "get", "notebook",
    "optimize", "pipeline", "plan_study", "report", "result", "retrigger", "skip",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _ORIGIN_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_ORIGIN_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Decorator:
    """A decorator that has the name of the module it is in: importing the module must not put it in its place."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, package: ModuleType, owner: type) -> Any:
        if self.name not in vars(package):
            vars(package)[self.name] = getattr(importlib.import_module(f"{__name__}.{self.name}"), self.name)
        return vars(package)[self.name]

    def __set__(self, package: ModuleType, value: Any) -> None:
        if not isinstance(value, ModuleType):
            vars(package)[self.name] = value


class _Package(ModuleType):
    component = _Decorator("component")
    pipeline = _Decorator("pipeline")


sys.modules[__name__].__class__ = _Package
