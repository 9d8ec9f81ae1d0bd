"""``If-Match`` of whatever changes a run, a study or a pipeline: 412 when it is not what the asker has seen."""

from __future__ import annotations

from typing import Any

from hpo_pipelines.description import described, described_accounting
from hpo_pipelines.errors import TaskNotFound
from hpo_pipelines.server.etags import IfMatch, demand
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.server.studies import accounting, finished, importances, summary
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.study import Study
from hpo_pipelines.types import Kind


def fresh_run(site: SiteOf, run: str, if_match: IfMatch = None) -> None:
    """Raise 412 when the run is no longer what ``GET /runs/{run}`` gave with this tag."""
    if if_match is not None:
        demand(described(site.run(run)), if_match)


def fresh_study(site: SiteOf, study: str, if_match: IfMatch = None) -> None:
    """Raise 412 when the study is no longer what ``GET /studies/{study}`` gave with this tag."""
    if if_match is not None:
        demand(described_study(site, site.study(study)), if_match)


def fresh_pipeline(site: SiteOf, project: str, pipeline: str, if_match: IfMatch = None) -> None:
    """Raise 412 when the pipeline is no longer what ``GET /pipelines/{project}/{pipeline}`` gave with this tag."""
    if if_match is not None:
        demand(described_pipeline(site, project, pipeline), if_match)


def described_study(site: Site, study: Study) -> dict[str, Any]:
    """A study as it stands: where its trials stand, its space, what it cost, which parameters mattered."""
    said = summary(site, study.task)
    version = finished(said["counts"])
    return {
        **said,
        "space": study.task.params["space"],
        "base": study.task.params["base"],
        "accounting": described_accounting(accounting(site, study, version, exact=True)),
        "importances": importances(site, study, version, exact=True),
    }


def described_pipeline(site: Site, project: str, pipeline: str) -> dict[str, Any]:
    """How many runs a pipeline has, how many of them are archived, and its latest run. Raises TaskNotFound for none."""
    store = site.workspace.store
    where = TaskFilter(kind=Kind.PIPELINE, project=project, pipeline=pipeline, top=True)
    latest = store.tasks.list(where, limit=1)
    if not latest:
        raise TaskNotFound(f"project {project} has no pipeline {pipeline!r} with runs; list them at /api/v1/pipelines.")
    runs = store.overview.count(where)
    hidden = store.overview.count(
        TaskFilter(kind=Kind.PIPELINE, project=project, pipeline=pipeline, top=True, archived=True)
    )
    return {"project": project, "pipeline": pipeline, "runs": runs, "archived": hidden, "latest": latest[0].id}
