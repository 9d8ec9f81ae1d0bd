"""The page of one run: list, graph, inspector and drawer, each also on its own for live updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from hpo_pipelines.errors import TaskNotFound
from hpo_pipelines.run import Run
from hpo_pipelines.server.api.actions import RerunRequest, reran, resumed
from hpo_pipelines.server.api.keeping import deleted
from hpo_pipelines.server.listing import rows_of
from hpo_pipelines.server.runview import RunView
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.server.stepview import inspected_run, inspected_step, outputs_of
from hpo_pipelines.server.templating import onward, rendered
from hpo_pipelines.server.timeline import timeline_of
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.store.chain import chain
from hpo_pipelines.types import Kind, Status

router = APIRouter()

VIEWS = ("graph", "timeline", "steps")
TABS = ("console", "code", "outputs", "why")
MANY = 400
"""Above so many steps the page opens on the table."""
_LISTED = 60


@router.get("/runs/{run}")
def page(request: Request, site: SiteOf, run: str, *, step: str = "", view: str = "", tab: str = "") -> Response:
    """The whole page. An id, or a name such as ``churn%2348``; steps of a run are named in the query."""
    found = site.run(run)
    if run != found.id:
        return RedirectResponse(f"/runs/{found.id}?{request.url.query}".rstrip("?"))
    state = _state(step, view, tab)
    # Before anything is read: what happens while the parts are read is told to the page again.
    context: dict[str, Any] = {"cursor": site.workspace.store.events.last()}
    seen = RunView(site, found)
    for part in PARTS.values():
        context |= part(seen, state)
    return rendered(request, "run.html", **context)


@router.get("/runs/{run}/part/{part}")
def part(
    request: Request, site: SiteOf, run: str, part: str, *, step: str = "", view: str = "", tab: str = ""
) -> Response:
    """One part of the page, as it stands now."""
    if part not in PARTS:
        raise TaskNotFound(f"the page of a run has no part {part!r}; it has {', '.join(PARTS)}.")
    return rendered(request, f"run_{part}.html", **PARTS[part](RunView(site, site.run(run)), _state(step, view, tab)))


@router.post("/runs/{run}/do/{action}")
async def act(request: Request, site: SiteOf, run: str, action: str) -> Response:
    """What the buttons of the page do: abort, rerun, resume; then the page of the run that it is about."""
    form = {name: values[-1] for name, values in parse_qs((await request.body()).decode()).items()}
    about = await run_in_threadpool(_act, site, site.run(run), action, form)
    return onward(request, f"/runs/{about.id}")


@router.post("/runs/{run}/delete")
def remove(request: Request, site: SiteOf, run: str) -> Response:
    """Delete a run; then the page of its pipeline's other runs, or that of all pipelines."""
    task = site.run(run).task
    deleted(site, [task.id])
    where = TaskFilter(kind=Kind.PIPELINE, project=task.project, pipeline=task.pipeline, top=True, archived=False)
    place = f"/pipelines/{quote(task.project, safe='')}/{quote(str(task.pipeline), safe='')}"
    return onward(request, place if site.workspace.store.overview.count(where) else "/pipelines")


def _act(site: Site, run: Run, action: str, form: Mapping[str, str]) -> Run:
    step = form.get("step") or None
    actions: dict[str, Callable[[], Run]] = {
        "abort": run.abort,
        "submit": lambda: site.agent.submit(run),
        "rerun": lambda: reran(site, run, RerunRequest(from_step=step)),
        "refresh": lambda: reran(site, run, RerunRequest(refresh=True)),
        "rerun-failed": lambda: reran(site, run, RerunRequest(failed=True)),
        "resume": lambda: resumed(site, run, step),
        "archive": run.archive,
        "restore": run.restore,
    }
    if action not in actions:
        raise TaskNotFound(f"there is nothing called {action!r} to be done with a run: {', '.join(actions)}.")
    return actions[action]()


# -- what each part shows


def _state(step: str, view: str, tab: str) -> dict[str, str]:
    return {"step": step, "view": view if view in VIEWS else "", "tab": tab if tab in TABS else ""}


