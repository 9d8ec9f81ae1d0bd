"""Records as they are stored, for programs: what the Python API and the command line read with ``HPO_SERVER``."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from hpo_pipelines.errors import ParameterError, TaskNotFound
from hpo_pipelines.owner import is_gone
from hpo_pipelines.parameters.shapes import closest
from hpo_pipelines.remote import wire
from hpo_pipelines.server.consoles import MOST, ConsoleFiles
from hpo_pipelines.server.plainjson import PlainJson
from hpo_pipelines.server.site import SiteOf
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.types import Kind, Status

router = APIRouter(prefix="/records", tags=["records"])

MOST_IDS = 200
"""Of one request."""

Ids = Annotated[list[str], Query(max_length=MOST_IDS, description="Ids of tasks.")]
Runs = Annotated[list[str], Query(max_length=MOST_IDS, description="Ids of runs.")]
Statuses = Annotated[list[str], Query(max_length=20, description="Any of these.")]
Records = dict[str, Any]


# -- tasks


@router.get("/tasks", response_model=Records)
def tasks(
    site: SiteOf,
    *,
    id: Ids = [],  # noqa: B006
    kind: Kind | None = None,
    name: str | None = None,
    project: str | None = None,
    pipeline: str | None = None,
    status: Statuses = [],  # noqa: B006
    parent: str | None = None,
    top: bool = False,
    study: Annotated[str | None, Query(description="Its id.")] = None,
    trial: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None,
    tag: str | None = None,
    archived: bool | None = None,
    attempt_of: Annotated[str | None, Query(description="The id of the attempt before it.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    before: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> PlainJson:
    """Runs, steps and studies, newest first; with ``id`` those, in any order."""
    store = site.workspace.store
    if id:
        return PlainJson({"items": [wire.task_record(task) for task in store.tasks.get_all(id).values()], "next": None})
    where = TaskFilter(kind, name, project, pipeline, _statuses(status), parent, top, study, trial, tag, archived)
    where = replace(where, attempt_of=attempt_of)
    found = store.tasks.list(where, limit=limit, before=before)
    following = found[-1].id if len(found) == limit else None
    return PlainJson({"items": [wire.task_record(task) for task in found], "next": following})


def _statuses(words: list[str]) -> list[Status] | None:
    for word in words:
        if word not in list(Status):
            raise ParameterError(f"status={word!r}: there is no such status; {closest(word, [*Status])}")
    return [Status(word) for word in words] or None


@router.get("/called", response_model=Records)
def called(site: SiteOf, reference: str) -> PlainJson:
    """The task of this id, or of this name: ``churn#48``, ``project/churn#48``, ``churn``, a study."""
    return PlainJson(wire.task_record(site.workspace.store.tasks.find(reference)))


@router.get("/tasks/{task}", response_model=Records)
def task(site: SiteOf, task: str) -> PlainJson:
    """One task by its id."""
    return PlainJson(wire.task_record(site.workspace.store.tasks.get(task)))


@router.get("/tasks/{task}/ancestry", response_model=Records)
def ancestry(site: SiteOf, task: str) -> PlainJson:
    """What a task was cloned from, what that was, and so on, nearest first."""
    return PlainJson({"items": [wire.task_record(each) for each in site.workspace.store.tasks.ancestry(task)]})


@router.get("/tasks/{task}/accounting", response_model=Records)
def accounting(site: SiteOf, task: str) -> PlainJson:
    """Seconds that a run or a study has cost, wasted, and saved by reuse."""
    sums = site.workspace.accounting(site.workspace.store.tasks.get(task))
    return PlainJson({**vars(sums), "wasted_by": dict(sums.wasted_by)})


@router.get("/tasks/{task}/why", response_model=Records)
def why(site: SiteOf, task: str) -> PlainJson:
    """Why a step was reused, or ran, or waits. 404 for what is no step."""
    found = site.workspace.store.tasks.get(task)
    if found.kind is not Kind.STEP:
        raise TaskNotFound(f"{found.label} is no step; ask for the reasons of a run at /runs/{task}/why.")
    return PlainJson(site.workspace.why(found).record())


@router.get("/children", response_model=Records)
def children(site: SiteOf, run: Runs) -> PlainJson:
    """The steps of runs and the runs inside them, by run and position."""
    found = site.workspace.store.tasks.children_of(run)
    return PlainJson({"items": [wire.task_record(task) for each in found.values() for task in each]})


