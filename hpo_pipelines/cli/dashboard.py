"""``hpo optuna-dashboard``: Optuna's own pages on the trials of studies."""

from __future__ import annotations

import click

from hpo_pipelines.cli.completion import complete_study
from hpo_pipelines.cli.options import json_option, print_json, workspace


@click.command("optuna-dashboard")
@click.argument("name", metavar="[STUDY]", required=False, shell_complete=complete_study)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to serve; by default any free port.")
@click.option("--open/--no-open", "open_", default=None, help="Open a browser; by default where there is one.")
@json_option
def optuna_dashboard(*, name: str | None, port: int, open_: bool | None, as_json: bool) -> int:
    """Open Optuna's dashboard on STUDY, or on all studies as they are now, until Ctrl-C. It only shows.

    Needs hpo-pipelines[dashboard].
    """
    from hpo_pipelines.cli.streams import ending_politely
    from hpo_pipelines.cli.studies import study_called
    from hpo_pipelines.cli.tracking import has_browser
    from hpo_pipelines.store import TaskFilter
    from hpo_pipelines.study import Study
    from hpo_pipelines.study.dashboard import Dashboard
    from hpo_pipelines.types import Kind

    place = workspace()
    if name is not None:
        studies = [study_called(name)]
    else:
        studies = [Study(place, task) for task in place.store.tasks.list(TaskFilter(kind=Kind.STUDY), limit=None)]
    with ending_politely():
        dashboard = Dashboard(studies, port=port)
        try:
            if as_json:
                print_json({"url": dashboard.url})
            else:
                click.echo(f"Optuna's dashboard  {click.style(dashboard.url, bold=True)}")
                click.echo("It only shows. Ctrl-C ends it.", err=True)
            if has_browser() and not as_json if open_ is None else open_:
                click.launch(dashboard.url)
            dashboard.serve()
        except KeyboardInterrupt:
            return 0  # that is how it is meant to end
    return 0
