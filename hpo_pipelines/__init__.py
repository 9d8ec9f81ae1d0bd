"""Tune whole machine-learning pipelines: decorate functions, record every run, clone it with other parameters."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hpo_pipelines.component import Component, component
from hpo_pipelines.errors import (
    ArtifactError,
    ConfigError,
    DefinitionError,
    HpoPipelinesError,
    ParameterError,
    Pruned,
    SpaceError,
    StepAborted,
    StepError,
    StepFailed,
    StepLost,
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
from hpo_pipelines.types import Cache, Environment, Resources, Retry, Status

if TYPE_CHECKING:
    from hpo_pipelines.run import Run
    from hpo_pipelines.study import Study, optimize
    from hpo_pipelines.workspace import Workspace, get
    from search_spaces import Categorical, Fixed, Float, Int, Space

__version__ = "0.1.0"

# The authoring names above are light. These bring the store, Optuna and more: each is imported when first used, so that
# a worker and `hpo --help` never pay for what they do not touch.
_ORIGINS = {
    "Categorical": "search_spaces",
    "Fixed": "search_spaces",
    "Float": "search_spaces",
    "Int": "search_spaces",
    "Run": "hpo_pipelines.run",
    "Space": "search_spaces",
    "Study": "hpo_pipelines.study",
    "Workspace": "hpo_pipelines.workspace",
    "get": "hpo_pipelines.workspace",
    "optimize": "hpo_pipelines.study",
}

__all__ = [
    "ArtifactError", "Cache", "Categorical", "Component", "ConfigError", "DefinitionError", "Environment", "Fixed", "Float",
    "HpoPipelinesError", "Int", "ParameterError", "Pipeline", "Pruned", "Resources", "Retry", "Run", "Space", "SpaceError",
    "Status", "StepAborted", "StepError", "StepFailed", "StepLost", "StepTimedOut", "StoreError", "Study", "StudyError",
    "TaskError", "TaskNotFound", "TrackingError", "Workspace", "component", "get", "optimize", "pipeline", "report",
    "result",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _ORIGINS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_ORIGINS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
