"""Studies, their trials and the best of them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from hpo_pipelines.description import described, described_accounting
from hpo_pipelines.server.api.runs import Archived
from hpo_pipelines.server.etags import UNCHANGED, IfNoneMatch, tagged
from hpo_pipelines.server.plainjson import LARGEST, PlainJson
from hpo_pipelines.server.site import SiteOf
from hpo_pipelines.server.trials import columns, summary

router = APIRouter(tags=["studies"])


@router.get("/studies", response_model=dict[str, Any])
def studies(site: SiteOf, *, archived: Archived = False) -> PlainJson:
    """Every study, newest first."""
    return PlainJson({"items": [summary(site, task) for task in site.studies(archived=archived)]})


@router.get("/studies/{study}", response_model=dict[str, Any], responses=UNCHANGED)
def study(site: SiteOf, study: str, *, if_none_match: IfNoneMatch = None) -> Response:
    """One study, by its id or name: direction, objective, space, counts, best value, cost."""
    found = site.study(study)
    return tagged(
        {
            **summary(site, found.task),
            "space": found.task.params["space"],
            "base": found.task.params["base"],
            "accounting": described_accounting(found.accounting),
            "importances": site.analysis(found).importances,
        },
        if_none_match,
    )


@router.get("/studies/{study}/trials", response_model=dict[str, Any])
def trials(
    site: SiteOf,
    study: str,
    after: Annotated[int, Query(ge=-1, le=LARGEST, description="Only trials past this number.")] = -1,
) -> PlainJson:
    """The trials as columns, which is a tenth of the size of rows: numbers, values, statuses, runs, parameters."""
    return PlainJson(columns(site, site.study(study), after=after))


@router.get("/studies/{study}/best", response_model=dict[str, Any])
def best(site: SiteOf, study: str) -> PlainJson:
    """The best completed trial with its run. 409 when none completed."""
    found = site.study(study)
    trial = found.best_trial
    return PlainJson(
        {
            "number": trial.number,
            "value": trial.value,
            "params": found.best_params,
            "run": described(trial.run, steps=False),
        }
    )
