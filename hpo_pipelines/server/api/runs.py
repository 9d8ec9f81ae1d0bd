"""Pipelines and runs: lists and single ones."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from hpo_pipelines.description import described, described_step
from hpo_pipelines.server.graph import graph_of
from hpo_pipelines.server.listing import MOST, listed
from hpo_pipelines.server.listing import Query as RunQuery
from hpo_pipelines.server.plainjson import PlainJson
from hpo_pipelines.server.site import SiteOf

router = APIRouter(tags=["runs"])


@router.get("/pipelines", response_model=dict[str, Any])
def pipelines(site: SiteOf) -> PlainJson:
    """Every pipeline that has runs, the one with the latest run first."""
    found = site.workspace.store.overview.pipelines()
    return PlainJson({"items": [vars(each) for each in found]})


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
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
    cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> PlainJson:
    """Runs, a page at a time. Runs inside runs are left out."""
    found = listed(site, RunQuery(project, pipeline, status, study, tag, sort, limit, cursor))
    return PlainJson({"items": [row.record() for row in found.rows], "next": found.next})


@router.get("/runs/{run}", response_model=dict[str, Any])
def run(site: SiteOf, run: str) -> PlainJson:
    """One run, by its id or its name (``churn#48``, with ``%23`` for ``#``)."""
    return PlainJson(described(site.run(run)))


@router.get("/runs/{run}/steps", response_model=dict[str, Any])
def steps(site: SiteOf, run: str) -> PlainJson:
    """The steps of a run in the order of their calls."""
    return PlainJson({"items": [described_step(step) for step in site.run(run).steps.values()]})


@router.get("/runs/{run}/steps/{step}", response_model=dict[str, Any])
def step(site: SiteOf, run: str, step: str) -> PlainJson:
    """One step of a run."""
    return PlainJson(described_step(site.step(run, step)))


@router.get("/runs/{run}/graph", response_model=dict[str, Any])
def graph(site: SiteOf, run: str) -> PlainJson:
    """Steps and edges with their places; while the run goes on also the steps that are expected."""
    return PlainJson(graph_of(site.workspace.store, site.run(run)).record())


@router.get("/runs/{run}/edges", response_model=dict[str, Any])
def edges(site: SiteOf, run: str) -> PlainJson:
    """The edges between the steps of a run, by their ids."""
    return PlainJson({"items": [vars(edge) for edge in site.workspace.store.tasks.edges(site.run(run).id)]})
