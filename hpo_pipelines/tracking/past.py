"""The runs of an MLflow experiment that something else has made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hpo_pipelines.errors import TrackingError
from hpo_pipelines.parameters.shapes import closest
from hpo_pipelines.task import PastRun
from hpo_pipelines.tracking.backend import sqlite_path
from hpo_pipelines.types import Status

_ENDED = {"FINISHED": Status.COMPLETED, "FAILED": Status.FAILED, "KILLED": Status.ABORTED}
_PAGE = 1000


def runs_of(uri: str, experiment: str, filter: str = "") -> Iterator[PastRun]:
    """The runs of ``experiment`` at the tracking server ``uri`` that have ended, oldest first, with their last metrics.

    ``filter`` is MLflow's own: ``metrics.auc > 0.5 and tags.stage = 'good'``. Runs that mirror ours are left out.
    Raises TrackingError when there is no such experiment, or the server does not answer.
    """
    file = sqlite_path(uri)
    if file is not None and not file.is_file():  # or MLflow would make one
        raise TrackingError(f"{uri}: there is no file {file}; give the URI of a tracking server, or of its database.")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            names = [each.name for each in client.search_experiments(max_results=_PAGE)]
            raise TrackingError(f"{uri} has no experiment {experiment!r}; {closest(experiment, names)}")
        token = None
        while True:
            page = client.search_runs(
                [found.experiment_id], filter, max_results=_PAGE, order_by=["start_time ASC"], page_token=token
            )
            yield from (_past(run) for run in page if run.info.status in _ENDED and not _is_ours(run))
            token = page.token
            if not token:
                return
    except MlflowException as error:
        raise TrackingError(f"{uri}: {error}") from error


def _is_ours(run: Any) -> bool:
    return any(key.startswith("hpo.") for key in run.data.tags)


def _past(run: Any) -> PastRun:
    info, started = run.info, (run.info.start_time or 0) / 1000
    return PastRun(
        source=f"mlflow:{info.run_id}",
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        status=_ENDED[info.status],
        started_at=started,
        finished_at=(info.end_time or info.start_time or 0) / 1000,
        notes=f"imported from MLflow's run {info.run_name}; it was made by other code than its own here",
    )
