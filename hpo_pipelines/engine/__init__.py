"""Runs one pipeline task: traces its body, starts its steps, records what happens."""

from hpo_pipelines.engine.controller import Controller
from hpo_pipelines.engine.engine import Engine
from hpo_pipelines.engine.options import RunOptions
from hpo_pipelines.engine.refresh import Refresh

__all__ = ["Controller", "Engine", "Refresh", "RunOptions"]
