"""``hpo up``: the pages, REST and MLflow on one port."""

from __future__ import annotations

import click

from hpo_pipelines.cli.options import json_option, print_json, workspace


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8264, show_default=True, help="0: any free one.")
@click.option("--mlflow/--no-mlflow", default=True, help="Serve MLflow's pages below /mlflow/, or do not.")
@click.option("--open/--no-open", "open_", default=None, help="Open a browser; by default where there is one.")
@json_option
def up(*, port: int, mlflow: bool, open_: bool | None, as_json: bool) -> int:
    """Serve the pages and REST on 127.0.0.1 until Ctrl-C, and say what to open."""
    from hpo_pipelines.server import serve

    place = workspace()

    def ready(address: str) -> None:
        if as_json:
            print_json({"url": address, "api": f"{address}/api/v1"})
        else:
            click.echo(f"Pages   {click.style(address, bold=True)}")
            click.echo(f"REST    {address}/api/v1  (described by {address}/api/v1/openapi.json)")
            if mlflow and place.settings.tracking_uri.strip():
                click.echo(f"MLflow  {address}/mlflow")
            click.echo("Ctrl-C ends it.", err=True)
        from hpo_pipelines.cli.tracking import has_browser

        if has_browser() and not as_json if open_ is None else open_:
            click.launch(address)

    try:
        serve(place, port=port, mlflow=mlflow, ready=ready)
    except KeyboardInterrupt:
        return 0  # that is how it is meant to end
    return 0
