"""The application: REST, pages, static files and MLflow's pages, behind one guard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.server import api, pages, problems
from hpo_pipelines.server.access import Access
from hpo_pipelines.server.agent import Driving, start_agent
from hpo_pipelines.server.feed import Feed
from hpo_pipelines.server.proxy import MlflowProxy
from hpo_pipelines.server.security import HOSTS, Guard
from hpo_pipelines.server.site import Site
from hpo_pipelines.tracking import MlflowServer
from hpo_pipelines.workspace import Workspace

STATIC = Path(__file__).parent / "static"
_VENDOR = ("htmx.min.js", "echarts.js", "inter.woff2", "jetbrains-mono.woff2")


def create_app(
    workspace: Workspace,
    *,
    mlflow: MlflowServer | None = None,
    agent: Driving | None = None,
    access: Access | None = None,
    hosts: Collection[str] = HOSTS,
) -> FastAPI:
    """The application for ``workspace``, which stays the caller's to close.

    ``access`` says who is known; without it everybody who gets through is the one who started it, so it is for this
    machine only. ``hosts`` are the names, without ports, under which it answers.

    Raises ConfigError when files of the pages are missing.
    """
    missing = [name for name in _VENDOR if not (STATIC / "vendor" / name).is_file()]
    if missing:
        raise ConfigError(
            f"the pages lack {', '.join(missing)}: this copy was installed without its build hook. "
            "In a checkout run `python hatch_build.py`; else install a released wheel."
        )
    access = access or Access()
    driving = agent or start_agent(workspace)
    site = Site(workspace, driving, Feed(workspace.store), has_mlflow=mlflow is not None, access=access)
    proxy = None if mlflow is None else MlflowProxy(mlflow)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        site.close()
        if proxy is not None:
            await proxy.close()

    app = FastAPI(
        title="hpo_pipelines",
        summary="Pipelines, runs, steps, studies and artifacts of one workspace.",
        version="1",
        lifespan=lifespan,
        openapi_url=f"{api.PREFIX}/openapi.json",
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    app.state.site = site
    app.include_router(api.router)
    app.include_router(pages.router)
    if proxy is not None:
        app.include_router(proxy.router)
    app.mount("/static", _Static(directory=STATIC), name="static")
    problems.install(app, pages.error_page)
    # A page takes half the time of level 5, and is 7 % larger.
    app.add_middleware(GZipMiddleware, minimum_size=2048, compresslevel=3)
    app.add_middleware(Guard, page=pages.error_page, access=access, hosts=hosts)
    return app


class _Static(StaticFiles):
    """Files of a release: their address changes with it (``?v=``), so a browser may keep them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000" if scope["query_string"] else "no-cache"
        return response
