"""What the command palette finds: pipelines, runs and studies by name."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from hpo_pipelines.errors import TaskNotFound
from hpo_pipelines.run import Run
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.server.templating import rendered

router = APIRouter()

_MOST = 12


@router.get("/search")
def search(request: Request, site: SiteOf, q: str = "") -> Response:
    """Links for what ``q`` may mean, the likeliest first."""
    return rendered(request, "search.html", q=q, found=_found(site, q.strip()))


def _found(site: Site, q: str) -> list[tuple[str, str, str, str]]:
    """(kind, name, what it is, address)"""
    words = q.lower()
    found: list[tuple[str, str, str, str]] = []
    if q:
        try:
            thing = site.workspace.get(q)
            run = thing if isinstance(thing, Run) else site.run(str(thing.task.parent))
            step = "" if isinstance(thing, Run) else f"?step={thing.name}"
            label = run.label if isinstance(thing, Run) else f"{run.label}/{thing.name}"
            found.append(("run", label, str(thing.status), f"/runs/{run.id}{step}"))
        except TaskNotFound:
            pass
    for each in site.workspace.store.overview.pipelines():
        if words in f"{each.project}/{each.pipeline}".lower():
            address = f"/pipelines/{each.project}/{each.pipeline}"
            found.append(("pipeline", each.pipeline, f"{each.project}, {each.runs} runs", address))
    for study in site.studies()[:200]:
        if words in study.name.lower():
            found.append(("study", study.name, f"of {study.pipeline}", f"/studies/{study.id}"))
    for run in site.workspace.runs(limit=60):
        if words in run.label.lower() and len(found) < _MOST and run.task.parent is None:
            found.append(("run", run.label, str(run.status), f"/runs/{run.id}"))
    unique = {address: (kind, name, what, address) for kind, name, what, address in reversed(found)}
    return list(reversed(unique.values()))[:_MOST]
