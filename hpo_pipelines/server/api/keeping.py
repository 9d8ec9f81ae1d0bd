"""Archive, restore and delete: runs, studies with their trials, and pipelines with all of their runs and studies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends
from pydantic import BaseModel, ConfigDict, Field

from hpo_pipelines.description import described
from hpo_pipelines.remote import wire
from hpo_pipelines.server.api.fresh import fresh_pipeline, fresh_run, fresh_study
from hpo_pipelines.server.plainjson import PlainJson
from hpo_pipelines.server.site import Site, SiteOf
from hpo_pipelines.server.studies import summary
from hpo_pipelines.study.keeping import Deletion, archive, delete, members, removal, restore
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind

MOST = 10_000
"""Of one request."""

router = APIRouter(tags=["keeping"])
_run = APIRouter(dependencies=[Depends(fresh_run)])
_study = APIRouter(dependencies=[Depends(fresh_study)])
_pipeline = APIRouter(dependencies=[Depends(fresh_pipeline)])


class Tasks(BaseModel):
    """Runs and studies."""

    model_config = ConfigDict(extra="forbid")

    tasks: list[str] = Field(min_length=1, max_length=MOST, description="Their ids.")


class Doomed(Tasks):
    """Runs and studies that go, or would."""

    dry_run: bool = Field(default=False, description="Delete nothing, and say what would go.")


@_run.post("/runs/{run}/archive", response_model=dict[str, Any])
def archive_run(site: SiteOf, run: str) -> PlainJson:
    """Leave a run out of lists; nothing else changes, and MLflow hides it. 409 for one that waits or is under way."""
    return PlainJson(described(site.run(run).archive(), steps=False))


@_run.post("/runs/{run}/restore", response_model=dict[str, Any])
def restore_run(site: SiteOf, run: str) -> PlainJson:
    """Have an archived run listed again."""
    return PlainJson(described(site.run(run).restore(), steps=False))


@_run.delete("/runs/{run}", response_model=dict[str, Any])
def delete_run(site: SiteOf, run: str) -> PlainJson:
    """Delete a run with its steps, metrics, consoles, and the artifacts that nobody else needs; in MLflow, too.

    What other runs have reused stays. Files are swept soon after, those less than an hour old by a later sweep. 409 for
    a run that waits or is under way, for a single trial, and for one that a study's trials are clones of.
    """
    return PlainJson(deleted(site, [site.run(run).id]))


@_study.post("/studies/{study}/archive", response_model=dict[str, Any])
def archive_study(site: SiteOf, study: str) -> PlainJson:
    """Leave a study and its trials out of lists; nothing else changes, and MLflow hides them. 409 for one under way."""
    found = site.study(study)
    archive(site.workspace, found.id)
    return PlainJson(summary(site, found.task))


@_study.post("/studies/{study}/restore", response_model=dict[str, Any])
def restore_study(site: SiteOf, study: str) -> PlainJson:
    """Have an archived study and its trials listed again."""
    found = site.study(study)
    restore(site.workspace, found.id)
    return PlainJson(summary(site, found.task))


@_study.delete("/studies/{study}", response_model=dict[str, Any])
def delete_study(site: SiteOf, study: str) -> PlainJson:
    """Delete a study with its trials, and the artifacts that nobody else needs; in MLflow and in Optuna, too.

    What other runs have reused stays, and so does the run that it was started over. Files are swept as those of runs
    are. 409 for a study that is under way.
    """
    return PlainJson(deleted(site, [site.study(study).id]))


@_pipeline.post("/pipelines/{project}/{pipeline}/archive", response_model=dict[str, Any])
def archive_pipeline(site: SiteOf, project: str, pipeline: str) -> PlainJson:
    """Archive every run and study of a pipeline, which is no longer listed until it has a run that is not archived."""
    return PlainJson(archived(site, project, pipeline))


@_pipeline.post("/pipelines/{project}/{pipeline}/restore", response_model=dict[str, Any])
def restore_pipeline(site: SiteOf, project: str, pipeline: str) -> PlainJson:
    """Restore every archived run and study of a pipeline."""
    return PlainJson(restored(site, project, pipeline))


@_pipeline.delete("/pipelines/{project}/{pipeline}", response_model=dict[str, Any])
def delete_pipeline(site: SiteOf, project: str, pipeline: str) -> PlainJson:
    """Delete every run and study of a pipeline, archived ones too. 409 while one of them waits or is under way."""
    return PlainJson(deleted(site, members(site.workspace.store, project, pipeline)))


@router.post("/records/archive", response_model=dict[str, Any])
def archive_tasks(site: SiteOf, wanted: Annotated[Tasks, Body()]) -> PlainJson:
    """Archive runs, and studies with their trials, all or none of them; gives the records of those that were listed."""
    return PlainJson({"items": [wire.task_record(task) for task in archive(site.workspace, *wanted.tasks)]})


@router.post("/records/restore", response_model=dict[str, Any])
def restore_tasks(site: SiteOf, wanted: Annotated[Tasks, Body()]) -> PlainJson:
    """Have archived runs and studies listed again; gives the records of those that were archived."""
    return PlainJson({"items": [wire.task_record(task) for task in restore(site.workspace, *wanted.tasks)]})


@router.post("/records/delete", response_model=dict[str, Any])
def delete_tasks(site: SiteOf, wanted: Annotated[Doomed, Body()]) -> PlainJson:
    """Delete runs, and studies with their trials; what is refused is refused before anything goes."""
    if wanted.dry_run:
        return PlainJson(_said(removal(site.workspace, *wanted.tasks)))
    return PlainJson(deleted(site, wanted.tasks))


router.include_router(_run)
router.include_router(_study)
router.include_router(_pipeline)


# -- shared with the pages


def archived(site: Site, project: str, pipeline: str) -> dict[str, Any]:
    """Archive a pipeline; what was listed until now."""
    return _named(archive(site.workspace, *members(site.workspace.store, project, pipeline)))


def restored(site: Site, project: str, pipeline: str) -> dict[str, Any]:
    """Restore a pipeline; what was archived until now."""
    return _named(restore(site.workspace, *members(site.workspace.store, project, pipeline)))


def deleted(site: Site, ids: Sequence[str]) -> dict[str, Any]:
    """Delete runs and studies, and say what went; files that nobody needs any more are swept soon."""
    done = delete(site.workspace, *ids)
    site.sweeping.soon()
    return _said(done)


def _said(deletion: Deletion) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(deletion).items()}


def _named(changed: Sequence[Task]) -> dict[str, Any]:
    return {
        "studies": [task.name for task in changed if task.kind is Kind.STUDY],
        "runs": [task.label for task in changed if task.kind is Kind.PIPELINE],
    }
