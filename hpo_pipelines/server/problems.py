"""Errors as HTTP: one shape (RFC 9457), and the status that the one table of :mod:`hpo_pipelines.errors` names."""

from __future__ import annotations

import http
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hpo_pipelines.errors import HpoPipelinesError, outcome_of
from hpo_pipelines.server.plainjson import to_bytes
from search_spaces.errors import SpaceError

log = logging.getLogger(__name__)


class Problem(BaseModel):
    """What every refused request is answered with."""

    type: str = Field(description="The class of the error.", examples=["TaskNotFound"])
    title: str = Field(description="The words of the HTTP status.", examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="The rule, the value that broke it, and the cure.")
    fields: dict[str, str] = Field(default={}, description="What is wrong with single parameters, by name.")


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    code: {
        "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
        "description": http.HTTPStatus(code).phrase,
    }
    for code in (400, 401, 403, 404, 409, 410, 412, 422, 503)
}


def problem(status: int, kind: str, detail: str, **fields: str) -> Response:
    """The answer that refuses a request."""
    content: dict[str, Any] = {
        "type": kind,
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "fields": fields,
    }
    return Response(to_bytes(content), status, media_type="application/problem+json")


def status_of(error: BaseException) -> int:
    """The HTTP status of an error."""
    return error.status_code if isinstance(error, HTTPException) else outcome_of(error).http_status


def answer(error: Exception) -> Response:
    """The JSON answer for an error."""
    if isinstance(error, HTTPException):
        refusal = problem(error.status_code, "HTTPException", str(error.detail))
        refusal.headers.update(error.headers or {})  # Allow, of a method that there is not
        return refusal
    if isinstance(error, RequestValidationError):
        parts = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        return problem(422, "ParameterError", "; ".join(parts))
    if isinstance(error, HpoPipelinesError | SpaceError):
        return problem(status_of(error), type(error).__name__, str(error))
    log.error("a request failed", exc_info=error)
    return problem(500, type(error).__name__, "The server failed; its log has the traceback. Please report it.")


def for_a_person(request: Request) -> bool:
    """Whether the answer is looked at: a page that was opened, or a form of one that was sent."""
    if request.headers.get("hx-request") == "true":
        return False  # our scripts say what was refused in the page that asked
    looks = request.method == "GET" or "text/html" in request.headers.get("accept", "")
    return looks and not request.url.path.startswith("/api/")


def install(app: FastAPI, page: Any) -> None:
    """Let ``app`` answer errors: a person with ``page(request, status, detail)``, others with JSON."""

    async def handle(request: Request, error: Exception) -> Response:
        found = answer(error)
        if not for_a_person(request):
            return found
        detail = str(error.detail if isinstance(error, HTTPException) else error)
        if found.status_code == 500:
            detail = "The server failed; its log has the traceback."
        return page(request, found.status_code, detail)  # type: ignore[no-any-return]

    for kind in (HpoPipelinesError, SpaceError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, handle)
