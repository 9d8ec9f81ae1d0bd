"""``hpo up``: the pages, REST and MLflow on one port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hpo_pipelines.cli.options import json_option, print_json, workspace
from hpo_pipelines.cli.token import ROLES

if TYPE_CHECKING:
    from hpo_pipelines.server.access import Access
    from hpo_pipelines.workspace import Workspace


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8264, show_default=True, help="0: any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--allow-host", "names", multiple=True, metavar="NAME", help="Answer to this name, too.")
@click.option("--token-file", metavar="FILE", help="Answer only to those with a token of `hpo token create`.")
@click.option("--proxy-user-header", metavar="HEADER", help="A proxy that logs people in names them in this header.")
@click.option("--proxy-address", "proxies", multiple=True, metavar="ADDRESS", help="That proxy's address or network.")
@click.option("--proxy-role", type=click.Choice(ROLES), help="What those may whom it names; viewer unless given.")
@click.option("--mlflow/--no-mlflow", default=True, help="Serve MLflow's pages below /mlflow/, or do not.")
@click.option("--open/--no-open", "open_", default=None, help="Open a browser; by default where there is one.")
@json_option
def up(
    *,
    port: int,
    host: str,
    names: tuple[str, ...],
    token_file: str | None,
    proxy_user_header: str | None,
    proxies: tuple[str, ...],
    proxy_role: str | None,
    mlflow: bool,
    open_: bool | None,
    as_json: bool,
) -> int:
    """Serve the pages and REST until Ctrl-C, and say what to open.

    By default on 127.0.0.1, for whoever is on this machine. Any other --host, and any --allow-host, asks for
    --token-file or --proxy-user-header: whoever may ask may start code that is recorded here.
    """
    from hpo_pipelines.server import serve
    from hpo_pipelines.server.launch import Address, check

    address = Address(host, port, names)
    access = _access(token_file, proxy_user_header, proxies, proxy_role)
    check(address, access)
    place = workspace()

    def ready(url: str) -> None:
        if as_json:
            print_json({"url": url, "api": f"{url}/api/v1"})
        else:
            click.echo(f"Pages   {click.style(url, bold=True)}")
            click.echo(f"REST    {url}/api/v1  (described by {url}/api/v1/openapi.json)")
            if mlflow and (tracking := _tracking(place, url)):
                click.echo(f"MLflow  {tracking}")
            click.echo("Ctrl-C ends it.", err=True)
        from hpo_pipelines.cli.tracking import has_browser

        if has_browser() and not as_json if open_ is None else open_:
            click.launch(url)

    try:
        serve(place, address, access=access, mlflow=mlflow, ready=ready)
    except KeyboardInterrupt:
        return 0  # that is how it is meant to end
    return 0


def _tracking(place: Workspace, url: str) -> str:
    """Where MLflow's pages are: below ``url``, unless they are served elsewhere; empty without any."""
    from hpo_pipelines.tracking.backend import Backend

    if not place.settings.tracking_uri.strip():
        return ""
    backend = Backend.of(place.settings)
    return backend.shown if backend.is_http else f"{url}/mlflow"


def _access(token_file: str | None, header: str | None, proxies: Sequence[str], role: str | None) -> Access:
    from hpo_pipelines.errors import ConfigError
    from hpo_pipelines.server.access import Access, Proxy
    from hpo_pipelines.server.roles import Role
    from hpo_pipelines.server.tokens import TokenFile, role_called

    if header is None and (proxies or role is not None):
        given = f"--proxy-address {proxies[0]}" if proxies else f"--proxy-role {role}"
        raise ConfigError(
            f"{given} says nothing without --proxy-user-header, the header in which the proxy names people."
        )
    tokens = None if token_file is None else TokenFile(token_file)
    proxy = None if header is None else Proxy.of(header, proxies, Role.VIEWER if role is None else role_called(role))
    return Access(tokens, proxy)
