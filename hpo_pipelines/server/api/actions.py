"""What changes something: plan (which does not), clone, submit, rerun, resume, abort, annotate."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends
from pydantic import BaseModel, ConfigDict, Field

from hpo_pipelines.description import described
from hpo_pipelines.engine import Refresh, RunOptions
from hpo_pipelines.engine.options import completed
from hpo_pipelines.errors import IllegalTransition
from hpo_pipelines.planning import plan
from hpo_pipelines.run import Run
from hpo_pipelines.server.api.fresh import fresh_run
from hpo_pipelines.server.etags import IfMatch
from hpo_pipelines.server.plainjson import PlainJson
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.types import Status

router = APIRouter(tags=["actions"], dependencies=[Depends(fresh_run)])


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Changes(_Strict):
    """Parameters over a run's own."""

    params: dict[str, Any] = Field(default={}, description="Encoded as in a run's `params`.", examples=[{"lr": 0.03}])


class PlanRequest(Changes):
    refresh: bool | list[str] = Field(default=False, description="Run everything, or the named steps, anew.")


class CloneRequest(Changes):
    executor: str | None = Field(default=None, pattern="^(inline|local|ray)$")
    submit: bool = Field(default=False, description="Queue it at once, instead of leaving a draft.")
    queue: str | None = Field(default=None, description="Which queue; by default that of runs that name none.")


class RerunRequest(_Strict):
    failed: bool = Field(default=False, description="Keep every completed step, also of components whose reuse is off.")
    from_step: str | None = Field(default=None, description="Run this step and what uses it anew.")
    refresh: bool | list[str] = Field(default=False, description="Run everything, or the named steps, anew.")
    submit: bool = Field(default=True, description="Queue it at once; false leaves a draft.")


class SubmitRequest(_Strict):
    """How a draft is to be driven; what is left out is as usual."""

    queue: str | None = Field(default=None, description="Which queue; by default that of runs that name none.")
    priority: int | None = Field(default=None, description="Higher goes first.")
    refresh: bool | list[str] = Field(default=False, description="Run everything, or the named steps, anew.")
    from_steps: list[str] = Field(default=[], description="Run these steps and what uses them anew.")
    reuse: bool = Field(default=True, description="Whether outcomes are reused, and left to be.")
    keep: str | None = Field(default=None, description="A run (id) whose completed steps are kept.")
    keep_options: bool = Field(default=False, description="Of a run that waits already: as it was submitted.")


class ResumeRequest(_Strict):
    from_step: str | None = Field(default=None, description="Run this step and every later call anew.")


class Annotation(_Strict):
    tags: list[str] | None = None
    notes: str | None = None
    executor: str | None = Field(default=None, pattern="^(inline|local|ray)$", description="Of a draft only.")


@router.post("/runs/{run}/plan", response_model=dict[str, Any])
def planned(site: SiteOf, run: str, wanted: Annotated[PlanRequest | None, Body()] = None) -> PlainJson:
    """What a clone would reuse and what it would run. Follows the body without running a step; records nothing."""
    base, wanted = site.run(run), wanted or PlanRequest()
    params = decoded(site, base, wanted.params)
    return PlainJson(plan(site.workspace, base, params, refresh=Refresh.of(wanted.refresh)).record())


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
def submit(site: SiteOf, run: str, wanted: Annotated[SubmitRequest | None, Body()] = None) -> PlainJson:
    """Queue a draft, or move a run that waits. 409 for any other."""
    options = None if wanted is None or wanted.keep_options else _options(site, wanted)
    wanted = wanted or SubmitRequest()
    made = site.agent.submit(site.run(run), options, queue=wanted.queue, priority=wanted.priority)
    return PlainJson(described(made, steps=False), status_code=202)


def _options(site: Site, wanted: SubmitRequest) -> RunOptions:
    steps = frozenset() if isinstance(wanted.refresh, bool) else frozenset(wanted.refresh)
    refresh = Refresh(wanted.refresh is True, steps, frozenset(wanted.from_steps))
    prior = {} if wanted.keep is None else completed(site.workspace.store, site.run(wanted.keep).id)
    return RunOptions(refresh=refresh, reuse=wanted.reuse, prior=prior)


@router.post("/runs/{run}/rerun", status_code=201, response_model=dict[str, Any])
def rerun(site: SiteOf, run: str, wanted: Annotated[RerunRequest | None, Body()] = None) -> PlainJson:
    """A new run of the same code and parameters, queued; with ``submit`` false a draft."""
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
    """Set tags or notes, of a draft also its executor; with `If-Match` nobody else's words are written over."""
    tags = None if wanted.tags is None else tuple(wanted.tags)
    with site.workspace.store.transaction():
        fresh_run(site, run, if_match)  # once more, now that nobody else writes
        found = site.run(run)
        if wanted.executor is not None:
            if found.status is not Status.DRAFT:
                raise IllegalTransition(f"{found.label} is {found.status}: only a draft's executor is set; clone it.")
            site.workspace.store.tasks.update(found.id, executor=wanted.executor)
        found = found.annotate(tags=tags, notes=wanted.notes)
    return PlainJson(described(found, steps=False))


# -- shared with the pages


def decoded(site: Site, base: Run, params: dict[str, Any]) -> dict[str, Any]:
    """``params`` from JSON, with their types. Raises ParameterError."""
    pipeline, _ = site.workspace.code(base.task)
    return pipeline.parameters.decode(params)


def reran(site: Site, base: Run, wanted: RerunRequest) -> Run:
    """A rerun of ``base``, queued unless a draft is wanted."""
    if wanted.failed + (wanted.from_step is not None) + bool(wanted.refresh) > 1:
        raise IllegalTransition("failed, from_step and refresh each say what to run anew: give one of them.")
    draft, options = site.workspace.rerun_draft(
        base.id, failed=wanted.failed, from_step=wanted.from_step, refresh=wanted.refresh
    )
    return site.agent.submit(draft, options) if wanted.submit else draft


def resumed(site: Site, run: Run, from_step: str | None = None) -> Run:
    """``run``, driven on."""
    return site.agent.resume(run, from_step)


__all__ = ["decoded", "reran", "resumed", "router"]
