"""ETags: an answer that the asker has already is not sent again, and a change made on an old view is refused.

RFC 9110, 8.8.3 and 13. The tag is that of the whole description, so whatever changes in it changes the tag.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from blake3 import blake3
from fastapi import Header
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hpo_pipelines.server.plainjson import to_bytes

IfMatch = Annotated[
    str | None, Header(description="Change it only if it still has this `ETag`; else 412 is the answer.")
]
IfNoneMatch = Annotated[str | None, Header(description="The `ETag` of what one has; 304 when it is still that.")]
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "What has this `ETag` is still so."}}
"""For the schema."""


def tag_of(content: Mapping[str, Any]) -> str:
    """The strong ETag of ``content`` as JSON."""
    return _tag(to_bytes(content))


def tagged(content: Mapping[str, Any], if_none_match: str | None) -> Response:
    """``content`` with its ETag, or 304 for who has it."""
    body = to_bytes(content)
    tag = _tag(body)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if if_none_match is not None and _is_among(tag, if_none_match, weak=True):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def demand(content: Mapping[str, Any], if_match: str | None) -> None:
    """Raise 412 when ``If-Match`` was sent and names another version than ``content``."""
    if if_match is not None and not _is_among(tag_of(content), if_match, weak=False):
        raise HTTPException(
            412,
            f"If-Match: {if_match}: it has changed since, and is now {tag_of(content)}. Read it again, then decide.",
        )


def _tag(body: bytes) -> str:
    return f'"{blake3(body).hexdigest(length=12)}"'


def _is_among(tag: str, listed: str, *, weak: bool) -> bool:
    found = [each.strip() for each in listed.split(",")]
    # Whoever packs an answer on its way may make its tag a weak one, which names the same for reading only.
    return "*" in found or tag in found or (weak and f"W/{tag}" in found)
