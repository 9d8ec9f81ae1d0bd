"""Events: live as server-sent events, or a page at a time for whoever cannot hold a stream open."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query
from starlette.responses import Response, StreamingResponse

from hpo_pipelines.server.feed import Wanted, records_of
from hpo_pipelines.server.plainjson import LARGEST, PlainJson
from hpo_pipelines.server.site import SiteOf

router = APIRouter(tags=["events"])


@router.get("/events", response_model=dict[str, Any])
def events(
    site: SiteOf,
    *,
    after: Annotated[int | None, Query(ge=0, le=LARGEST, description="An event's id; without it, from now on.")] = None,
    run: Annotated[list[str], Query(description="Only these runs (ids), their steps with them.")] = [],  # noqa: B006
    study: Annotated[str | None, Query(description="Only the runs of this study (id).")] = None,
    others: Annotated[bool, Query(description="With `run`: also every other run as a whole.")] = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
    accept: Annotated[str, Header()] = "",
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """What happened after an event, oldest first.

    With ``Accept: text/event-stream`` a stream that goes on (messages ``changes``, each a list), resumed exactly by
    ``Last-Event-ID``; otherwise what there is now, and ``next`` to go on from.
    """
    wanted = Wanted(runs=run, study=study, others=others)
    if last_event_id is not None and last_event_id.isdecimal() and last_event_id.isascii():
        after = min(int(last_event_id[:19]), LARGEST)
    cursor = site.workspace.store.events.last() if after is None else after
    if "text/event-stream" in accept:
        if site.feed.full:
            raise HTTPException(503, "Too many pages listen already; close some, or poll.")
        headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
        return StreamingResponse(site.feed.stream(cursor, wanted), media_type="text/event-stream", headers=headers)
    found = site.workspace.store.events.after(cursor, limit)
    return PlainJson(
        {
            "items": records_of(site.workspace.store, found, wanted),
            "next": found[-1].id if found else cursor,
            "more": len(found) == limit,
        }
    )
