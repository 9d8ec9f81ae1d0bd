"""Studies, their trials and the best of them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from hpo_pipelines.description import described
from hpo_pipelines.errors import StudyError
from hpo_pipelines.server.api.fresh import described_study
from hpo_pipelines.server.api.runs import Archived
from hpo_pipelines.server.api.wanted import StudyOptions
from hpo_pipelines.server.etags import UNCHANGED, IfNoneMatch, tagged
from hpo_pipelines.server.listing import MOST
from hpo_pipelines.server.plainjson import LARGEST, PlainJson
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.server.studies import columns, summary
from hpo_pipelines.study import Study, continue_trial
from hpo_pipelines.study import enqueue as enqueue_trial
from hpo_pipelines.study import extend as extend_study
from hpo_pipelines.study import stop as stop_study
from hpo_pipelines.study.handle import find
from hpo_pipelines.study.options import Options
from hpo_pipelines.study.start import begin
from hpo_pipelines.waiting import CONTROLLERS

router = APIRouter(tags=["studies"])


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StudyRequest(StudyOptions):
    """A study over a run, whose clones its trials are; agents of a queue drive them."""

    run: str = Field(description="Its id or name.", examples=["churn#48"])
    name: str | None = Field(default=None, min_length=1, max_length=200)
    queue: str = Field(default=CONTROLLERS, description="Agents of this queue drive the trials.")


class StopRequest(_Strict):
    abort: bool = Field(default=False, description="Abort what runs, instead of finishing it; as asking again does.")


class ExtendRequest(_Strict):
    trials: int = Field(ge=1, le=1_000_000, description="How many more.")


class TrialRequest(_Strict):
    params: dict[str, Any] = Field(description="A value for each parameter of the space.", examples=[{"lr": 0.03}])


@router.get("/studies", response_model=dict[str, Any])
def studies(site: SiteOf, *, archived: Archived = False) -> PlainJson:
    """Every study, newest first."""
    return PlainJson({"items": [summary(site, task) for task in site.studies(archived=archived)]})


@router.post("/studies", status_code=201, response_model=dict[str, Any])
def start(site: SiteOf, wanted: Annotated[StudyRequest, Body()]) -> PlainJson:
    """Start a study; agents drive its trials. 409 for a name that is taken."""
    return PlainJson(summary(site, started(site, wanted).task), status_code=201)


@router.get("/studies/{study}", response_model=dict[str, Any], responses=UNCHANGED)
def study(site: SiteOf, study: str, *, if_none_match: IfNoneMatch = None) -> Response:
    """One study, by its id or name: direction, objective, space, counts, best value, cost."""
    return tagged(described_study(site, site.study(study)), if_none_match)


@router.get("/studies/{study}/trials", response_model=dict[str, Any])
def trials(
    site: SiteOf,
    study: str,
    after: Annotated[
        int, Query(ge=-1, le=LARGEST, description="Only trials past this number: `next` of the page before.")
    ] = -1,
    limit: Annotated[int, Query(ge=1, le=MOST, description="At most so many.")] = MOST,
) -> PlainJson:
    """The trials as columns, which is a tenth of the size of rows: numbers, values, statuses, runs, parameters."""
    return PlainJson(columns(site, site.study(study), after=after, limit=limit))


@router.get("/studies/{study}/best", response_model=dict[str, Any])
def best(site: SiteOf, study: str) -> PlainJson:
    """The best completed trial with its run. 409 when none completed."""
    found = site.study(study)
    trials = site.trials(found)
    if found.goals.several or trials.best is None:
        best = found.best_trial  # which says why there is none; of many trials it reads all anew
        number, value, run = best.number, best.value, best.run
    else:
        number, run = trials.best.trial, site.run(trials.best.run)
        value = trials.values[number][0]
    params = found.given_to(run)
    return PlainJson({"number": number, "value": value, "params": params, "run": described(run, steps=False)})


@router.post("/studies/{study}/stop", status_code=202, response_model=dict[str, Any])
def stop(site: SiteOf, study: str, wanted: Annotated[StopRequest | None, Body()] = None) -> PlainJson:
    """Stop a running study, wherever it is driven: what runs is finished or, asked again, aborted. 409 if none does."""
    found = site.study(study)
    stop_study(found, abort=wanted is not None and wanted.abort)
    return PlainJson(summary(site, found.task), status_code=202)


@router.post("/studies/{study}/resume", status_code=202, response_model=dict[str, Any])
def resume(site: SiteOf, study: str) -> PlainJson:
    """Go on with a study that was stopped or abandoned, as it was asked for last. 409 when there is nothing to do."""
    return PlainJson(summary(site, site.drives.go_on(site.study(study)).task), status_code=202)


@router.post("/studies/{study}/extend", status_code=202, response_model=dict[str, Any])
def extend(site: SiteOf, study: str, wanted: Annotated[ExtendRequest, Body()]) -> PlainJson:
    """Have a study run more trials; one that nobody drives is driven on here."""
    return PlainJson(summary(site, extended(site, site.study(study), wanted.trials).task), status_code=202)


@router.post("/studies/{study}/trials", status_code=202, response_model=dict[str, Any])
def enqueue(site: SiteOf, study: str, wanted: Annotated[TrialRequest, Body()]) -> PlainJson:
    """Have a study run one more trial next, with these parameters. 422 for what is no point of its space."""
    found = site.study(study)
    pipeline, _ = site.workspace.code(found.task)
    return PlainJson(
        summary(site, enqueued(site, found, pipeline.parameters.decode(wanted.params)).task), status_code=202
    )


@router.post("/studies/{study}/trials/{number}/continue", status_code=202, response_model=dict[str, Any])
def continue_(site: SiteOf, study: str, number: Annotated[int, Path(ge=0, le=LARGEST)]) -> PlainJson:
    """Have a study run a trial that continues a pruned one, and is not pruned again. 409 for one that was not pruned,
    or is continued already."""
    found = site.study(study)
    driven = continue_trial(found, number)
    return PlainJson(summary(site, (found if driven else site.drives.go_on(found)).task), status_code=202)


# -- shared with the pages


def started(site: Site, wanted: StudyRequest) -> Study:
    """The study that ``wanted`` asks for, running. Raises StudyError for a name that is taken."""
    base = site.run(wanted.run)
    if wanted.name is not None and find(site.workspace, wanted.name) is not None:
        raise StudyError(f"there is a study called {wanted.name!r} already: choose another name, or extend that one.")
    options = Options(**wanted.model_dump(exclude={"run", "space"}))
    return site.drives.start(lambda: begin(site.workspace, base, wanted.space, options))


def extended(site: Site, study: Study, trials: int) -> Study:
    """``study`` with more trials to run, driven."""
    return study if extend_study(study, trials) else site.drives.go_on(study)


def enqueued(site: Site, study: Study, params: dict[str, Any]) -> Study:
    """``study`` with one more trial, of ``params`` (decoded), driven."""
    return study if enqueue_trial(study, params) else site.drives.go_on(study)
