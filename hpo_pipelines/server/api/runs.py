"""Pipelines and runs: lists and single ones."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from hpo_pipelines.description import described, described_step
from hpo_pipelines.server.api.fresh import described_pipeline
from hpo_pipelines.server.etags import UNCHANGED, IfNoneMatch, tagged
from hpo_pipelines.server.listing import MOST, listed
from hpo_pipelines.server.listing import Query as RunQuery
from hpo_pipelines.server.plainjson import PlainJson
from hpo_pipelines.server.runview import RunView
from hpo_pipelines.server.site import SiteOf

router = APIRouter(tags=["runs"])


Archived = Annotated[bool, Query(description="Those that are archived, instead of the others.")]


@router.get("/pipelines", response_model=dict[str, Any], responses=UNCHANGED)
def pipelines(site: SiteOf, *, archived: Archived = False, if_none_match: IfNoneMatch = None) -> Response:
    """Every pipeline that has runs, the one with the latest run first; `runs` counts those that are not archived."""
    found = site.workspace.store.overview.pipelines(archived=archived)
    return tagged({"items": [vars(each) for each in found]}, if_none_match)


@router.get("/pipelines/{project}/{pipeline}", response_model=dict[str, Any], responses=UNCHANGED)
def pipeline(site: SiteOf, project: str, pipeline: str, *, if_none_match: IfNoneMatch = None) -> Response:
    """One pipeline: how many runs it has, how many of those are archived, its latest run."""
    return tagged(described_pipeline(site, project, pipeline), if_none_match)


@router.get("/runs", response_model=dict[str, Any])
def runs(
    site: SiteOf,
    *,
    project: str | None = None,
    pipeline: str | None = None,
    status: Annotated[
        str | None, Query(description="One or several, with commas.", examples=["failed,aborted"])
    ] = None,
    study: Annotated[str | None, Query(description="Its name or id.")] = None,
    tag: str | None = None,
    sort: Annotated[
        str, Query(pattern="^-?(created|number|pipeline|seconds|status)$", description="`-` first: descending.")
    ] = "-created",
    archived: Archived = False,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
    cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> PlainJson:
    """Runs, a page at a time. Runs inside runs are left out."""
    found = listed(site, RunQuery(project, pipeline, status, study, tag, sort, limit, cursor, archived))
    return PlainJson({"items": [row.record() for row in found.rows], "next": found.next})


@router.get("/runs/{run}", response_model=dict[str, Any], responses=UNCHANGED)
def run(site: SiteOf, run: str, *, if_none_match: IfNoneMatch = None) -> Response:
    """One run, by its id or its name (``churn#48``, with ``%23`` for ``#``)."""
    return tagged(described(site.run(run)), if_none_match)


@router.get("/runs/{run}/steps", response_model=dict[str, Any], responses=UNCHANGED)
def steps(site: SiteOf, run: str, *, if_none_match: IfNoneMatch = None) -> Response:
    """The steps of a run in the order of their calls."""
    return tagged({"items": [described_step(step) for step in site.run(run).steps.values()]}, if_none_match)


@router.get("/runs/{run}/steps/{step}", response_model=dict[str, Any], responses=UNCHANGED)
def step(site: SiteOf, run: str, step: str, *, if_none_match: IfNoneMatch = None) -> Response:
    """One step of a run."""
    return tagged(described_step(site.step(run, step)), if_none_match)


@router.get("/runs/{run}/graph", response_model=dict[str, Any])
def graph(site: SiteOf, run: str) -> PlainJson:
    """Steps and edges with their places; while the run goes on also the steps that are expected."""
    return PlainJson(RunView(site, site.run(run)).graph.record())


@router.get("/runs/{run}/edges", response_model=dict[str, Any])
def edges(site: SiteOf, run: str) -> PlainJson:
    """The edges between the steps of a run, by their ids."""
    return PlainJson({"items": [vars(edge) for edge in site.workspace.store.tasks.edges(site.run(run).id)]})
