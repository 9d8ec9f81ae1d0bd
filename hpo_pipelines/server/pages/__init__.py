"""The pages: rendered on the server, their parts swapped by htmx, the address their whole state."""

from __future__ import annotations

import http

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from hpo_pipelines.server.pages import cluster, compare, enqueue, login, newrun, newstudy, pipelines, run, search, study
from hpo_pipelines.server.templating import rendered

router = APIRouter(include_in_schema=False)


@router.get("/")
def home() -> Response:
    """The list of pipelines is the first page."""
    return RedirectResponse("/pipelines")


for part in (login, pipelines, newrun, newstudy, enqueue, run, study, compare, cluster, search):
    router.include_router(part.router)


def error_page(request: Request, status: int, detail: str) -> Response:
    """What a person sees who asked for what there is not."""
    title = http.HTTPStatus(status).phrase
    return rendered(request, "error.html", status=status, code=status, title=title, detail=detail)
