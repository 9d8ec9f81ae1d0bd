"""The default workspace, and what functions of pipelines do in it."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo_pipelines.component import Component
from hpo_pipelines.engine import Refresh
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.planning import Plan, Reach, reach
from hpo_pipelines.run import Run
from hpo_pipelines.runstep import RunStep
from hpo_pipelines.settings import Settings
from hpo_pipelines.standalone import PROJECT, standalone
from hpo_pipelines.workspace import RefreshOption, Workspace

_defaults: dict[tuple[Path, str], Workspace] = {}
_defaults_lock = threading.Lock()


def default_workspace() -> Workspace:
    """The workspace of ``$HPO_SERVER``, or under ``$HPO_HOME``; opened when first asked for and closed at exit."""
    settings = Settings.load()
    key = settings.home, settings.server
    with _defaults_lock:
        if key not in _defaults:
            _defaults[key] = Workspace()
            atexit.register(_defaults[key].close)
        return _defaults[key]


def run_pipeline(
    pipeline: Pipeline[..., Any], params: Mapping[str, Any], *, workspace: Workspace | None = None, **options: Any
) -> Run:
    """What ``pipeline.run`` does."""
    return (workspace or default_workspace()).run(pipeline, params, **options)


def run_component(
    component: Component[..., Any], params: Mapping[str, Any], *, project: str = PROJECT, **options: Any
) -> Run:
    """What ``component.run`` does."""
    return run_pipeline(standalone(component, project=project), params, **options)


def draft_pipeline(
    pipeline: Pipeline[..., Any], params: Mapping[str, Any], *, workspace: Workspace | None = None, **options: Any
) -> Run:
    """What ``pipeline.draft`` does."""
    return (workspace or default_workspace()).draft(pipeline, params, **options)


def plan_pipeline(
    pipeline: Pipeline[..., Any],
    params: Mapping[str, Any],
    *,
    workspace: Workspace | None = None,
    refresh: RefreshOption = False,
) -> Plan:
    """What ``pipeline.plan`` does."""
    return (workspace or default_workspace()).plan(pipeline, params, refresh=Refresh.of(refresh))


def reach_pipeline(
    pipeline: Pipeline[..., Any], params: Mapping[str, Any], *, workspace: Workspace | None = None
) -> Reach:
    """What ``pipeline.reach`` does."""
    return reach(workspace or default_workspace(), pipeline, params)


def get(reference: str) -> Run | RunStep:
    """The run or step called ``reference`` in the default workspace. Raises TaskNotFound."""
    return default_workspace().get(reference)
