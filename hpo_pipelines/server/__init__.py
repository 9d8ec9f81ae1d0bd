"""The server: pages, REST and MLflow's pages on one port. The web framework is imported only here.

:func:`serve` is what ``hpo up`` calls; :func:`create_app` makes the application for one workspace.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo_pipelines.server.app import create_app
    from hpo_pipelines.server.launch import serve

_ORIGINS = {"create_app": "app", "serve": "launch"}

__all__ = ["create_app", "serve"]


def __getattr__(name: str) -> Any:
    if name not in _ORIGINS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ORIGINS[name]}"), name)
