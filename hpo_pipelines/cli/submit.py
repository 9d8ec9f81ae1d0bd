"""Commands that run on a Ray cluster, as jobs of it: submitted, followed, stopped from here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpo_pipelines.cli.completion import complete_target
from hpo_pipelines.cli.options import (
    assignments,
    executor_option,
    json_option,
    parameter_option,
    print_json,
    typed,
    workspace,
)

if TYPE_CHECKING:
    from hpo_pipelines.executors.ray_jobs import Job, Jobs, Order
    from hpo_pipelines.run import Run
    from hpo_pipelines.settings import Settings

STUDY_FILES = (".yaml", ".yml", ".toml", ".json")

PREFIX = "hpo-"
"""What the ids of our jobs begin with; a run's own id follows."""

address_option = click.option(
    "--address", envvar="HPO_RAY_JOBS", required=True, metavar="URL", help="The head's job server: http://HEAD:8265."
)


class _Submit(click.Group):
    """``hpo submit …`` submits; ``hpo submit status|logs|stop`` look after what was submitted."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, args if args and args[0] in known else ["start", *args])


@click.group(cls=_Submit, subcommand_metavar="[status|logs|stop] …")
def submit() -> None:
    """Run a pipeline, a study or any command of hpo on a Ray cluster: `hpo submit FILE.py:PIPELINE -P lr=0.1`,
    `hpo submit study.yaml`, `hpo submit -- optimize FILE.py:PIPELINE --space space.yaml`; each with --address URL.

    It goes on when this client is gone. The store and the artifacts are this workspace's: both have to be such that
    the cluster reaches them. `hpo submit start --help` has all options.
    """


@submit.command()
@click.argument(
    "target", metavar="MODULE:PIPELINE|STUDY.yaml|-- COMMAND …", nargs=-1, required=True, shell_complete=complete_target
)
@address_option
@parameter_option("Set a parameter; the others keep their defaults.")
@click.option(
    "--queue", default="services", show_default=True, help="Where the controller runs, as the settings declare."
)
@click.option("--working-dir", "folder", default=".", help="The folder to upload, where the command runs.")
@click.option(
    "--env", "variables", multiple=True, metavar="NAME=VALUE", help="Set a variable for the command and steps."
)
@click.option(
    "--follow/--no-follow", default=True, help="Show what it prints until it is over; Ctrl-C leaves it running."
)
@executor_option
@json_option
def start(
    *,
    target: tuple[str, ...],
    address: str,
    params: tuple[str, ...],
    queue: str,
    folder: str,
    variables: tuple[str, ...],
    follow: bool,
    executor: str | None,
    as_json: bool,
) -> int:
    """Submit a run of a pipeline, a study from its file, or, behind `--`, any command of hpo."""
    from hpo_pipelines.executors.ray_jobs import Jobs

    settings = workspace().settings
    _check_reach(settings, address)
    settings.queue(queue)
    jobs = Jobs(address)
    if len(target) == 1 and target[0].endswith(STUDY_FILES):
        target = ("optimize", *target)
    run = _draft(target[0], params, executor) if len(target) == 1 else None
    if run is None and (params or executor):
        raise click.UsageError("-P and --executor go with a pipeline; behind -- they are the command's own.")
    order = _order(settings, run, target, folder=folder, queue=queue, variables=assignments(variables))
    id = jobs.submit(order)
    return _report(jobs, id, run, follow=follow, as_json=as_json)


@submit.command()
@click.argument("reference", metavar="JOB|RUN")
@address_option
@json_option
def status(*, reference: str, address: str, as_json: bool) -> int:
    """Say how a submitted command stands: our record of its run, and what Ray says of the job."""
    from hpo_pipelines.executors.ray_jobs import Jobs

    id, run = _meant(reference)
    _say(_job_or_none(Jobs(address), id, run), id, run, as_json=as_json)
    return 0


@submit.command()
@click.argument("reference", metavar="JOB|RUN")
@address_option
@click.option("-f", "--follow", is_flag=True, help="Go on until it is over.")
def logs(*, reference: str, address: str, follow: bool) -> int:
    """Print what a submitted command has printed."""
    from hpo_pipelines.executors.ray_jobs import Jobs

    id, run = _meant(reference)
    jobs = Jobs(address)
    if follow:
        return _followed(jobs, id, run)
    click.echo(jobs.logs(id), nl=False)
    return 0


@submit.command()
@click.argument("reference", metavar="JOB|RUN")
@address_option
@json_option
def stop(*, reference: str, address: str, as_json: bool) -> int:
    """Stop a submitted command; its run is marked as aborted at once."""
    from hpo_pipelines.executors.ray_jobs import Jobs

    id, run = _meant(reference)
    if run is not None and not run.status.finished:
        run.abort()
    jobs = Jobs(address)
    job = _job_or_none(jobs, id, run)
    if job is not None and not job.is_over:
        job = jobs.stop(id)
    _say(job, id, run, as_json=as_json)
    return 0


# -- what is submitted


def _draft(target: str, params: tuple[str, ...], executor: str | None) -> Run:
    """The run to be started there, recorded here: what is wrong with it is said before it is submitted."""
    from hpo_pipelines.cli.targets import pipeline_called

    if "#" in target:
        draft = workspace().run_called(target)
        if draft.status != "draft" or params or executor:
            raise click.UsageError(
                f"{target}: only a draft is submitted, as it is; `-- resume {target}` goes on with a run."
            )
        return draft
    pipeline = pipeline_called(target)
    return workspace().draft(pipeline, typed(pipeline, params), executor=executor, tags=("submitted",))


def _order(
    settings: Settings,
    run: Run | None,
    target: tuple[str, ...],
    *,
    folder: str,
    queue: str,
    variables: Mapping[str, str],
) -> Order:
    from hpo_pipelines.cli.app import COMMANDS
    from hpo_pipelines.executors.ray_jobs import Order
    from hpo_pipelines.parameters.shapes import closest
    from hpo_pipelines.types import new_id

    if run is None and target[0] not in COMMANDS:
        raise click.UsageError(f"there is no command {target[0]!r}; {closest(target[0], list(COMMANDS))}")
    place = Path(folder).absolute()
    if not place.is_dir():
        raise click.UsageError(f"--working-dir {folder!r}: there is no such folder.")
    arguments = ["run", f"{run.task.project}/{run.label}", "--plain"] if run is not None else list(target)
    excluded = [str(settings.home.relative_to(place))] if settings.home.is_relative_to(place) else []
    return Order(
        id=f"{PREFIX}{run.id if run is not None else new_id()}",
        arguments=arguments,
        queue=settings.queue(queue),
        folder=place,
        excluded=excluded,
        variables={**_variables(settings), **variables},
        metadata={"hpo": " ".join(arguments), **({"task": run.id} if run is not None else {})},
    )


def _variables(settings: Settings) -> dict[str, str]:
    """What makes the command use this workspace's store, artifacts and queues there."""
    import json
    from dataclasses import asdict

    queues = {
        name: {key: value for key, value in asdict(each).items() if key != "name"}
        for name, each in settings.queues.items()
    }
    local = settings.tracking_uri.partition(":")[0] not in ("http", "https")
    return {
        "HPO_STORE": settings.store,
        "HPO_ARTIFACTS": settings.artifacts if ":" in settings.artifacts else str(Path(settings.artifacts).absolute()),
        "HPO_QUEUES": json.dumps(queues),
        # A mirror in a file of this machine is fed from here: it follows the store.
        "MLFLOW_TRACKING_URI": "" if local else settings.tracking_uri,
        # What it prints is read while it runs.
        "PYTHONUNBUFFERED": "1",
    }


