"""MLflow's own pages below ``/mlflow/``: it runs in a process of its own, and this passes requests on to it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import httpx2
from fastapi import APIRouter, Request
from starlette.background import BackgroundTask
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from hpo_pipelines.errors import TrackingError
from hpo_pipelines.server.access import COOKIE
from hpo_pipelines.server.security import FILE_POLICY
from hpo_pipelines.tracking import MlflowServer

PATH = "/mlflow"
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
# Of one connection only, not of the message: RFC 9110, 7.6.1.
_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_OURS = {"host", "origin", "authorization", "cookie"}
_INDEX = ("cache-control", "x-frame-options", "x-content-type-options")
_FILES = re.compile(r"(?:^|/)(?:get-artifact|get-trace-artifact|mlflow-artifacts/artifacts/)")
"""What users' code has written comes from here, on our own origin."""
_SCRIPT = '<script src="/static/mlflow.js"></script>'
_MODE = "workflowType=machine_learning"
"""MLflow's pages open in a mode for language models, which hides runs, unless the address says otherwise."""


class MlflowProxy:
    """Passes what comes below ``/mlflow`` on to ``server``."""

    def __init__(self, server: MlflowServer) -> None:
        self._server = server
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(120.0, connect=10.0), follow_redirects=False, trust_env=False
        )
        self.router = APIRouter(include_in_schema=False)
        self.router.add_api_route(PATH, self.home)
        self.router.add_api_route("/mlflow-run/{run}", self.run)
        self.router.add_api_route(f"{PATH}/", self.index)
        self.router.add_api_route(f"{PATH}/{{path:path}}", self.passed, methods=_METHODS)

    async def home(self) -> Response:
        """MLflow's first page, in the mode that shows runs."""
        return RedirectResponse(f"{PATH}/#/experiments?{_MODE}")

    async def index(self) -> Response:
        """MLflow's one page, with our script in front that lets it show runs, and its assistant closed."""
        answer = await self._asked(self._client.build_request("GET", f"{self._server.uri}/"))
        text = (await answer.aread()).decode("utf-8", "replace")
        await answer.aclose()
        kept = {name: value for name, value in answer.headers.items() if name.lower() in _INDEX}
        return HTMLResponse(text.replace("<head>", f"<head>{_SCRIPT}", 1), answer.status_code, kept)

    async def run(self, run: str) -> Response:
        """The page of one of MLflow's runs, whose experiment only MLflow knows."""
        page = await asyncio.to_thread(self._server.page, run)
        return RedirectResponse(f"{PATH}/{page.removeprefix(self._server.uri).lstrip('/')}")

    async def passed(self, request: Request, path: str) -> Response:
        """The answer of MLflow, as it comes."""
        base = self._server.uri
        url = httpx2.URL(f"{base}/{path}").copy_with(query=request.url.query.encode() or None)
        upstream = self._client.build_request(request.method, url, headers=_passed_on(request), content=_body(request))
        answer = await self._asked(upstream)
        kept = [(n, v) for n, v in answer.headers.raw if n.lower().decode() not in _HOP]
        response = StreamingResponse(answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose))
        response.raw_headers = [(name.lower(), _relocated(name, value, base)) for name, value in kept]
        if _FILES.search(path):
            response.headers["Content-Security-Policy"] = FILE_POLICY
        return response

    async def _asked(self, request: httpx2.Request) -> httpx2.Response:
        """The answer, its body not yet read. Raises TrackingError when there is none."""
        try:
            return await self._client.send(request, stream=True)
        except httpx2.HTTPError as error:
            problem = self._server.problem() or f"{type(error).__name__}: {error}"
            raise TrackingError(f"MLflow does not answer: {problem}. It may still be starting; try again.") from error

    async def close(self) -> None:
        await self._client.aclose()


def _passed_on(request: Request) -> list[tuple[bytes, bytes]]:
    """The headers for MLflow: not who asks, which is between them and us."""
    headers = [(name, value) for name, value in request.headers.raw if name.decode() not in _HOP | _OURS]
    cookies = [f"{name}={value}" for name, value in request.cookies.items() if name != COOKIE]
    return headers + ([(b"cookie", "; ".join(cookies).encode("latin-1", "replace"))] if cookies else [])


def _relocated(name: bytes, value: bytes, base: str) -> bytes:
    """A ``Location`` that leads to MLflow's own address or root, as ours."""
    if name.lower() != b"location":
        return value
    place = value.decode("latin-1").removeprefix(base)
    return f"{PATH}{place}".encode("latin-1") if place.startswith("/") else value


async def _body(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        yield chunk
