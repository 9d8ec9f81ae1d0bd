"""Studies, their trials and the best of them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from hpo_pipelines.description import described, described_accounting
from hpo_pipelines.server.plainjson import PlainJson
from hpo_pipelines.server.site import SiteOf
from hpo_pipelines.server.studies import accounting, columns, finished, importances, summary

router = APIRouter(tags=["studies"])


@router.get("/studies", response_model=dict[str, Any])
def studies(site: SiteOf) -> PlainJson:
    """Every study, newest first."""
    return PlainJson({"items": [summary(site, task) for task in site.studies()]})


@router.get("/studies/{study}", response_model=dict[str, Any])
def study(site: SiteOf, study: str) -> PlainJson:
    """One study, by its id or name: direction, objective, space, counts, best value, cost."""
    found = site.study(study)
    said = summary(site, found.task)
    version = finished(said["counts"])
    return PlainJson(
        {
            **said,
            "space": found.task.params["space"],
            "base": found.task.params["base"],
            "accounting": described_accounting(accounting(site, found, version, exact=True)),
            "importances": importances(site, found, version, exact=True),
        }
    )


@router.get("/studies/{study}/trials", response_model=dict[str, Any])
def trials(
    site: SiteOf, study: str, after: Annotated[int, Query(ge=-1, description="Only trials past this number.")] = -1
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
