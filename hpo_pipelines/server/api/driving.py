"""Studies that the server drives: start one over a run or over recorded code, go on with it, stop it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import FileResponse

from hpo_pipelines.errors import ParameterError, StudyError
from hpo_pipelines.run import Run
from hpo_pipelines.server.api.submission import entry_of
from hpo_pipelines.server.plainjson import PlainJson
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.study import Study
from hpo_pipelines.study.basis import Recorded
from hpo_pipelines.study.options import Options
from hpo_pipelines.study.resumption import begin_again
from hpo_pipelines.study.start import begin

router = APIRouter(prefix="/records/studies", tags=["records"])

_MOST = 2**31 - 1
Count = Annotated[int | None, Field(ge=1, le=_MOST)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StudyRequest(_Strict):
    """A study over clones of a run, or over recorded code with its defaults. The same name goes on with a study."""

    run: str | None = Field(default=None, description="What is tuned: a run, by its id or name,")
    snapshot: str | None = Field(default=None, description="or recorded code, by its digest.")
    git: dict[str, Any] | None = Field(default=None, description="Where that code came from.")
    space: dict[str, Any] = Field(examples=[{"lr": {"low": 1e-5, "high": 0.1, "log": True}}])
    objective: str | list[str] | None = Field(
        default=None, description="`step.metric`, or a key of what is returned; several for a Pareto front."
    )
    direction: str | list[str] = "maximize"
    constraints: str | list[str] = Field(default=[], examples=[["fit.memory <= 8e9"]])
    max_compute: float | str | None = None
    target: float | None = None
    plateau: Count = None
    prune_on: str | list[str] | None = None
    repeats: dict[str, Any] | None = Field(default=None, examples=[{"seed": 5}])
    fidelity: dict[str, Any] | None = Field(
        default=None, examples=[{"param": "sample_rows", "min": 1000, "max": 100000, "eta": 3}]
    )
    enqueue: list[dict[str, Any]] = Field(default=[], description="Points that go first.")
    from_study: str | list[str] | None = Field(default=None, description="Studies whose trials it begins with.")
    from_runs: str | list[str] | None = Field(default=None, description="Past runs that it begins with as trials.")
    n_trials: Count = None
    timeout: float | str | None = Field(default=None, description='Seconds, or text such as "2h".')
    n_jobs: int = Field(default=1, ge=1, le=1000)
    sampler: str | dict[str, Any] | None = None
    pruner: str | None = None
    seed: int | None = Field(default=None, ge=0, le=2**32 - 1)
    notify: str | list[str] | None = Field(default=None, description="The webhooks of the server to be told.")
    name: str | None = Field(default=None, min_length=1)
    executor: str | None = Field(default=None, pattern="^(inline|local|ray)$")
    queue: str | None = Field(default=None, description="Have agents of this queue drive the trials.")
    max_failures: Count = None
    allow_changes: bool = False
    reuse: bool = True


class StudyResume(_Strict):
    """Limits in the place of those that were asked for."""

    n_trials: Count = None
    timeout: float | str | None = None
    n_jobs: Count = None
    max_failures: Count = None
    max_compute: float | str | None = None
    target: float | None = None
    plateau: Count = None


class StudyStop(_Strict):
    abort: bool = Field(default=False, description="Also stop the trials under way.")


@router.post("", status_code=201, response_model=dict[str, Any])
def start(site: SiteOf, wanted: Annotated[StudyRequest, Body()]) -> PlainJson:
    """Start a study, or go on with the one of this name; it is driven here. 409 where somebody drives it already."""
    target = _target(site, wanted)
    options = Options.among(wanted.model_dump())
    study = site.drives.start(lambda: begin(site.workspace, target, wanted.space, options))
    return PlainJson(_told(study), status_code=201)


@router.post("/{study}/resume", status_code=202, response_model=dict[str, Any])
def resume(site: SiteOf, study: str, wanted: Annotated[StudyResume | None, Body()] = None) -> PlainJson:
    """Go on with a study as it was asked for last. 409 where all of its trials are there, or somebody drives it."""
    found, limits = site.study(study), wanted.model_dump() if wanted else {}
    site.drives.start(lambda: begin_again(site.workspace, found.task, **limits))
    return PlainJson(_told(found), status_code=202)


@router.post("/{study}/stop", status_code=202, response_model=dict[str, Any])
def stop(site: SiteOf, study: str, wanted: Annotated[StudyStop | None, Body()] = None) -> PlainJson:
    """Begin no more trials of a study that is driven here. 409 for any other."""
    found = site.study(study)
    site.drives.stop(found, abort=wanted is not None and wanted.abort)
    return PlainJson(_told(found), status_code=202)


@router.get("/{study}/progress", response_model=dict[str, Any])
def progress(site: SiteOf, study: str) -> PlainJson:
    """How far a study is that is, or was, driven here. 409 for any other."""
    return PlainJson(site.drives.progress(site.study(study)))


@router.get("/{study}/journal", response_class=FileResponse)
def journal(site: SiteOf, study: str) -> FileResponse:
    """Optuna's journal of a study, for its own plots and analyses. 409 for a study that is kept elsewhere."""
    found = site.study(study)
    path = site.workspace.home / "optuna" / f"{found.id}.journal"
    if not path.is_file():
        raise StudyError(f"study {found.name!r} has no journal here: Optuna's side of it is in another storage.")
    return FileResponse(path, media_type="application/octet-stream")


def _told(study: Study) -> dict[str, Any]:
    return {"id": study.id, "name": study.name, "status": str(study.status)}


def _target(site: Site, wanted: StudyRequest) -> Run | Recorded:
    if (wanted.run is None) == (wanted.snapshot is None):
        raise ParameterError("a study is of one run or of recorded code: give either run or snapshot.")
    if wanted.run is not None:
        return site.run(wanted.run)
    digest = str(wanted.snapshot)
    return Recorded(entry_of(site, digest), digest, wanted.git)
