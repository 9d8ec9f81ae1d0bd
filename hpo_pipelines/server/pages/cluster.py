"""Queues, agents, nodes, and the steps that run there or wait."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from hpo_pipelines.description import described_queues
from hpo_pipelines.errors import TaskNotFound
from hpo_pipelines.server import nodes
from hpo_pipelines.server.api.queues import changed, waiting_in
from hpo_pipelines.server.site import SiteOf
from hpo_pipelines.server.templating import onward, rendered
from hpo_pipelines.waiting import agents

router = APIRouter()

_MOST = 100
"""So many runs of each queue are shown."""


@router.get("/cluster")
def page(request: Request, site: SiteOf) -> Response:
    """Queues with what waits in them and why; who listens; what uses the nodes; the steps, and why some wait."""
    queues = described_queues(site.workspace.store, site.workspace.settings)
    lines = {row["queue"]: waiting_in(site, row["queue"])[:_MOST] if row["waiting"] else [] for row in queues}
    pictured = nodes.pictured(site)
    return rendered(
        request,
        "cluster.html",
        queues=queues,
        lines=lines,
        agents=agents(site.workspace.store),
        nodes=pictured,
        dashboards=nodes.dashboards(pictured),
        busy=nodes.under_way(site),
        waiting=nodes.waiting(site, pictured),
    )


@router.post("/queues/{queue}/do/{action}")
def act(request: Request, site: SiteOf, queue: str, action: str) -> Response:
    """Pause a queue, or open it."""
    if action not in ("pause", "resume"):
        raise TaskNotFound(f"there is nothing called {action!r} to be done with a queue: pause, resume.")
    changed(site, queue, paused=action == "pause")
    return onward(request, "/cluster")
