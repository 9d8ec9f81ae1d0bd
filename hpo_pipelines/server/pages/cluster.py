"""Queues, agents, and what is under way."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from hpo_pipelines.description import described_queues
from hpo_pipelines.errors import TaskNotFound
from hpo_pipelines.server.api.queues import changed, waiting_in
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.server.templating import onward, rendered
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.types import Kind, Status
from hpo_pipelines.waiting import agents

router = APIRouter()

_MOST = 100


@router.get("/cluster")
def page(request: Request, site: SiteOf) -> Response:
    """Every queue with what waits in it and why; who listens; the steps under way."""
    queues = described_queues(site.workspace.store, site.workspace.settings)
    lines = {row["queue"]: waiting_in(site, row["queue"])[:_MOST] if row["waiting"] else [] for row in queues}
    return rendered(
        request,
        "cluster.html",
        queues=queues,
        lines=lines,
        agents=agents(site.workspace.store),
        busy=_busy(site),
    )


@router.post("/queues/{queue}/do/{action}")
def act(request: Request, site: SiteOf, queue: str, action: str) -> Response:
    """Pause a queue, or open it."""
    if action not in ("pause", "resume"):
        raise TaskNotFound(f"there is nothing called {action!r} to be done with a queue: pause, resume.")
    changed(site, queue, paused=action == "pause")
    return onward(request, "/cluster")


def _busy(site: Site) -> list[dict[str, Any]]:
    """The steps under way, and those that wait, with their runs."""
    tasks = site.workspace.store.tasks
    wanted = TaskFilter(kind=Kind.STEP, status=[Status.RUNNING, Status.QUEUED])
    steps = tasks.list(wanted, limit=_MOST)
    runs = tasks.get_all([step.parent for step in steps if step.parent])
    alive = [step for step in steps if step.parent in runs and not runs[step.parent].status.finished]
    return [{"step": step, "run": runs[str(step.parent)]} for step in alive]
