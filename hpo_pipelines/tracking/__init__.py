"""What keeps up with the store's events: :mod:`base` is for any follower, the rest is the mirror into MLflow.

A driver uses :class:`MirrorProcess`, :class:`StepTracking` and :class:`MlflowServer`, none of which imports MLflow;
``hpo_pipelines.tracking.mlflow`` runs in the mirror's own process, :func:`inside.step_run` in a step's.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo_pipelines.tracking.base import Follower, Pace
    from hpo_pipelines.tracking.notifier import NotifierProcess
    from hpo_pipelines.tracking.process import MirrorProcess
    from hpo_pipelines.tracking.runs import run_id_of
    from hpo_pipelines.tracking.server import MlflowServer
    from hpo_pipelines.tracking.steps import StepTracking

# Imported when first used: a step's process needs neither the store nor what runs beside a driver.
_ORIGINS = {
    "Follower": "base",
    "MirrorProcess": "process",
    "MlflowServer": "server",
    "NotifierProcess": "notifier",
    "Pace": "base",
    "StepTracking": "steps",
    "run_id_of": "runs",
}

__all__ = ["Follower", "MirrorProcess", "MlflowServer", "NotifierProcess", "Pace", "StepTracking", "run_id_of"]


def __getattr__(name: str) -> Any:
    if name not in _ORIGINS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ORIGINS[name]}"), name)
