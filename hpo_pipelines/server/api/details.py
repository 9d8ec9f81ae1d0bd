"""What hangs on a run or a step: metrics, console, artifacts, source, reasons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response, StreamingResponse

from hpo_pipelines.errors import ArtifactMissing, TaskNotFound
from hpo_pipelines.run import Run
from hpo_pipelines.runstep import RunStep
from hpo_pipelines.server.ansi import to_html
from hpo_pipelines.server.consoles import MOST, TAIL, ConsoleFiles
from hpo_pipelines.server.plainjson import LARGEST, PlainJson
from hpo_pipelines.server.security import saved_as
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.types import ArtifactRef

router = APIRouter(tags=["details"])

Offset = Annotated[int | None, Query(ge=0, le=LARGEST, description="Give what stands from this byte on.")]
Before = Annotated[int | None, Query(ge=0, le=LARGEST, description="Give the lines that end before this byte.")]
Limit = Annotated[int, Query(ge=256, le=MOST, description="Bytes at most.")]
_CHUNK = 1 << 20


# -- metrics


@router.get("/runs/{run}/metrics", response_model=dict[str, Any])
def run_metrics(site: SiteOf, run: str) -> PlainJson:
    """Every metric of a run, its steps' as ``step.name``: steps, values and times, as columns."""
    found = site.run(run)
    names = {found.id: "", **{step.id: f"{step.name}." for step in found.steps.values()}}
    return PlainJson({"items": series(site, names)})


@router.get("/runs/{run}/steps/{step}/metrics", response_model=dict[str, Any])
def step_metrics(site: SiteOf, run: str, step: str) -> PlainJson:
    """Every metric of a step."""
    return PlainJson({"items": series(site, {site.step(run, step).id: ""})})


def series(site: Site, names: dict[str, str]) -> dict[str, dict[str, list[float]]]:
    """Metric → its columns; ``names`` are prefixes by task."""
    found: dict[str, dict[str, list[float]]] = {}
    for metric in site.workspace.store.metrics.of(list(names)):
        columns = found.setdefault(names[metric.task] + metric.name, {"step": [], "value": [], "at": []})
        columns["step"].append(metric.step)
        columns["value"].append(metric.value)
        columns["at"].append(metric.at)
    return found


# -- console


@router.get("/runs/{run}/console", response_model=dict[str, Any])
def run_console(site: SiteOf, run: str, offset: Offset = None, before: Before = None, limit: Limit = TAIL) -> PlainJson:
    """What the pipeline's body printed; without an offset its end."""
    found = site.run(run)
    return _console(console_of(found), found.status.finished, offset, before, limit)


@router.get("/runs/{run}/steps/{step}/console", response_model=dict[str, Any])
def step_console(
    site: SiteOf, run: str, step: str, offset: Offset = None, before: Before = None, limit: Limit = TAIL
) -> PlainJson:
    """What a step printed, all attempts one after the other; a reused step has the console of the one that ran."""
    found = site.step(run, step)
    return _console(console_of(found), found.status.finished, offset, before, limit)


@router.get("/runs/{run}/console/download", response_class=Response)
def run_console_file(site: SiteOf, run: str) -> Response:
    """The whole console of a pipeline's body, every byte as it was written."""
    found = site.run(run)
    return _text_file(console_of(found), f"{found.label}.log")


@router.get("/runs/{run}/steps/{step}/console/download", response_class=Response)
def step_console_file(site: SiteOf, run: str, step: str) -> Response:
    """The whole console of a step."""
    found = site.step(run, step)
    return _text_file(console_of(found), f"{step}.log")


def console_of(thing: Run | RunStep) -> ConsoleFiles:
    """The console of a run's body, or of a step."""
    if isinstance(thing, RunStep):
        return ConsoleFiles(thing.console_paths())
    return ConsoleFiles([thing.console_path()])


def _console(files: ConsoleFiles, ended: bool, offset: int | None, before: int | None, limit: int) -> PlainJson:
    part = files.part(offset, before=before, limit=limit, whole=ended)
    return PlainJson({**vars(part), "html": to_html(part.text), "ended": ended and part.end >= part.size})


