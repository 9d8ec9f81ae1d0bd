"""``hpo mlflow``: MLflow's own pages, on the runs that we mirror into it."""

from __future__ import annotations

import os
import sys

import click

from hpo_pipelines.cli.completion import complete_run
from hpo_pipelines.cli.options import found_run, json_option, print_json, workspace


@click.command()
@click.argument("reference", metavar="[RUN]", required=False, shell_complete=complete_run)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to serve; by default any free port.")
@click.option("--open/--no-open", "open_", default=None, help="Open a browser; by default where there is one.")
@json_option
def mlflow(*, reference: str | None, port: int, open_: bool | None, as_json: bool) -> int:
    """Open MLflow's pages on our runs, or on RUN; they are served until Ctrl-C.

    Where MLFLOW_TRACKING_URI names a server that runs elsewhere, its pages are opened and the command ends.
    """
    from hpo_pipelines.cli.streams import ending_politely
    from hpo_pipelines.errors import TrackingError
    from hpo_pipelines.tracking import MirrorProcess, MlflowServer

    place = workspace()
    run = None if reference is None else found_run(reference)
    mirror = MirrorProcess(place.settings)
    with ending_politely(), MlflowServer(place.settings, port=port) as server:
        mirror.start()  # what was recorded while nothing mirrored it appears while one looks
        try:
            page = server.page(None if run is None else _mirrored(run.id, server.backend.follower))
            if as_json:
                print_json({"uri": server.uri, "page": page})
            else:
                click.echo(page)
            if _has_browser() and not as_json if open_ is None else open_:
                click.launch(page)
            server.join()
        except KeyboardInterrupt:
            return 0  # that is how it is meant to end
        finally:
            mirror.stop()
    if (problem := server.problem()) is not None:
        raise TrackingError(problem)
    return 0


def _mirrored(run: str, follower: str) -> str:
    """MLflow's id of our run. Raises TrackingError while it has none."""
    from hpo_pipelines.errors import TrackingError

    place = workspace()
    known = place.store.followers.mirrored(follower, run)
    # Shorter entries say that it is about to be made.
    if known is None or len(known) < 8:
        raise TrackingError(
            f"{place.store.tasks.get(run).label} is not in MLflow yet; `hpo mlflow` alone brings it there in a moment."
        )
    return known


def _has_browser() -> bool:
    """Whether a browser would appear in a window, and not in this terminal."""
    window = sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return window and sys.stdout.isatty()