@router.get("/executions", response_model=Records)
def executions(
    site: SiteOf,
    *,
    project: str,
    pipeline: str,
    before: Annotated[str, Query(description="Only runs with ids before this one, which need not be one.")],
    runs: Annotated[int, Query(ge=1, le=MOST_IDS)] = 16,
) -> PlainJson:
    """The steps that the newest runs of a pipeline executed under a key, not reused: id and component of each."""
    return PlainJson(vars(site.workspace.store.overview.executions(project, pipeline, before=before, runs=runs)))


@router.get("/edges", response_model=Records)
def edges(site: SiteOf, run: str) -> PlainJson:
    """The edges into the steps of a run, in the order of the steps."""
    return PlainJson({"items": [vars(edge) for edge in site.workspace.store.tasks.edges(run)]})


# -- what hangs on tasks


@router.get("/outputs", response_model=Records)
def outputs(site: SiteOf, task: Ids) -> PlainJson:
    """By task its outputs in their order; the bytes of small ones are in ``inline`` (base64)."""
    found = site.workspace.store.tasks.outputs_of(task)
    return PlainJson({"items": {id: wire.refs_record(refs) for id, refs in found.items()}})


@router.get("/attempts", response_model=Records)
def attempts(site: SiteOf, task: Ids) -> PlainJson:
    """The executions of steps, by task and number."""
    found = site.workspace.store.tasks.attempts_of(task)
    return PlainJson({"items": [wire.attempt_record(one) for each in found.values() for one in each]})


@router.get("/metrics", response_model=Records)
def metrics(
    site: SiteOf, task: Ids, latest: Annotated[bool, Query(description="Only the last of each name.")] = False
) -> PlainJson:
    """What tasks have reported, in the order in which it was recorded."""
    store = site.workspace.store
    if latest:
        found = [{"task": id, "name": name, "value": value} for (id, name), value in store.metrics.latest(task).items()]
        return PlainJson({"items": found})
    return PlainJson({"items": [vars(metric) for metric in store.metrics.of(task)]})


@router.get("/stories", response_model=Records)
def stories(site: SiteOf, task: Ids) -> PlainJson:
    """The events of tasks, by task, oldest first."""
    found = site.workspace.store.events.stories(task)
    return PlainJson({"items": [vars(event) for each in found.values() for event in each]})


# -- consoles


@router.get("/runs/{run}/consoles", response_model=Records)
def consoles(site: SiteOf, run: str) -> PlainJson:
    """How many bytes each console of a run has by now: ``controller`` of the body, ``fit.2`` of a step's attempt."""
    kept = site.workspace.consoles
    kept.fetch(site.workspace.store.tasks.get(run).id)
    sizes = {path.name.removesuffix(".log"): path.stat().st_size for path in sorted(kept.folder(run).glob("*.log"))}
    return PlainJson({"sizes": sizes})


@router.get("/runs/{run}/consoles/{name}", response_class=Response)
def console(site: SiteOf, run: str, name: str, offset: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0) -> Response:
    """What a console has from a byte on, as it was written; a megabyte at most."""
    kept = site.workspace.consoles
    path = kept.path(site.workspace.store.tasks.get(run).id, name)
    if path.parent != kept.folder(run) or not path.is_file():
        raise TaskNotFound(f"run {run} has no console {name!r}; ask for its consoles.")
    return Response(ConsoleFiles([path]).read(offset, offset + MOST), media_type="application/octet-stream")


# -- code, reuse, leases


@router.get("/outcomes", response_model=Records)
def outcomes(
    site: SiteOf,
    key: str | None = None,
    component: str | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 10,
) -> PlainJson:
    """The outcome under a key, or the newest ones of a component."""
    cache = site.workspace.store.cache
    if key is not None:
        entry = cache.lookup(key)
        found = [] if entry is None else [entry]
    elif component is not None:
        found = cache.latest(component, limit)
    else:
        raise ParameterError("outcomes are asked for by key, or by component: give one of them.")
    return PlainJson({"items": [wire.outcome_record(each) for each in found]})


@router.get("/snapshots/{digest}", response_model=Records)
def snapshot(site: SiteOf, digest: str) -> PlainJson:
    """The recorded code with this digest; its bytes are those of the artifact ``content``."""
    found = site.workspace.store.snapshots.get(digest)
    if found is None:
        raise TaskNotFound(f"no code with the digest {digest!r} is recorded here.")
    return PlainJson(wire.snapshot_record(found))


@router.get("/leases", response_model=Records)
def leases(site: SiteOf, prefix: Annotated[str, Query(max_length=200, pattern="^[!-~]+$")]) -> PlainJson:
    """Who lives with what whose name begins like this, on the clock of the store."""
    store = site.workspace.store
    found = [vars(lease) for lease in store.leases.named(prefix) if not is_gone(lease.owner)]
    return PlainJson({"items": found, "now": store.now()})
