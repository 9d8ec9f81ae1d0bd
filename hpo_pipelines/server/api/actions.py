"""What changes something: plan (which does not), clone, submit, rerun, resume, abort, annotate."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends
from pydantic import BaseModel, ConfigDict, Field

from hpo_pipelines.description import described
from hpo_pipelines.errors import IllegalTransition
from hpo_pipelines.planning import plan
from hpo_pipelines.run import Run
from hpo_pipelines.server.api.fresh import fresh_run
from hpo_pipelines.server.etags import IfMatch
from hpo_pipelines.server.plainjson import PlainJson
from hpo_pipelines.server.site import Site, SiteOf

router = APIRouter(tags=["actions"], dependencies=[Depends(fresh_run)])


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Changes(_Strict):
    """Parameters over a run's own."""

    params: dict[str, Any] = Field(default={}, description="Encoded as in a run's `params`.", examples=[{"lr": 0.03}])


class CloneRequest(Changes):
    executor: str | None = Field(default=None, pattern="^(inline|local|ray)$")
    submit: bool = Field(default=False, description="Queue it at once, instead of leaving a draft.")
    queue: str | None = Field(default=None, description="Which queue; by default that of runs that name none.")


class RerunRequest(_Strict):
    failed: bool = Field(default=False, description="Keep every completed step, also of components whose reuse is off.")
    from_step: str | None = Field(default=None, description="Run this step and what uses it anew.")
    refresh: bool | list[str] = Field(default=False, description="Run everything, or the named steps, anew.")


class ResumeRequest(_Strict):
    from_step: str | None = Field(default=None, description="Run this step and every later call anew.")


class Annotation(_Strict):
    tags: list[str] | None = None
    notes: str | None = None


@router.post("/runs/{run}/plan", response_model=dict[str, Any])
def planned(site: SiteOf, run: str, wanted: Annotated[Changes | None, Body()] = None) -> PlainJson:
    """What a clone would reuse and what it would run. Follows the body without running a step; records nothing."""
    base = site.run(run)
    return PlainJson(plan(site.workspace, base, decoded(site, base, wanted.params if wanted else {})).record())


@router.post("/runs/{run}/clone", status_code=201, response_model=dict[str, Any])
def clone(site: SiteOf, run: str, wanted: Annotated[CloneRequest | None, Body()] = None) -> PlainJson:
    """A draft of the same code with other parameters; with ``submit`` it is queued."""
    wanted = wanted or CloneRequest()
    base = site.run(run)
    made = site.workspace.clone(base.id, decoded(site, base, wanted.params), executor=wanted.executor)
    if wanted.submit:
        made = site.agent.submit(made, queue=wanted.queue)
    return PlainJson(described(made, steps=False), status_code=201)


@router.post("/runs/{run}/submit", status_code=202, response_model=dict[str, Any])
def submit(site: SiteOf, run: str) -> PlainJson:
    """Queue a draft. 409 for what is no draft."""
    return PlainJson(described(site.agent.submit(site.run(run)), steps=False), status_code=202)


@router.post("/runs/{run}/rerun", status_code=201, response_model=dict[str, Any])
def rerun(site: SiteOf, run: str, wanted: Annotated[RerunRequest | None, Body()] = None) -> PlainJson:
    """A new run of the same code and parameters, queued."""
    return PlainJson(described(reran(site, site.run(run), wanted or RerunRequest()), steps=False), status_code=201)


@router.post("/runs/{run}/resume", status_code=202, response_model=dict[str, Any])
def resume(site: SiteOf, run: str, wanted: Annotated[ResumeRequest | None, Body()] = None) -> PlainJson:
    """Drive a failed, aborted or abandoned run on, from what it has done."""
    return PlainJson(
        described(resumed(site, site.run(run), wanted.from_step if wanted else None), steps=False), status_code=202
    )


@router.post("/runs/{run}/abort", response_model=dict[str, Any])
def abort(site: SiteOf, run: str) -> PlainJson:
    """Stop a run wherever it is driven from. 409 for one that has ended."""
    return PlainJson(described(site.run(run).abort(), steps=False))


@router.patch("/runs/{run}", response_model=dict[str, Any])
def annotate(site: SiteOf, run: str, wanted: Annotated[Annotation, Body()], if_match: IfMatch = None) -> PlainJson:
    """Set tags or notes; with `If-Match` nobody else's words are written over."""
    tags = None if wanted.tags is None else tuple(wanted.tags)
    with site.workspace.store.transaction():
        fresh_run(site, run, if_match)  # once more, now that nobody else writes
        found = site.run(run).annotate(tags=tags, notes=wanted.notes)
    return PlainJson(described(found, steps=False))


# -- shared with the pages


def decoded(site: Site, base: Run, params: dict[str, Any]) -> dict[str, Any]:
    """``params`` from JSON, with their types. Raises ParameterError."""
    pipeline, _ = site.workspace.code(base.task)
    return pipeline.parameters.decode(params)


def reran(site: Site, base: Run, wanted: RerunRequest) -> Run:
    """A rerun of ``base``, queued."""
    if wanted.failed + (wanted.from_step is not None) + bool(wanted.refresh) > 1:
        raise IllegalTransition("failed, from_step and refresh each say what to run anew: give one of them.")
    draft, options = site.workspace.rerun_draft(
        base.id, failed=wanted.failed, from_step=wanted.from_step, refresh=wanted.refresh
    )
    return site.agent.submit(draft, options)


def resumed(site: Site, run: Run, from_step: str | None = None) -> Run:
    """``run``, driven on."""
    return site.agent.resume(run, from_step)


__all__ = ["decoded", "reran", "resumed", "router"]
