"""Runs of code that a client brings: its snapshot, unless it is known here, and a draft of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field

from hpo_pipelines.description import described
from hpo_pipelines.errors import CodeUnavailable, ParameterError
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.run import Run
from hpo_pipelines.server.plainjson import PlainJson
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.snapshot import Content, identity
from hpo_pipelines.task import Snapshot, Task
from hpo_pipelines.types import Kind, new_id

router = APIRouter(tags=["submission"])

MOST_BYTES = 256 * 1024 * 1024
"""Of one snapshot."""


class DraftRequest(BaseModel):
    """A run of recorded code."""

    model_config = ConfigDict(extra="forbid")

    snapshot: str = Field(description="The digest of code that is recorded here.")
    params: dict[str, Any] = Field(default={}, description="Encoded as in a run's `params`; the others are defaults.")
    executor: str | None = Field(default=None, pattern="^(inline|local|ray)$")
    tags: list[str] = []
    git: dict[str, Any] | None = Field(default=None, description="Of the working folder: commit, branch, dirty, diff.")


@router.post("/snapshots", status_code=201, response_model=dict[str, Any])
def send_code(site: SiteOf, content: Annotated[bytes, Body(media_type="application/octet-stream")]) -> PlainJson:
    """Record code, as the Python API packs it. It is run when somebody submits a run of it: role `author`."""
    if len(content) > MOST_BYTES:
        raise ParameterError(
            f"the code has {len(content)} bytes, and {MOST_BYTES} are the most; keep data in files, not in modules."
        )
    found = _checked(content)
    store, place = site.workspace.store, site.workspace.artifacts
    store.snapshots.add(
        Snapshot(found.digest, found.entry, place.put_bytes(content), found.python, dict(found.packages))
    )
    return PlainJson({"digest": found.digest, "entry": found.entry}, status_code=201)


@router.post("/runs", status_code=201, response_model=dict[str, Any])
def draft(site: SiteOf, wanted: Annotated[DraftRequest, Body()]) -> PlainJson:
    """A draft of code that is recorded here. 409 for code that is not."""
    return PlainJson(described(drafted(site, wanted), steps=False), status_code=201)


def drafted(site: Site, wanted: DraftRequest) -> Run:
    """The draft that ``wanted`` describes. Raises CodeUnavailable, ParameterError, ConfigError."""
    workspace = site.workspace
    pipeline = entry_of(site, wanted.snapshot)
    params = pipeline.parameters.decode(wanted.params)
    task = workspace.record_of(pipeline, params, executor=wanted.executor, tags=wanted.tags, snapshot=wanted.snapshot)
    return Run(workspace, workspace.store.tasks.create(replace(task, git=wanted.git)))


def entry_of(site: Site, snapshot: str) -> Pipeline[..., Any]:
    """The pipeline of the code with the digest ``snapshot``. Raises CodeUnavailable."""
    if site.workspace.store.snapshots.get(snapshot) is None:
        raise CodeUnavailable(f"no code with the digest {snapshot!r} is recorded here; send it to /snapshots.")
    pipeline, _ = site.workspace.code(Task(new_id(), Kind.PIPELINE, snapshot, "", snapshot=snapshot))
    return pipeline


def _checked(content: bytes) -> Content:
    """What the bytes hold. Raises ParameterError for what is no snapshot, or not of the sources that it names."""
    try:
        found = Content.decode(content)
        # Of code that travels by value only the place that packed it can tell the digest.
        if found.payload is not None or found.digest == identity(found.entry, found.modules, ""):
            return found
    except (CodeUnavailable, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ParameterError(f"these {len(content)} bytes are no code snapshot: {error}") from None
    raise ParameterError(f"the code is not that of its digest {found.digest[:12]}…; pack it anew.")
