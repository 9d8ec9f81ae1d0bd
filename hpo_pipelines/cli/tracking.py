"""``hpo mlflow``: MLflow's own pages, on the runs that we mirror into it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from hpo_pipelines.cli.completion import complete_run
from hpo_pipelines.cli.options import found_run, json_option, print_json, workspace

if TYPE_CHECKING:
    from hpo_pipelines.run import Run
    from hpo_pipelines.tracking import MirrorProcess, MlflowServer

MIRROR_SECONDS = 90.0
"""How long a run that MLflow does not have yet is waited for."""

_SHORTEST_ID = 8
"""What stands for a run in MLflow while it is being made is shorter than any id."""


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
            page = server.page(None if run is None else _mirrored(run, server, mirror))
            if as_json:
                print_json({"uri": server.uri, "page": page})
            else:
                click.echo(page)
            if has_browser() and not as_json if open_ is None else open_:
                click.launch(page)
            server.join()
        except KeyboardInterrupt:
            return 0  # that is how it is meant to end
        finally:
            mirror.stop()
    if (problem := server.problem()) is not None:
        raise TrackingError(problem)
    return 0


def _mirrored(run: Run, server: MlflowServer, mirror: MirrorProcess) -> str:
    """MLflow's id of our run, once the mirror has made it. Raises TrackingError when it does not."""
    from hpo_pipelines.errors import TrackingError

    followers, follower = run.workspace.store.followers, server.backend.follower
    known = followers.mirrored(follower, run.id)
    if known is None or len(known) < _SHORTEST_ID:
        click.echo(f"bringing {run.label} into MLflow", err=True)
        mirror.drain(MIRROR_SECONDS)
        known = followers.mirrored(follower, run.id)
    if known is None or len(known) < _SHORTEST_ID:
        why = mirror.problem() or "another process is bringing it there, or it was recorded before MLflow was"
        raise TrackingError(f"{run.label} is not in MLflow: {why}. Look at `hpo mlflow` without a run.")
    return known


def has_browser() -> bool:
    """Whether a browser would appear in a window, and not in this terminal."""
    window = sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return window and sys.stdout.isatty()
