"""``python -m benchmarks.served``: what ``hpo up`` serves and, in the same process, the floor, a bare FastAPI route.

``/floor`` does one ``SELECT 1`` on a connection that stays open, in a thread, as our routes do: what is above it is
ours. Prints the URL as JSON, and serves until it is terminated.
"""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

import uvicorn
from fastapi import FastAPI
from sqlalchemy import create_engine

from hpo_pipelines import Workspace
from hpo_pipelines.server import create_app


def bare(url: str) -> FastAPI:
    """The floor over the database at ``url``."""
    app, mine = FastAPI(), threading.local()
    engine = create_engine(url, isolation_level="AUTOCOMMIT")

    @app.get("/floor")
    def floor() -> dict[str, Any]:
        if not hasattr(mine, "connection"):
            mine.connection = engine.connect()
        return {"one": mine.connection.exec_driver_sql("SELECT 1").scalar_one()}

    return app


def main() -> None:
    with Workspace() as workspace, socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(2048)
        ours, floor = create_app(workspace), bare(workspace.store.url)

        async def both(scope: Any, receive: Any, send: Any) -> None:
            chosen = floor if scope.get("path") == "/floor" else ours
            await chosen(scope, receive, send)

        print(json.dumps({"url": f"http://127.0.0.1:{listening.getsockname()[1]}"}), flush=True)
        config = uvicorn.Config(both, log_level="warning", access_log=False, server_header=False, proxy_headers=False)
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
