"""Who one is to the server."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from hpo_pipelines.server.access import Who
from hpo_pipelines.server.plainjson import PlainJson

router = APIRouter(tags=["access"])


@router.get("/me", response_model=dict[str, Any])
def me(request: Request) -> PlainJson:
    """The name and role of whoever asks; ``by`` is ``token``, ``cookie``, ``proxy`` or ``local`` (nobody is asked)."""
    who: Who = request.scope["hpo.who"]
    return PlainJson({"name": who.name, "role": str(who.role), "by": who.by})
