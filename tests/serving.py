"""A real server over a home, in a thread of the test's own process and on a free port of loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from services import wait_until

from hpo_pipelines import Workspace
from hpo_pipelines.server import create_app
from hpo_pipelines.tracking import MlflowServer


@dataclass(frozen=True)
class Serving:
    """A server, and the workspace that it serves."""

    url: str
    workspace: Workspace


@contextmanager
def serving(home: Path, *, executor: str = "inline", mlflow: MlflowServer | None = None) -> Iterator[Serving]:
    """Serve ``home`` until the block ends, with the pages of ``mlflow`` beside ours."""
    (home / "config.toml").write_text(f'executor = "{executor}"\ntracking_uri = ""\n')
    with Workspace(home=home) as workspace, socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        app = create_app(workspace, mlflow=mlflow)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            wait_until(lambda: server.started, "the server to listen")
            yield Serving(f"http://127.0.0.1:{listening.getsockname()[1]}", workspace)
        finally:
            server.should_exit = True
            thread.join(60)
