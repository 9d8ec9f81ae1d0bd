"""Who may ask: requests from this machine's browser and tools, none from another site's page.

The server starts code, so it listens on loopback only; these checks keep other web pages away from it. ``Host`` names
are checked against DNS rebinding, and whatever changes something has to come from our own origin
(https://web.dev/articles/fetch-metadata).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from hpo_pipelines.server.problems import problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

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


class Guard:
    """Refuses what does not come from here, and gives every answer its headers; those of ``free`` paths keep theirs."""

    def __init__(self, app: Application, *, hosts: Collection[str] = HOSTS, free: str = "/mlflow/") -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._free = free

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = refused(scope["method"], Headers(scope=scope), self._hosts)
        if refusal is not None:
            await problem(403, "Forbidden", refusal)(scope, receive, send)
            return
        if scope["path"].startswith(self._free):
            await self._app(scope, receive, send)
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", PAGES_POLICY)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "same-origin")
                headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, guarded)


def refused(method: str, headers: Headers, hosts: Collection[str]) -> str | None:
    """Why a request is refused, None for one that is welcome."""
    host = headers.get("host", "")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if name not in hosts:
        return f"Host {host!r} is not one of {', '.join(sorted(hosts))}; open the address that `hpo up` printed."
    if method in _SAFE:
        return None
    site = headers.get("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none"):
        return f"A page of another site ({site}) may not change anything here."
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return f"A page of {origin} may not change anything here."
    return None
