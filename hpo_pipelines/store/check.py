"""Whether a store is whole: what the database itself checks, and what our tables say of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sqlalchemy import Column, Connection, and_, case, func, or_, select

from hpo_pipelines.store.records import cache_outputs, from_json
from hpo_pipelines.store.schema import artifacts, cache, events, metrics, run_numbers, snapshots, tasks
from hpo_pipelines.types import Kind, Status


def problems(connection: Connection) -> list[str]:
    """What is wrong with the store, one line each; empty if nothing is."""
    return [line for check in _CHECKS for line in check(connection)]


def _file(connection: Connection) -> Iterator[str]:
    # PostgreSQL checks its pages as it reads them, and its foreign keys always hold.
    if connection.dialect.name != "sqlite":
        return
    for (line,) in connection.exec_driver_sql("PRAGMA integrity_check"):
        if line != "ok":
            yield f"file: {line}"
    for table, rowid, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"{table}: row {rowid} names a row of {parent} that is not there"


def _references(connection: Connection) -> Iterator[str]:
    """What has no foreign key, so that it may be written in any order, must be there in the end, or was deleted."""
    gone = _deleted(connection)
    references: tuple[tuple[Column[str], Column[str]], ...] = (
        (tasks.c.snapshot, snapshots.c.digest),
        (tasks.c.cloned_from, tasks.c.id),
        (tasks.c.rerun_of, tasks.c.id),
        (tasks.c.attempt_of, tasks.c.id),
        (tasks.c.reused_from, tasks.c.id),
    )
    for column, target in references:
        there = target.table.alias()
        dangling = (
            select(tasks.c.id, column)
            .outerjoin(there, there.c[target.name] == column)
            .where(column.is_not(None), there.c[target.name].is_(None))
            .order_by(tasks.c.id)
        )
        for task, value in connection.execute(dangling):
            if value not in gone:
                yield f"task {task}: {column.name} {value} is not there"


def _deleted(connection: Connection) -> set[str]:
    return {task for (task,) in connection.execute(select(events.c.task).where(events.c.kind == "deleted"))}


def _cached_outputs(connection: Connection) -> Iterator[str]:
    recorded = select(artifacts.c.digest, artifacts.c.value_digest)
    known = {(digest, value_digest) for digest, value_digest in connection.execute(recorded)}
    for key, outputs in connection.execute(select(cache.c.key, cache.c.outputs).order_by(cache.c.key)):
        for name, digests in cache_outputs(outputs).items():
            if digests not in known:
                yield f"cache entry {key}: the artifact {digests[0]} of output {name} is not recorded"


def _times(connection: Connection) -> Iterator[str]:
    finished = tasks.c.status.in_([str(status) for status in Status if status.finished])
    wrong = or_(
        and_(finished, tasks.c.finished_at.is_(None)),
        and_(~finished, tasks.c.finished_at.is_not(None)),
        and_(tasks.c.status == str(Status.RUNNING), tasks.c.started_at.is_(None)),
    )
    columns = (tasks.c.id, tasks.c.status, tasks.c.started_at, tasks.c.finished_at)
    for task, status, started, ended in connection.execute(select(*columns).where(wrong)):
        yield f"task {task}: is {status}, started at {started}, finished at {ended}"


def _numbers(connection: Connection) -> Iterator[str]:
    behind = (
        select(tasks.c.project, tasks.c.pipeline, func.max(tasks.c.number))
        .outerjoin(
            run_numbers,
            and_(run_numbers.c.project == tasks.c.project, run_numbers.c.pipeline == tasks.c.pipeline),
        )
        .where(tasks.c.number.is_not(None))
        .group_by(tasks.c.project, tasks.c.pipeline, run_numbers.c.last)
        .having(func.max(tasks.c.number) > func.coalesce(run_numbers.c.last, 0))
    )
    for project, pipeline, number in connection.execute(behind):
        yield f"pipeline {project}/{pipeline}: run #{number} is past its counter"


def _counts(connection: Connection) -> Iterator[str]:
    top = and_(tasks.c.kind == str(Kind.PIPELINE), tasks.c.parent.is_(None))
    archived = case((tasks.c.archived_at.is_(None), 0), else_=1)
    counted = select(tasks.c.project, tasks.c.pipeline, func.count(), func.sum(archived)).where(top)
    there = {
        (project, pipeline): (count - hidden, hidden)
        for project, pipeline, count, hidden in connection.execute(counted.group_by(tasks.c.project, tasks.c.pipeline))
    }
    said = select(run_numbers.c.project, run_numbers.c.pipeline, run_numbers.c.runs, run_numbers.c.archived)
    for project, pipeline, *counts in connection.execute(said.order_by(run_numbers.c.project, run_numbers.c.pipeline)):
        runs = there.get((project, pipeline), (0, 0))
        if tuple(counts) != runs:
            yield f"pipeline {project}/{pipeline}: its counter says {_spoken(counts)}, there are {_spoken(runs)}"


def _spoken(counts: Sequence[int]) -> str:
    return f"{counts[0]} runs and {counts[1]} archived ones"


def _statuses(connection: Connection) -> Iterator[str]:
    """The events of a task lead to its status: a change without its event was never seen by any follower."""
    told: dict[str, str] = {}
    statement = select(events.c.task, events.c.kind, events.c.data).order_by(events.c.id)
    for task, kind, data in connection.execute(statement.where(events.c.kind.in_(["created", "status"]))):
        change = from_json(data)
        if kind == "status" and told.get(task) != change["from"]:
            yield f"task {task}: an event tells of {change['from']} -> {change['to']} after {told.get(task)}"
        told[task] = change["to"] if kind == "status" else change["status"]
    gone = _deleted(connection)
    for task, status in connection.execute(select(tasks.c.id, tasks.c.status).order_by(tasks.c.id)):
        if task in gone:
            yield f"task {task}: is there, but an event tells that it was deleted"
        elif told.get(task) != status:
            yield f"task {task}: is {status}, but its events lead to {told.get(task)}"


def _metrics(connection: Connection) -> Iterator[str]:
    """Every value belongs to one event, and every event has all of its values but those that another took back."""
    counted = select(metrics.c.task, func.count()).group_by(metrics.c.task)
    count = {row[0]: row[1] for row in connection.execute(counted)}
    told: dict[str, int] = {}
    statement = select(events.c.task, events.c.kind, events.c.data)
    for task, kind, data in connection.execute(statement.where(events.c.kind.in_(["metrics", "withdrawn"]))):
        said = from_json(data)
        more = said["last"] - said["first"] + 1 if kind == "metrics" else -said["values"]
        told[task] = told.get(task, 0) + more
    for task in sorted((count.keys() | told.keys()) - _deleted(connection)):
        if count.get(task, 0) != told.get(task, 0):
            yield f"task {task}: has {count.get(task, 0)} metric values, but events of {told.get(task, 0)}"


_CHECKS: tuple[Callable[[Connection], Iterator[str]], ...] = (
    _file,
    _references,
    _cached_outputs,
    _times,
    _numbers,
    _counts,
    _statuses,
    _metrics,
)