def _head(view: RunView, state: Mapping[str, str]) -> dict[str, Any]:
    site, run = view.site, view.run
    task = run.task
    attempts = chain(site.workspace.store.tasks, task)
    study = None if task.study is None else site.workspace.store.tasks.get_all([task.study]).get(task.study)
    return {
        "run": run,
        "task": task,
        "state": state,
        "abandoned": run.is_abandoned,
        "reason": run.reason if run.status not in (Status.RUNNING, Status.COMPLETED) or len(attempts) > 1 else None,
        "attempts": attempts,
        "study": study,
        "origin_label": site.label_of(task.cloned_from),
        "rerun_label": site.label_of(task.rerun_of),
        "parent_label": site.label_of(task.parent),
        "mlflow": site.mlflow_page(task),
        "can": _possible(run),
    }


def _possible(run: Run) -> set[str]:
    """The actions that make sense now; trials are resumed with their study."""
    task, status = run.task, run.status
    if task.parent is not None:
        return set()
    removal = {"delete"} if task.study is None else set()  # a trial goes with its study
    if task.archived_at is not None:
        return {"restore"} | removal
    kept = {"archive"} | removal
    if status is Status.DRAFT:
        return {"submit"} | kept
    if not status.finished and not run.is_abandoned:
        return {"abort"}
    found = {"rerun"} | (kept if status.finished else set())
    if status is not Status.COMPLETED:
        found |= {"rerun-failed"} | ({"resume"} if task.study is None else set())
    return found | ({"abort"} if not status.finished else set())


def _list(view: RunView, state: Mapping[str, str]) -> dict[str, Any]:
    site, task = view.site, view.run.task
    hidden = task.archived_at is not None  # the list is of its like
    where = TaskFilter(kind=Kind.PIPELINE, project=task.project, pipeline=task.pipeline, top=True, archived=hidden)
    tasks = site.workspace.store.tasks.list(where, limit=_LISTED)
    rows = rows_of(site, tasks)
    return {
        "task": task,
        "state": state,
        "rows": rows,
        "is_listed": any(row.task.id == task.id for row in rows),
        "total": site.workspace.store.overview.count(where),
    }


def _center(view: RunView, state: Mapping[str, str]) -> dict[str, Any]:
    run, graph = view.run, view.graph
    shown = state["view"] or ("steps" if len(graph.nodes) > MANY else "graph")
    metrics: dict[str, dict[str, float]] = {}
    for (task, name), value in view.latest.items():
        metrics.setdefault(task, {})[name] = value
    return {
        "run": run,
        "task": run.task,
        "state": state,
        "view": shown,
        "graph": graph,
        "drawn": graph.drawing if shown == "graph" else None,
        "timeline": timeline_of(run, graph, view.attempts) if shown == "timeline" else None,
        "metrics": metrics,
        "accounting": view.accounting,
    }


def _inspector(view: RunView, state: Mapping[str, str]) -> dict[str, Any]:
    about = inspected_step(view, state["step"]) if state["step"] else inspected_run(view)
    return {"run": view.run, "task": view.run.task, "state": state, "about": about}


def _drawer(view: RunView, state: Mapping[str, str]) -> dict[str, Any]:
    site, run = view.site, view.run
    context: dict[str, Any] = {"run": run, "task": run.task, "state": state, "tab": state["tab"], "tabs": TABS}
    context |= {"code": None, "outputs": [], "why": (), "ended": run.status.finished, "planned": False}
    name = state["step"]
    step = view.steps.get(name) if name else None
    if not state["tab"]:
        return context
    if name and step is None:
        return {**context, "planned": True}
    if step is not None:
        context["ended"] = step.status.finished
    if state["tab"] == "code":
        sources = site.sources(run.task)
        context["code"] = sources.get(step.component if step is not None else str(run.task.pipeline))
    elif state["tab"] == "outputs":
        context["outputs"] = outputs_of(site, step.id if step is not None else run.id)
    elif state["tab"] == "why":
        context["why"] = (view.why(step),) if step is not None else run.why()
    return context


PARTS: Mapping[str, Callable[[RunView, Mapping[str, str]], dict[str, Any]]] = {
    "head": _head,
    "list": _list,
    "center": _center,
    "inspector": _inspector,
    "drawer": _drawer,
}
"""What the page consists of; each renders by itself, too."""
