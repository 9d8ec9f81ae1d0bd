"""Studies, and the page of one: drawn at once, what takes long comes after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from hpo_pipelines.errors import ParameterError, TaskNotFound
from hpo_pipelines.server import studies
from hpo_pipelines.server.api.keeping import deleted
from hpo_pipelines.server.api.studies import extended
from hpo_pipelines.server.pages.newrun import given_in
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.server.templating import onward, query, rendered
from hpo_pipelines.server.trials import brushes
from hpo_pipelines.study import Study, stop
from hpo_pipelines.study.keeping import archive, restore

router = APIRouter()

ROWS = 60
"""How many trials the table shows, and how many more at a time."""
MOST = 2000
_DIGITS = 6


@router.get("/studies")
def overview(request: Request, site: SiteOf, *, archived: str = "") -> Response:
    """Every study, newest first; those that are archived for who asks."""
    hidden = bool(archived)
    found = []
    for task in site.studies(archived=hidden):
        said = studies.summary(site, task)
        costs = studies.accounting(site, Study(site.workspace, task), studies.finished(said["counts"]))
        found.append({**said, "accounting": costs})
    return rendered(
        request, "studies.html", studies=found, archived=hidden, others=len(site.studies(archived=not hidden))
    )


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


@router.post("/studies/{study}/do/{action}")
async def act(request: Request, site: SiteOf, study: str, action: str) -> Response:
    """What the buttons of the page do: stop, abort, resume, extend, archive, restore; then the page again."""
    given = given_in(await request.body())
    found = site.study(study)
    actions: dict[str, Callable[[], object]] = {
        "stop": lambda: stop(found),
        "abort": lambda: stop(found, abort=True),
        "resume": lambda: site.drives.go_on(found),
        "extend": lambda: extended(site, found, _count(given.get("trials", ""))),
        "archive": lambda: archive(site.workspace, found.id),
        "restore": lambda: restore(site.workspace, found.id),
    }
    if action not in actions:
        raise TaskNotFound(f"there is nothing called {action!r} to be done with a study: {', '.join(actions)}.")
    await run_in_threadpool(actions[action])
    return onward(request, f"/studies/{found.id}")


@router.post("/studies/{study}/delete")
def remove(request: Request, site: SiteOf, study: str) -> Response:
    """Delete a study with its trials; then the page of the others."""
    deleted(site, [site.study(study).id])
    return onward(request, "/studies")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise ParameterError(f"trials={text!r}: say how many more, a number from 1 to {10**_DIGITS - 1:,}.")
    return int(text)


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
    spreads = studies.spreads(site, study, shown)
    more = begin + limit < len(ordered)
    return {
        "trials": trials,
        "shown": [
            {
                "trial": row.trial,
                "status": row.status,
                "values": trials.values.get(row.trial, (None,) * len(trials.goals)),
                "spreads": spreads.get(row.trial, ()),
                "broken": trials.broken(row.trial),
                "is_known": row.trial in trials.values,
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
        "is_bounded": bool(study.goals.constraints),
    }


def _behind(numbers: list[int], cursor: int) -> int:
    if cursor not in numbers:
        raise ParameterError(f"cursor={cursor}: there is no such trial among these any more; leave it out.")
    return numbers.index(cursor) + 1