def _text_file(files: ConsoleFiles, name: str) -> Response:
    def chunks() -> Iterator[bytes]:
        for start in range(0, files.size, _CHUNK):
            yield files.read(start, start + _CHUNK)

    return StreamingResponse(chunks(), media_type="text/plain; charset=utf-8", headers=saved_as(name))


# -- artifacts


@router.get("/runs/{run}/artifacts", response_model=dict[str, Any])
def artifacts(site: SiteOf, run: str) -> PlainJson:
    """The outputs of a run and of its steps, with a preview of each."""
    found = site.run(run)
    names = {found.id: None, **{step.id: step.name for step in found.steps.values()}}
    outputs = site.workspace.store.tasks.outputs_of(list(names))
    items = [
        {"step": names[task], "name": name, **_described(ref)}
        for task, refs in outputs.items()
        for name, ref in refs.items()
    ]
    return PlainJson({"items": items})


@router.get("/artifacts/{digest}", response_model=dict[str, Any])
def artifact(site: SiteOf, digest: str) -> PlainJson:
    """One artifact: format, size, preview, and the tasks whose output it is."""
    ref = _ref(site, digest)
    holders = site.workspace.store.artifacts.holders(digest)
    there = site.workspace.artifacts.exists(ref)
    return PlainJson(
        {**_described(ref), "there": there, "holders": [{"task": task, "output": name} for task, name in holders]}
    )


@router.get("/artifacts/{digest}/content", response_class=Response)
def artifact_content(site: SiteOf, digest: str) -> Response:
    """The stored bytes, to be saved: never shown inside our pages."""
    ref = _ref(site, digest)
    place = site.workspace.artifacts
    if not place.exists(ref):
        raise ArtifactMissing(f"artifact {digest} is no longer there. Run the step that made it again.")

    def chunks() -> Iterator[bytes]:
        with place.open(ref) as file:
            while data := file.read(_CHUNK):
                yield data

    headers = {**saved_as(f"{digest[:12]}.{ref.format}"), "Content-Length": str(ref.size)}
    return StreamingResponse(chunks(), media_type="application/octet-stream", headers=headers)


def _ref(site: Site, digest: str) -> ArtifactRef:
    ref = site.workspace.store.artifacts.get(digest)
    if ref is None:
        raise TaskNotFound(f"there is no artifact {digest!r}; list those of a run at /api/v1/runs/RUN/artifacts.")
    return ref


def _described(ref: ArtifactRef) -> dict[str, Any]:
    return {"digest": ref.digest, "format": ref.format, "size": ref.size, "preview": dict(ref.preview)}


# -- code and reasons


@router.get("/runs/{run}/source", response_model=dict[str, Any])
def source(site: SiteOf, run: str) -> PlainJson:
    """The code that a run was recorded with, as text: of each component, and of the pipeline under its own name."""
    found = site.run(run)
    content = site.content(found.task)
    return PlainJson(
        {
            "snapshot": found.task.snapshot,
            "entry": content.entry,
            "python": content.python,
            "packages": dict(content.packages),
            "sources": dict(site.sources(found.task)),
        }
    )


@router.get("/runs/{run}/steps/{step}/source", response_model=dict[str, Any])
def step_source(site: SiteOf, run: str, step: str) -> PlainJson:
    """The source of a step's component."""
    found = site.step(run, step)
    content = site.content(site.run(run).task)
    return PlainJson({"component": found.component, "source": content.components.get(found.component)})


@router.get("/runs/{run}/why", response_model=dict[str, Any])
def run_why(site: SiteOf, run: str) -> PlainJson:
    """Why each step was reused, or ran, or waits."""
    return PlainJson({"items": [why.record() for why in site.run(run).why()]})


@router.get("/runs/{run}/steps/{step}/why", response_model=dict[str, Any])
def step_why(site: SiteOf, run: str, step: str) -> PlainJson:
    """Why one step stands where it stands."""
    return PlainJson(site.step(run, step).why().record())