def _check_reach(settings: Settings, address: str) -> None:
    """Raise ConfigError for a store that another machine cannot open."""
    from urllib.parse import urlsplit

    from hpo_pipelines.errors import ConfigError

    host = urlsplit(address).hostname  # none in what is no URL, which is refused later
    if settings.store.startswith("sqlite") and host not in (None, "127.0.0.1", "localhost", "::1"):
        raise ConfigError(
            "the store is a file of this machine, and the cluster is elsewhere: set HPO_STORE to a PostgreSQL "
            "(postgresql+psycopg://…) and HPO_ARTIFACTS to a bucket (s3://…) that both reach."
        )


# -- what is said of it


def _meant(reference: str) -> tuple[str, Run | None]:
    """The job's id, and our run if it is one of those."""
    from hpo_pipelines.errors import TaskNotFound

    try:
        run = workspace().run_called(reference.removeprefix(PREFIX))
    except TaskNotFound:
        if not reference.startswith(PREFIX):
            raise
        return reference, None  # another command than a run
    return f"{PREFIX}{run.id}", run


def _job_or_none(jobs: Jobs, id: str, run: Run | None) -> Job | None:
    """What Ray knows of the job; of a run of ours, nothing is an answer too."""
    from hpo_pipelines.errors import TaskNotFound

    try:
        return jobs.get(id)
    except TaskNotFound:
        if run is None:
            raise
        return None


def _report(jobs: Jobs, id: str, run: Run | None, *, follow: bool, as_json: bool) -> int:
    named = run.label if run is not None else id
    if as_json or not follow:
        _say(_job_or_none(jobs, id, run), id, run, as_json=as_json)
        return 0
    click.echo(f"{named} was submitted as {id}; Ctrl-C leaves it running", err=True)
    return _followed(jobs, id, run)


def _followed(jobs: Jobs, id: str, run: Run | None) -> int:
    """Show the job's console to its end; returns the exit code that says how the run, or else the job, ended."""
    from hpo_pipelines.cli.results import exit_code

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    try:
        job = jobs.follow(id, write)
    except KeyboardInterrupt:
        click.echo(f"\nit goes on; `hpo submit logs -f {id}` follows it, `hpo submit stop {id}` stops it", err=True)
        raise
    if run is None:
        click.echo(f"{id}: {job.status.lower()}", err=True)
        return 0 if job.status == "SUCCEEDED" else 1
    ended = run.refreshed()
    said = "" if ended.status.finished else f"; its job {job.status.lower()}: {job.message}"
    click.echo(f"{ended.label} is {ended.status}{said}", err=True)
    return exit_code(ended.task) if ended.status.finished else 1


def _say(job: Job | None, id: str, run: Run | None, *, as_json: bool) -> None:
    ray = job.status.lower() if job is not None else "unknown"
    task = run.refreshed().task if run is not None else None
    if as_json:
        described: dict[str, Any] = {"job": id, "ray": ray, "message": job.message if job is not None else ""}
        ours = (
            {}
            if task is None
            else {"id": task.id, "run": task.label, "status": str(task.status), "reason": task.reason}
        )
        return print_json({**described, **ours})
    if task is not None:
        click.echo(f"{task.label} is {task.status}{f': {task.reason}' if task.reason else ''}")
    message = f" ({job.message})" if job is not None and job.message else ""
    return click.echo(f"Ray job {id}: {ray}{message}")
