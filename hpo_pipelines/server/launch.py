"""``hpo up``: one port, and what listens on it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.server.app import create_app
from hpo_pipelines.tracking import MlflowServer
from hpo_pipelines.workspace import Workspace

HOST = "127.0.0.1"
PORT = 8264
"""The one below Ray's dashboard."""


class _Server(uvicorn.Server):
    """Ends the live streams before it waits for what is open."""

    def __init__(self, config: uvicorn.Config, closing: Callable[[], None]) -> None:
        super().__init__(config)
        self._closing = closing

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._closing()
        await super().shutdown(sockets)


def serve(
    workspace: Workspace, *, port: int = PORT, mlflow: bool = True, ready: Callable[[str], None] = lambda address: None
) -> None:
    """Serve ``workspace`` on ``port`` (0: any free one) of 127.0.0.1 until SIGINT or SIGTERM.

    ``ready`` is called with the address once it listens. Raises ConfigError for a port that is taken.
    """
    with _listening(port) as listening, _mlflow(workspace, wanted=mlflow) as tracking:
        app = create_app(workspace, mlflow=tracking)
        address = f"http://{HOST}:{listening.getsockname()[1]}"
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=3, server_header=False
        )
        server = _Server(config, app.state.site.feed.close)
        ready(address)
        server.run(sockets=[listening])


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    # With the protocol named, asyncio sends each answer at once; else the kernel holds its end back for 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with listening:
        try:
            listening.bind((HOST, port))
            listening.listen(2048)
        except OSError as error:
            raise ConfigError(
                f"port {port} of {HOST} cannot be used: {error.strerror}. Another hpo up may have it; "
                "choose one with --port, or --port 0 for any free one."
            ) from error
        yield listening


@contextlib.contextmanager
def _mlflow(workspace: Workspace, *, wanted: bool) -> Iterator[MlflowServer | None]:
    """MLflow's server, where there is tracking and it is ours to serve; started, not waited for."""
    if not wanted or not workspace.settings.tracking_uri.strip():
        yield None
        return
    server = MlflowServer(workspace.settings)
    if server.backend.is_http:
        yield None  # it is served elsewhere, by somebody else's rules
        return
    with server:
        yield server
