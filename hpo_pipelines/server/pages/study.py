"""Studies, and the page of one: drawn at once, what takes long comes after."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from hpo_pipelines.errors import ParameterError, TaskNotFound
from hpo_pipelines.server import studies
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.server.templating import query, rendered
from hpo_pipelines.server.trials import brushes
from hpo_pipelines.study import Study

router = APIRouter()

ROWS = 60
"""How many trials the table shows, and how many more at a time."""
MOST = 2000


@router.get("/studies")
def overview(request: Request, site: SiteOf) -> Response:
    """Every study, newest first."""
    found = []
    for task in site.studies(archived=False):
        said = studies.summary(site, task)
        costs = studies.accounting(site, Study(site.workspace, task), studies.finished(said["counts"]))
        found.append({**said, "accounting": costs})
    return rendered(request, "studies.html", studies=found)


@router.get("/studies/{study}")
def page(request: Request, site: SiteOf, study: str, *, sort: str = "", brush: str = "") -> Response:
    """One study: what it found, what its trials share, and each of them."""
    found = site.study(study)
    if study != found.id:
        return RedirectResponse(f"/studies/{found.id}")
    # Before anything is read: what happens while the parts are read is told to the page again.
    cursor = site.workspace.store.events.last()
    context = {**studies.facts(site, found, patient=False), **_rows(site, found, sort, brush)}
    return rendered(
        request,
        "study.html",
        cursor=cursor,
        origin_label=site.label_of(found.task.cloned_from),
        **context,
    )


@router.get("/studies/{study}/chart")
def chart(site: SiteOf, study: str, first: int = 0) -> Response:
    """What the charts are drawn from: the trials from number ``first`` on."""
    return Response(site.trials(site.study(study)).chart_json(first), media_type="application/json")


@router.get("/studies/{study}/part/{part}")
def part(
    request: Request,
    site: SiteOf,
    study: str,
    part: str,
    *,
    trial: int | None = None,
    sort: str = "",
    brush: str = "",
    cursor: int | None = None,
    rows: Annotated[int, Query(ge=1, le=MOST)] = ROWS,
) -> Response:
    """One part of the page, as it stands now."""
    found = site.study(study)
    if part == "trial":
        return rendered(request, "study_trial.html", **studies.inspected(site, found, trial))
    if part == "rows":
        return rendered(request, "study_rows.html", **_rows(site, found, sort, brush, cursor, rows))
    if part == "head":
        said = studies.facts(site, found, patient=False)
        return rendered(request, "study_head.html", origin_label=site.label_of(found.task.cloned_from), **said)
    if part == "facts":
        return rendered(request, "study_facts.html", **studies.facts(site, found, patient=True))
    if part == "work":
        return rendered(request, "study_work.html", **studies.work(site, found))
    if part == "importance":
        shares = studies.importances(site, found, site.trials(found).finished)
        return rendered(request, "study_importance.html", importances=shares)
    raise TaskNotFound(f"the page of a study has no part {part!r}.")


def _rows(
    site: Site, study: Study, sort: str, brush: str, cursor: int | None = None, limit: int = ROWS
) -> dict[str, Any]:
    """One page of the table: ``limit`` trials behind trial ``cursor``, in order, of those that ``brush`` leaves."""
    trials = site.trials(study)
    by = sort or ("-value" if trials.goals[0].sign > 0 else "value")
    ordered = trials.ordered(trials.kept(brushes(brush)), by)
    begin = 0 if cursor is None else _behind([trials.rows[index].trial for index in ordered], cursor)
    chosen = ordered[begin : begin + limit]
    shown = [trials.rows[index] for index in chosen]
    steps = site.workspace.store.overview.steps([row.run for row in shown])
    more = begin + limit < len(ordered)
    return {
        "trials": trials,
        "shown": [
            {
                "trial": row.trial,
                "status": row.status,
                "values": trials.values.get(row.trial, (None,) * len(trials.goals)),
                "params": [column.values[index] for column in trials.columns.values()],
                "steps": steps[row.run],
                "seconds": row.seconds,
            }
            for index, row in zip(chosen, shown, strict=True)
        ],
        "sort": by,
        "is_first": cursor is None,
        "count": len(ordered),
        "best": None if trials.best is None else trials.best.trial,
        "more": query(sort=sort, brush=brush, cursor=str(shown[-1].trial)) if more else None,
        "study_id": study.id,
    }


def _behind(numbers: list[int], cursor: int) -> int:
    if cursor not in numbers:
        raise ParameterError(f"cursor={cursor}: there is no such trial among these any more; leave it out.")
    return numbers.index(cursor) + 1
