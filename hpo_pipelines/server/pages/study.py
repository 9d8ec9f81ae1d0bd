"""Studies, and the page of one."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from hpo_pipelines.server.listing import rows_of
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.server.templating import rendered
from hpo_pipelines.server.trials import shared_work, summary, trial_runs
from hpo_pipelines.study import Study
from search_spaces.groups import flattened

router = APIRouter()


@router.get("/studies")
def overview(request: Request, site: SiteOf) -> Response:
    """Every study, newest first."""
    found = [
        {**summary(site, task), "accounting": Study(site.workspace, task).accounting}
        for task in site.studies(archived=False)
    ]
    return rendered(request, "studies.html", studies=found)


@router.get("/studies/{study}")
def page(request: Request, site: SiteOf, study: str) -> Response:
    """One study: what it found, what its trials share, and each of them."""
    found = site.study(study)
    if study != found.id:
        return RedirectResponse(f"/studies/{found.id}")
    return rendered(request, "study.html", **_context(site, found))


@router.get("/studies/{study}/part/{part}")
def part(request: Request, site: SiteOf, study: str, part: str, trial: int | None = None) -> Response:
    """The page's parts that change while the study goes on, or with the selected trial."""
    found = site.study(study)
    if part == "trial":
        return rendered(request, "study_trial.html", **_trial(site, found, trial))
    return rendered(request, "study_facts.html", **_context(site, found))


def _context(site: Site, study: Study) -> dict[str, Any]:
    runs = trial_runs(site, study.id)
    work = shared_work(site, runs)
    said = summary(site, study.task, runs)
    values = site.analysis(study).values
    base = values.get(0)
    best = said["best_value"]
    gain = None if best is None or base is None or said["best_trial"] == 0 else best - base
    most = max((row["ran"] + row["reused"] for row in work), default=1)
    return {
        "study": said,
        "task": study.task,
        "accounting": study.accounting,
        "importances": site.analysis(study).importances,
        "work": work,
        "most": most,
        "steps_ran": sum(row["ran"] for row in work),
        "steps_reused": sum(row["reused"] for row in work),
        "gain": gain,
        "better": gain is not None and (gain > 0) == (study.direction == "maximize"),
        "base_run": runs[0] if runs else None,
        "origin_label": site.label_of(study.task.cloned_from),
        "top": [
            run.id for run in sorted((r for r in runs if r.trial in values), key=lambda r: _rank(values, r, study))[:5]
        ],
    }


def _rank(values: dict[int, float], run: Any, study: Study) -> float:
    value = values[run.trial]
    return -value if study.direction == "maximize" else value


def _trial(site: Site, study: Study, number: int | None) -> dict[str, Any]:
    """One trial for the inspector: the chosen one, else the best, else none."""
    runs = trial_runs(site, study.id)
    said = summary(site, study.task, runs)
    wanted = said["best_trial"] if number is None else number
    task = next((run for run in runs if run.trial == wanted), None)
    space = study.space
    names = space.order()
    base = flattened(names, runs[0].params) if runs else {}
    mine = flattened(names, task.params) if task is not None else {}
    return {
        "study": said,
        "trial": task,
        "is_best": task is not None and task.trial == said["best_trial"],
        "value": site.analysis(study).values.get(wanted) if wanted is not None else None,
        "row": rows_of(site, [task])[0] if task is not None else None,
        "params": [
            {
                "name": name,
                "value": mine.get(name),
                "was": base.get(name),
                "changed": mine.get(name) != base.get(name),
            }
            for name in names
            if task is not None
        ],
    }
