"""``hpo up``: one port, and what listens on it."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import uvicorn

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.server.access import Access
from hpo_pipelines.server.app import create_app
from hpo_pipelines.server.security import HOSTS
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


@dataclass(frozen=True)
class Address:
    """Where to listen; ``names`` are those, beside the host's own, under which others ask."""

    host: str = HOST
    port: int = PORT
    names: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        address = _address(self.host)
        return self.host == "localhost" or (address is not None and address.is_loopback)

    @property
    def is_every(self) -> bool:
        """Whether it stands for every address of this machine."""
        address = _address(self.host)
        return address is not None and address.is_unspecified

    @property
    def hosts(self) -> tuple[str, ...]:
        """What may stand in ``Host``, without a port."""
        own = () if self.is_every else (_in_url(self.host),)
        return tuple(dict.fromkeys([*HOSTS, *own, *(_in_url(name.lower()) for name in self.names)]))

    def url(self, port: int) -> str:
        """What to open, when it listens on ``port``."""
        return f"http://{_in_url(self.host) if not self.is_every else _in_url(self.names[0])}:{port}"


def check(address: Address, access: Access) -> None:
    """Raise ConfigError where others could come in whom nobody knows, or where nobody could."""
    if access.is_open and (not address.is_local or address.names):
        given = f"--allow-host {address.names[0]}" if address.is_local else f"--host {address.host}"
        raise ConfigError(
            f"{given} lets others than this machine's ask, and whoever can ask can start code here. Say who may: "
            "--token-file FILE, which `hpo token create` writes, or --proxy-user-header HEADER with --proxy-address "
            "for a proxy that logs people in."
        )
    if address.is_every and not address.names:
        raise ConfigError(
            f"--host {address.host} listens on every address, and only names that are given are answered to. "
            "Give those that people will open: --allow-host NAME, as often as needed."
        )
    if access.tokens is not None and not access.tokens.tokens() and access.proxy is None:
        raise ConfigError(
            f"the token file {access.tokens.path} has no token, so nobody could come in; make one: "
            f"`hpo token create --role author --name me --token-file {access.tokens.path}`."
        )


def serve(
    workspace: Workspace,
    address: Address | None = None,
    *,
    access: Access | None = None,
    mlflow: bool = True,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve ``workspace`` at ``address`` (port 0: any free one; default 127.0.0.1) until SIGINT or SIGTERM.

    ``access`` says who may ask; without it whoever can reach it is author. ``ready`` is called with the URL once it
    listens. Raises ConfigError for a port that is taken, and for an address that others reach without ``access``.
    """
    address, access = address or Address(), access or Access()
    check(address, access)
    with _listening(address) as listening, _mlflow(workspace, wanted=mlflow) as tracking:
        app = create_app(workspace, mlflow=tracking, access=access, hosts=address.hosts)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=3,
            server_header=False,
            # It would take a visitor's word for the address that they come from; ours is compared with the proxy's.
            proxy_headers=False,
        )
        server = _Server(config, app.state.site.feed.close)
        ready(address.url(listening.getsockname()[1]))
        server.run(sockets=[listening])


@contextlib.contextmanager
def _listening(address: Address) -> Iterator[socket.socket]:
    try:
        family, kind, _, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(f"--host {address.host} is no address of this machine: {error.strerror}.") from error
    # With the protocol named, asyncio sends each answer at once; else the kernel holds its end back for 40 ms.
    listening = socket.socket(family, kind, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with listening:
        try:
            listening.bind(place)
            listening.listen(2048)
        except OSError as error:
            raise ConfigError(
                f"port {address.port} of {address.host} cannot be used: {error.strerror}. Another hpo up may have it; "
                "choose one with --port, or --port 0 for any free one."
            ) from error
        yield listening


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


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
