"""Runs one pipeline task: traces its body, starts its steps, records what happens."""

from hpo_pipelines.engine.controller import Controller
from hpo_pipelines.engine.engine import Engine
from hpo_pipelines.engine.refresh import Refresh
from hpo_pipelines.engine.scheduler import RunOptions

__all__ = ["Controller", "Engine", "Refresh", "RunOptions"]
