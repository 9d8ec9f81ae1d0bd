"""Queues, what waits in them, and the agents that listen."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field

from hpo_pipelines.description import described_queues
from hpo_pipelines.errors import ConfigError, TaskNotFound
from hpo_pipelines.server.nodes import described
from hpo_pipelines.server.plainjson import PlainJson
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.waiting import agents as listening

router = APIRouter(tags=["queues"])


class QueueChange(BaseModel):
    """What is left out stays."""

    model_config = ConfigDict(extra="forbid", strict=True)

    paused: bool | None = Field(default=None, description="Whether agents get no more runs of it.")
    capacity: int | None = Field(
        default=None, ge=0, le=2**31 - 1, description="At most so many under way; 0: no limit."
    )


@router.get("/queues", response_model=dict[str, Any])
def queues(site: SiteOf) -> PlainJson:
    """Every queue: what waits, what is under way, who listens, what serves its steps."""
    return PlainJson({"items": described_queues(site.workspace.store, site.workspace.settings)})


@router.get("/queues/{queue}", response_model=dict[str, Any])
def queue(site: SiteOf, queue: str) -> PlainJson:
    """What waits in one queue, next first, and why."""
    declared(site, queue)
    return PlainJson({"queue": queue, "items": waiting_in(site, queue)})


@router.patch("/queues/{queue}", response_model=dict[str, Any])
def change(site: SiteOf, queue: str, wanted: Annotated[QueueChange, Body()]) -> PlainJson:
    """Pause a queue, open it, or limit how many of its runs are under way."""
    changed(site, queue, paused=wanted.paused, capacity=wanted.capacity)
    return queues(site)


@router.get("/agents", response_model=dict[str, Any])
def agents(site: SiteOf) -> PlainJson:
    """The agents that live: the queues they listen to, how many runs each drives, and how many it may."""
    found = listening(site.workspace.store)
    return PlainJson(
        {
            "items": [
                {"name": one.name, "queues": list(one.queues), "runs": one.runs, "max_runs": one.max_runs}
                for one in found
            ]
        }
    )


@router.get("/nodes", response_model=dict[str, Any])
def nodes(site: SiteOf) -> PlainJson:
    """The nodes where steps run, as whoever drives runs sees them: what is in use of each resource (memory in bytes),
    and by what; with the address of Ray's own pages, where a cluster has some."""
    return PlainJson({"items": described(site)})


def declared(site: Site, queue: str) -> None:
    """Raise TaskNotFound for a queue that there is not: the address of one is wrong, not a setting."""
    try:
        site.workspace.settings.queue(queue)
    except ConfigError as error:
        raise TaskNotFound(str(error)) from error


def waiting_in(site: Site, queue: str) -> list[dict[str, Any]]:
    """The runs that wait in ``queue``, next first."""
    line = site.workspace.store.queues.line(queue)
    found = []
    for entry in line:
        run = site.workspace.run_called(entry.task)
        found.append(
            {"run": run.label, "id": run.id, "priority": entry.priority, "since": entry.at, "reason": run.reason}
        )
    return found


def changed(site: Site, queue: str, *, paused: bool | None = None, capacity: int | None = None) -> None:
    """Set what is given of ``queue``. Raises TaskNotFound for one that is not declared."""
    declared(site, queue)
    store = site.workspace.store
    with store.transaction():
        if paused is not None:
            store.queues.pause(queue, paused)
        if capacity is not None:
            store.queues.limit(queue, capacity or None)
