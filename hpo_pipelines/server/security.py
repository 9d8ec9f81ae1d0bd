"""Who may ask what: the names we answer to, no other site's pages, and the role that a route asks for.

``Host`` names are checked against DNS rebinding, and whatever changes something has to come from our own origin
(https://web.dev/articles/fetch-metadata). Who somebody is says :mod:`hpo_pipelines.server.access`, what a route asks
for :mod:`hpo_pipelines.server.roles`; a route that is not there is answered by nobody.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hpo_pipelines.server.access import Access, Who
from hpo_pipelines.server.problems import for_a_person, problem
from hpo_pipelines.server.roles import DUTIES, Policy, Role

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
ErrorPage = Callable[[Request, int, str], Response]

HOSTS = ("127.0.0.1", "localhost", "[::1]")
PAGES_POLICY = "; ".join(
    [
        "default-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
"""Nothing from elsewhere, nothing inline: a name, a log line or an artifact with markup in it stays text."""
FILE_POLICY = "default-src 'none'; sandbox"
"""For what users' code has written: shown, if at all, without scripts and without our origin."""

_SAFE = ("GET", "HEAD", "OPTIONS")
_FREE = "/mlflow/"
"""Below it the headers are MLflow's own."""


@dataclass(frozen=True)
class Door:
    """What a guard goes by: who is known, under which names we answer, and what a person sees who is refused."""

    access: Access
    hosts: frozenset[str]
    page: ErrorPage
    policy: Policy


class Guard:
    """Refuses whom it does not know and what they may not, and gives every answer its headers.

    Who asks stands in ``scope["hpo.who"]`` from here on.
    """

    def __init__(self, app: Application, *, page: ErrorPage, access: Access, hosts: Collection[str] = HOSTS) -> None:
        self._app = app
        self._door = Door(access, frozenset(hosts), page, Policy())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # no route takes anything else
            return
        scope["hpo.who"] = None
        refusal = self._refusal(scope)
        answering = send if scope["path"].startswith(_FREE) and refusal is None else _with_headers(send)
        if refusal is not None:
            await refusal(scope, receive, answering)
        else:
            await self._app(scope, receive, _Stream(self._door.access, scope, answering))

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to whoever may not ask this; None for who may, who is then known."""
        headers, door = Headers(scope=scope), self._door
        reason = refused(scope["method"], headers, door.hosts)
        if reason is not None:
            return problem(403, "Forbidden", reason)
        who = scope["hpo.who"] = door.access.who(headers, peer_of(scope))
        methods = door.policy.methods(scope["path"])
        wanted = methods.get(scope["method"], Role.VIEWER)
        if wanted is not None and who is None:
            return self._unknown(scope, headers)
        if scope["method"] not in methods:
            return self._nothing_there(scope, methods)
        if wanted is not None and who is not None and who.role < wanted:
            return self._too_little(scope, who, wanted)
        return None

    def _unknown(self, scope: Scope, headers: Headers) -> Response:
        if (
            scope["method"] == "GET"
            and "text/html" in headers.get("accept", "")
            and headers.get("hx-request") != "true"
            and not scope["path"].startswith("/api/")
        ):
            query = scope["query_string"].decode("latin-1")
            place = quote(scope["path"], safe="/") + (f"?{query}" if query else "")
            return RedirectResponse(f"/login?next={quote(place, safe='')}", 303)
        sent = "the token is none that is known here, or was revoked" if "authorization" in headers else "no token came"
        answer = problem(
            401, "Unauthorized",
            f"This server answers only to those it knows, and {sent}. Send `Authorization: Bearer TOKEN`, or log in at "
            "/login; whoever started the server makes tokens with `hpo token create`.",
        )  # fmt: skip
        answer.headers["WWW-Authenticate"] = 'Bearer realm="hpo_pipelines"'
        return answer

    def _nothing_there(self, scope: Scope, methods: Collection[str]) -> Response:
        if not methods:
            return self._said(scope, 404, "There is nothing at this address.")
        answer = self._said(scope, 405, f"{scope['method']} is not for this address.")
        answer.headers["Allow"] = ", ".join(sorted(methods))
        return answer

    def _too_little(self, scope: Scope, who: Who, wanted: Role) -> Response:
        return self._said(scope, 403, too_little(who, wanted), "Forbidden")

    def _said(self, scope: Scope, status: int, detail: str, kind: str = HTTPException.__name__) -> Response:
        if for_a_person(Request(scope)) and not scope["path"].startswith(_FREE):
            return self._door.page(Request(scope), status, detail)
        return problem(status, kind, detail)


class _Stream:
    """Sends on, and ends a live stream whose reader has been shut out meanwhile."""

    def __init__(self, access: Access, scope: Scope, send: Send) -> None:
        self._access = access
        self._scope = scope
        self._send = send
        self._is_live = False
        self._ended = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if self._ended:
            return
        if message["type"] == "http.response.start":
            kind = Headers(raw=message["headers"]).get("content-type", "")
            self._is_live = kind.startswith("text/event-stream")
        elif self._is_live and not self._is_welcome():
            self._ended = True
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    def _is_welcome(self) -> bool:
        return self._access.who(Headers(scope=self._scope), peer_of(self._scope)) is not None


def too_little(who: Who, wanted: Role) -> str:
    """Why ``who`` may not what asks for ``wanted``, and the cure."""
    return (
        f"This asks for the role {wanted} (who {DUTIES[wanted]}), and {who.name!r} is a {who.role}. Ask whoever "
        f"started the server for a token of that role: `hpo token create --role {wanted} --name NAME`."
    )


def refused(method: str, headers: Headers, hosts: Collection[str]) -> str | None:
    """Why a request is refused, None for one that is welcome."""
    host = headers.get("host", "")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if name.lower() not in hosts:
        return (
            f"Host {host!r} is not one of {', '.join(sorted(hosts))}; open the address that `hpo up` printed, or start "
            "it with --allow-host and this name."
        )
    if method in _SAFE:
        return None
    site = headers.get("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none"):
        return f"A page of another site ({site}) may not change anything here."
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return f"A page of {origin} may not change anything here."
    return None


def saved_as(name: str) -> dict[str, str]:
    """The headers of a file to be saved: should a browser show it all the same, then without scripts or our origin."""
    safe = re.sub(r"[^\w.\-#]+", "_", name, flags=re.ASCII)  # headers are not Unicode
    return {"Content-Disposition": f'attachment; filename="{safe}"', "Content-Security-Policy": FILE_POLICY}


def peer_of(scope: Scope) -> str:
    """The address at the other end of the connection; empty where there is none."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _with_headers(send: Send) -> Send:
    async def guarded(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("Content-Security-Policy", PAGES_POLICY)
            headers.setdefault("X-Content-Type-Options", "nosniff")
            headers.setdefault("Referrer-Policy", "same-origin")
            headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return guarded
