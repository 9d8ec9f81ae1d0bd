"""Pipelines, and the runs of one as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from hpo_pipelines.errors import TaskNotFound
from hpo_pipelines.server.api import keeping
from hpo_pipelines.server.listing import Listing, Row, listed, rows_of
from hpo_pipelines.server.listing import Query as RunQuery
from hpo_pipelines.server.security import saved_as
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.server.templating import is_part, onward, rendered
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.store.overview import PipelineSummary
from hpo_pipelines.study.keeping import members
from hpo_pipelines.types import Kind, Status

router = APIRouter()

_RECENT = 24
_MOST_COLUMNS = 6
_CSV_ROWS = 10_000


@router.get("/pipelines")
def overview(request: Request, site: SiteOf, *, q: str = "", archived: str = "") -> Response:
    """Every pipeline of every project, with its latest runs; those that are archived for who asks."""
    hidden = bool(archived)
    cards = _cards(site, q, archived=hidden)
    others = len(site.workspace.store.overview.pipelines(archived=not hidden))
    home = str(site.workspace.home)
    return rendered(request, "pipelines.html", cards=cards, q=q, home=home, archived=hidden, others=others)


@router.post("/pipelines/{project}/{pipeline}/do/{action}")
def act(request: Request, site: SiteOf, project: str, pipeline: str, action: str) -> Response:
    """Archive a pipeline, or restore it."""
    actions = {"archive": keeping.archived, "restore": keeping.restored}
    if action not in actions:
        raise TaskNotFound(f"there is nothing called {action!r} to be done with a pipeline: {', '.join(actions)}.")
    actions[action](site, project, pipeline)
    return onward(request, "/pipelines")


@router.post("/pipelines/{project}/{pipeline}/delete")
def remove(request: Request, site: SiteOf, project: str, pipeline: str) -> Response:
    """Delete a pipeline: every run and study of it."""
    keeping.deleted(site, members(site.workspace.store, project, pipeline))
    return onward(request, "/pipelines")


def _cards(site: Site, q: str, *, archived: bool) -> list[dict[str, Any]]:
    store = site.workspace.store
    found = [
        (each, store.overview.briefs(_runs_of(each, archived=archived), _RECENT))
        for each in store.overview.pipelines(archived=archived)
        if q.lower() in f"{each.project}/{each.pipeline}".lower()
    ]
    tasks = store.tasks.get_all([recent[0].id for _, recent in found if recent])
    found = [(each, recent) for each, recent in found if recent and recent[0].id in tasks]  # it may have gone just now
    rows = rows_of(site, [tasks[recent[0].id] for _, recent in found])
    cards = []
    for (each, recent), latest in zip(found, rows, strict=True):
        longest = max(run.seconds or 0.0 for run in recent) or 1.0
        bars = [
            {"status": run.status, "height": 4 + 20 * (run.seconds or 0.0) / longest, "id": run.id,
             "label": f"{each.pipeline}#{run.number}", "seconds": run.seconds}
            for run in reversed(recent)
        ]  # fmt: skip
        cards.append({"summary": each, "latest": latest, "bars": bars})
    return cards


def _runs_of(summary: PipelineSummary, *, archived: bool) -> TaskFilter:
    return TaskFilter(
        kind=Kind.PIPELINE, project=summary.project, pipeline=summary.pipeline, top=True, archived=archived
    )


@router.get("/pipelines/{project}/{pipeline}")
def runs(
    request: Request,
    site: SiteOf,
    project: str,
    pipeline: str,
    *,
    status: str = "",
    tag: str = "",
    study: str = "",
    archived: str = "",
    sort: str = "-created",
    cursor: str | None = None,
    cols: Annotated[str, Query()] = "",
) -> Response:
    """The runs of one pipeline: chosen columns, filter and order in the address."""
    asked = RunQuery(project, pipeline, status or None, study or None, tag or None, sort, 50, cursor, bool(archived))
    found = listed(site, asked)
    shown = _columns(found, cols)
    where = TaskFilter(kind=Kind.PIPELINE, project=project, pipeline=pipeline, top=True, archived=bool(archived))
    context: dict[str, Any] = {
        "project": project,
        "pipeline": pipeline,
        "rows": found.rows,
        "next": found.next,
        "columns": shown,
        "choices": _choices(found.rows),
        "varied": _varied(found.rows),
        "statuses": [str(one) for one in Status],
        "state": {"status": status, "tag": tag, "study": study, "sort": sort, "cols": cols, "archived": archived},
        "total": site.workspace.store.overview.count(where),
    }
    template = "runs_more.html" if cursor is not None and is_part(request) else "runs.html"
    return rendered(request, template, **context)


@router.get("/pipelines/{project}/{pipeline}/runs.csv")
def runs_csv(
    site: SiteOf,
    project: str,
    pipeline: str,
    *,
    status: str = "",
    tag: str = "",
    study: str = "",
    archived: str = "",
    sort: str = "-created",
) -> Response:
    """The same runs, all parameters and metrics, for a spreadsheet; 10,000 at most."""
    rows: list[Row] = []
    cursor: str | None = None
    while len(rows) < _CSV_ROWS:
        asked = RunQuery(
            project, pipeline, status or None, study or None, tag or None, sort, 500, cursor, bool(archived)
        )
        found = listed(site, asked)
        rows += found.rows
        cursor = found.next
        if cursor is None:
            break
    params = list(dict.fromkeys(name for row in rows for name in row.task.params))
    metrics = sorted({name for row in rows for name in row.metrics})
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([_cell(name) for name in ("run", "id", "status", "started_at", "seconds", *params, *metrics)])
    for row in rows:
        task = row.task
        values = [task.params.get(name) for name in params] + [row.metrics.get(name) for name in metrics]
        cells = [task.label, task.id, str(task.status), task.started_at, task.seconds, *values]
        writer.writerow([_cell(cell) for cell in cells])
    text = out.getvalue().encode("utf-8", "replace")
    return Response(text, media_type="text/csv; charset=utf-8", headers=saved_as(f"{pipeline}.csv"))


def _cell(value: Any) -> Any:
    # A spreadsheet runs what begins like a formula: https://owasp.org/www-community/attacks/CSV_Injection
    text = value if isinstance(value, str) else None
    return f"'{text}" if text and text[0] in "=+-@\t\r" else value


def _choices(rows: Sequence[Row]) -> dict[str, list[str]]:
    return {
        "p": list(dict.fromkeys(name for row in rows for name in row.task.params)),
        "m": sorted({name for row in rows for name in row.metrics}),
    }


def _varied(rows: Sequence[Row]) -> set[str]:
    """The parameters that differ among ``rows``."""
    names = {name for row in rows for name in row.task.params}
    return {name for name in names if len({repr(row.task.params.get(name)) for row in rows}) > 1}


def _columns(found: Listing, cols: str) -> list[tuple[str, str]]:
    """(``p`` or ``m``, name) of each chosen column; by default the metrics and what differs."""
    if cols:
        pairs = [tuple(word.split(".", 1)) for word in cols.split(",") if word[:2] in ("p.", "m.")]
        return [(kind, name) for kind, name in pairs]
    varied = _varied(found.rows)
    choices = _choices(found.rows)
    params = [("p", name) for name in choices["p"] if name in varied or not varied][:_MOST_COLUMNS]
    return [("m", name) for name in choices["m"][:2]] + params
