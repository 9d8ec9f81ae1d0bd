"""Logging in with a token, and out again."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from hpo_pipelines.server.access import COOKIE
from hpo_pipelines.server.plainjson import PlainJson
from hpo_pipelines.server.security import peer_of
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.server.templating import rendered

router = APIRouter()

_DAYS = 30
_MOST_BYTES = 4096


@router.get("/login")
def page(request: Request, site: SiteOf, next: str = "/") -> Response:
    """Where a browser shows its token."""
    if request.scope["hpo.who"] is not None:
        return RedirectResponse(inside(next), 303)
    return rendered(request, "login.html", next=inside(next), wrong="", has_tokens=site.access.tokens is not None)


@router.get("/login/known")
def known(request: Request) -> Response:
    """Whether the browser is logged in: it does not send the cookie when a link of another site leads here."""
    return PlainJson({"known": request.scope["hpo.who"] is not None})


@router.post("/login")
async def login(request: Request, site: SiteOf) -> Response:
    """Keep a token that is good in a cookie that no script can read and no other site's page makes the browser send."""
    form = await _form(request)
    token, place = form.get("token", "").strip(), inside(form.get("next", "/"))
    found = None if site.access.tokens is None else await run_in_threadpool(site.access.tokens.find, token)
    if found is None:
        wrong = "This token is none that is known here, or it was revoked. `hpo token ls` lists those that are."
        return rendered(
            request, "login.html", status=401, next=place, wrong=wrong, has_tokens=site.access.tokens is not None
        )
    answer = RedirectResponse(place, 303)
    _set_cookie(request, site, answer, token)
    return answer


@router.post("/logout")
def logout(request: Request, site: SiteOf) -> Response:
    """Forget the token in this browser; it stays good elsewhere until it is revoked."""
    answer = RedirectResponse("/login", 303)
    _set_cookie(request, site, answer, None)
    return answer


def inside(place: str) -> str:
    """``place`` if it is an address of ours, else the first page: nobody is led elsewhere by a link to log in."""
    is_ours = place.startswith("/") and not place.startswith(("//", "/\\")) and place.isprintable()
    return place if is_ours and "\\" not in place else "/"


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:  # it comes from somebody who is not known yet
            raise HTTPException(413, f"A form to log in has at most {_MOST_BYTES} bytes.")
    return {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def _set_cookie(request: Request, site: Site, answer: Response, token: str | None) -> None:
    answer.set_cookie(
        COOKIE,
        token or "",
        max_age=_DAYS * 86_400 if token else 0,
        httponly=True,
        samesite="strict",
        secure=site.access.is_encrypted(request.headers, peer_of(request.scope), request.url.scheme),
    )
