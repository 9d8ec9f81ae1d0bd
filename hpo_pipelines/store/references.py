"""From what a person writes to the task that is meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from sqlalchemy import bindparam, literal_column, select

from hpo_pipelines.errors import TaskNotFound
from hpo_pipelines.store.driver import Rows
from hpo_pipelines.store.records import task_of
from hpo_pipelines.store.schema import run_numbers, tasks
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind

# Ids are 26 characters of 5 bits for 128 bits, so the first is below 8: no Python name is taken for one.
_ID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{7,25}", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:(?P<project>.+)/)?(?P<name>[^/#]+?)\s*#\s*(?P<number>\d{1,9})")
_LISTED = 10

_BETWEEN = (
    select(tasks)
    .where(tasks.c.id >= bindparam("low"), tasks.c.id <= bindparam("high"))
    .order_by(tasks.c.id)
    .limit(_LISTED)
)
_PROJECTS = (
    select(run_numbers.c.project, run_numbers.c.last)
    .where(run_numbers.c.pipeline == bindparam("name"))
    .order_by(run_numbers.c.project)
)
_NUMBER = select(tasks).where(
    tasks.c.project == bindparam("in_project"),
    tasks.c.pipeline == bindparam("name"),
    tasks.c.number == bindparam("run"),
)
_LATEST = (
    select(tasks)
    .where(
        tasks.c.project == bindparam("in_project"),
        tasks.c.pipeline == bindparam("name"),
        tasks.c.number.is_not(None),
    )
    .order_by(tasks.c.number.desc())
    .limit(1)
)
_is_study = tasks.c.kind == literal_column("'study'")
_STUDIES = select(tasks).where(_is_study, tasks.c.name == bindparam("study_name")).order_by(tasks.c.project)
_PIPELINE_NAMES = select(run_numbers.c.pipeline).distinct().limit(1000)
_STUDY_NAMES = select(tasks.c.name).where(_is_study).order_by(tasks.c.id.desc()).limit(1000)


def find(rows: Rows, reference: str) -> Task:
    """The one task that ``reference`` means; see :meth:`hpo_pipelines.store.tasks.Tasks.find`."""
    reference = reference.strip()
    for candidates in (_by_id, _by_number, _by_name):
        found = candidates(rows, reference)
        if len(found) == 1:
            return found[0]
        if found:
            raise TaskNotFound(
                f"{reference!r} could mean any of {len(found)} tasks; write one of:\n"
                + "\n".join(f"  {_described(task)}" for task in found)
            )
    raise not_found(rows, reference)


def _by_id(rows: Rows, reference: str) -> list[Task]:
    if not _ID.fullmatch(reference):
        return []
    low, high = reference.upper().ljust(26, "0"), reference.upper().ljust(26, "Z")
    return [task_of(row) for row in rows(_BETWEEN, {"low": low, "high": high})]


def _by_number(rows: Rows, reference: str) -> list[Task]:
    match = _NUMBERED.fullmatch(reference)
    if match is None:
        return []
    name, number = match["name"], int(match["number"])
    return [
        task_of(row)
        for project in _projects(rows, name, match["project"])
        for row in rows(_NUMBER, {"in_project": project, "name": name, "run": number})
    ]


def _by_name(rows: Rows, reference: str) -> list[Task]:
    """Of each project the latest run of the pipeline of this name, and every study of this name."""
    only, _, name = reference.rpartition("/")
    found = [
        task_of(row)
        for project in _projects(rows, name, only or None)
        for row in rows(_LATEST, {"in_project": project, "name": name})
    ]
    for study_name, project in {(reference, None), (name, only or None)}:
        studies = [task_of(row) for row in rows(_STUDIES, {"study_name": study_name})]
        found += [study for study in studies if project in (None, study.project)]
    return found


def _projects(rows: Rows, pipeline: str, only: str | None) -> list[str]:
    known = [project for project, _ in rows(_PROJECTS, {"name": pipeline})]
    return known if only is None else [project for project in known if project == only]


def _described(task: Task) -> str:
    kind = "study " if task.kind is Kind.STUDY else ""
    return f"{task.id}  {kind}{task.project}/{task.label}"


def not_found(rows: Rows, reference: str) -> TaskNotFound:
    """The error for a ``reference`` that means nothing, with what is near."""
    name = reference.rpartition("/")[2].partition("#")[0].strip()
    runs = rows(_PROJECTS, {"name": name}) if "#" in reference else []
    if runs:
        near = [f"{project}/{name}#{last}" for project, last in runs]
        return TaskNotFound(f"There is no run {reference!r}. The latest: {_listed(near)}.")
    names = [row[0] for statement in (_PIPELINE_NAMES, _STUDY_NAMES) for row in rows(statement, {})]
    near = difflib.get_close_matches(name, sorted(set(names)), n=3)
    cure = f"Did you mean {_listed(near)}?" if near else "Give an id or its first 8 characters, churn#48, or a name."
    return TaskNotFound(f"There is no task {reference!r}. {cure}")


def _listed(names: Sequence[str]) -> str:
    return " or ".join(names)
