"""What runs in the server's process: MLflow's own application on a socket that was handed down.

Its command line would start two to ten processes; here it is one. The variables with a leading underscore are MLflow's
way of handing settings to its server; all that we use stand here.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from hpo_pipelines.settings import Settings
from hpo_pipelines.tracking.backend import Backend

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def environment(backend: Backend) -> dict[str, str]:
    """Variables that have to be set before MLflow's server is imported."""
    return {
        **backend.environment(),
        "_MLFLOW_SERVER_FILE_STORE": backend.uri,
        "_MLFLOW_SERVER_REGISTRY_STORE": backend.uri,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(backend.artifacts),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def application(backend: Backend) -> Application:
    """MLflow's application for ``backend``, without its assistant, which can run commands on this machine."""
    os.environ.update(environment(backend))
    backend.prepare()
    backend.analyze()
    from mlflow.server.fastapi_app import app

    return without_assistant(app)


def without_assistant(app: Application) -> Application:
    """``app``, which answers 403 below ``…/mlflow/assistant``."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "/mlflow/assistant" in scope["path"]:
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"The assistant is off."})
        else:
            await app(scope, receive, send)

    return guarded


def run(settings: Settings, descriptor: int, *, until: Callable[[Callable[[], None]], None]) -> None:
    """Serve on the socket ``descriptor``; ``until`` is called in a thread, with what ends the serving."""
    import uvicorn

    backend = Backend.of(settings)
    server = uvicorn.Server(
        uvicorn.Config(
            application(backend), log_level="warning", access_log=False, workers=1, timeout_graceful_shutdown=2
        )
    )

    def leave() -> None:
        server.should_exit = True

    threading.Thread(target=until, args=(leave,), name="hpo-line", daemon=True).start()
    with socket.socket(fileno=descriptor) as listening:
        asyncio.run(server.serve(sockets=[listening]))
