"""A store of many runs that nobody ran, written in bulk into the store's own tables: what lists are measured with.

Of a hundred runs sixty are of one pipeline and the rest of nine others, in four projects; each has four steps, two of
them reused from an earlier run in nine of ten, an attempt and an output of each step that ran, two metrics, an outcome
of what completed, the edges between the steps, and the events of a run that was created, started and ended.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Table, create_engine, func, insert, select
from sqlalchemy.pool import NullPool

from benchmarks.trials import SPACE, STEPS, crowd, score
from hpo_pipelines import Workspace
from hpo_pipelines.store.records import task_row, to_json
from hpo_pipelines.store.schema import artifacts, attempts, cache, edges, events, metrics, outputs, run_numbers, tasks
from hpo_pipelines.task import Attempt, Edge, Metric, Task
from hpo_pipelines.types import Kind, Status, new_id

AT_ONCE = 5_000
PIPELINES = (
    ("benchmarks", "crowd", 60), ("benchmarks", "grown", 12), ("retention", "churn", 8), ("retention", "upsell", 5),
    ("fraud", "score-daily", 5), ("fraud", "score-weekly", 4), ("fraud", "audit", 2), ("vision", "segment", 2),
    ("vision", "detect", 1), ("vision", "track", 1),
)  # fmt: skip
"""Project, pipeline, and how many of a hundred runs are of it."""
_STATUSES = (*[Status.COMPLETED] * 90, *[Status.FAILED] * 6, *[Status.ABORTED] * 4)
_ARTIFACTS = 1_000
_BEGAN = 1_750_000_000.0

Rows = dict[Table, list[dict[str, Any]]]


def many_runs(workspace: Workspace, count: int, *, seed: int = 0) -> None:
    """Record ``count`` runs of four steps each; the store must have none of these pipelines yet."""
    draw = random.Random(seed)
    base = workspace.record_of(crowd, {})
    engine = create_engine(workspace.store.url, poolclass=NullPool)
    with engine.begin() as connection:
        write(connection, {artifacts: [_artifact(number) for number in range(_ARTIFACTS)]})
        for begin in range(0, count, AT_ONCE):
            write(connection, _some(base, range(begin, min(count, begin + AT_ONCE)), draw))
        counted = select(tasks.c.project, tasks.c.pipeline, func.count()).where(tasks.c.kind == str(Kind.PIPELINE))
        runs = connection.execute(counted.group_by(tasks.c.project, tasks.c.pipeline)).all()
        ours = {(project, name) for project, name, _ in PIPELINES}
        last = [
            {"project": project, "pipeline": name, "last": count, "runs": number, "archived": 0}
            for project, name, number in runs
            if (project, name) in ours
        ]
        write(connection, {run_numbers: last})
    if engine.dialect.name == "postgresql":
        # As its autovacuum does within a minute; SQLite has nothing that would do it.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()


def long_run(workspace: Workspace, count: int, *, width: int = 10) -> Task:
    """Record a completed run of ``count`` steps in ranks of ``width``, each using two of the rank before."""
    run = replace(
        workspace.record_of(crowd, {}), id=new_id(), name="ranks", pipeline="ranks", status=Status.COMPLETED,
        created_at=_BEGAN, started_at=_BEGAN, finished_at=_BEGAN + count,
    )  # fmt: skip
    steps = [_ranked(run, position) for position in range(count)]
    used = [
        Edge(steps[source].id, step.id, "data", "value", "data")
        for position, step in enumerate(steps)
        for source in sorted({position - width, position - width - position % 3})
        if source >= 0
    ]
    found = workspace.store.tasks.create_many([run, *steps], used)[0]
    with workspace.store.transaction():
        for step in steps:
            workspace.store.tasks.finish_attempt(Attempt(step.id, 1, step.status, _BEGAN, _BEGAN + 1.0))
    workspace.store.metrics.add([Metric(step.id, "loss", 1.0 / (step.position or 1), 0, _BEGAN) for step in steps])
    return found


def _ranked(run: Task, position: int) -> Task:
    at = _BEGAN + position
    return Task(
        new_id(), Kind.STEP, f"part_{position}", run.project, status=Status.COMPLETED, parent=run.id,
        pipeline=run.pipeline, snapshot=run.snapshot, component=f"part_{position}", position=position,
        key=f"key {position} of {run.id}", created_at=at, started_at=at, finished_at=at + 1.0,
    )  # fmt: skip


def write(connection: Connection, rows: Rows) -> None:
    """Insert ``rows``, table by table in their order."""
    for table, some in rows.items():
        if not some:
            continue
        if connection.dialect.name == "postgresql":
            _copy(connection, table, some)
        else:
            connection.execute(insert(table), some)


def _copy(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    driver: Any = connection.connection.driver_connection
    names = ", ".join(rows[0])
    with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(tuple(row.values()))


def _some(base: Task, numbers: range, draw: random.Random) -> Rows:
    rows: Rows = {table: [] for table in (tasks, edges, attempts, outputs, metrics, cache, events)}
    kept: dict[str, str] = {}
    names = [(project, name) for project, name, _ in PIPELINES]
    chosen = draw.choices(names, weights=[weight for *_, weight in PIPELINES], k=len(numbers))
    for number, (project, name) in zip(numbers, chosen, strict=True):
        run = _run(base, project, name, number, draw)
        steps = list(_steps(run, kept, draw))
        for task in (run, *steps):
            rows[tasks].append(task_row(task))
            rows[events].extend(_story(task))
        for position, step in enumerate(steps):
            if step.reused_from is None:
                rows[attempts].append(_attempt(step))
                if step.status is Status.COMPLETED:
                    rows[cache].append(_outcome(step))
            rows[outputs].append(_output(step, draw))
            if position:
                rows[edges].append(_edge(steps[position - 1], step))
        if run.status is Status.COMPLETED:
            rows[metrics].extend(_metrics(run, steps, draw))
    return rows


def _run(base: Task, project: str, name: str, number: int, draw: random.Random) -> Task:
    at = _BEGAN + 60.0 * number
    return replace(
        base, id=new_id(), name=name, project=project, pipeline=name, number=number + 1, status=draw.choice(_STATUSES),
        params={**base.params, **SPACE.draw(draw)}, created_at=at, started_at=at,
        finished_at=at + draw.expovariate(0.01), tags=("nightly",) if number % 100 == 0 else (),
    )  # fmt: skip


def _steps(run: Task, kept: dict[str, str], draw: random.Random) -> Iterator[Task]:
    """The steps of ``run``; ``kept`` has of each component one that ran."""
    began = run.started_at or 0.0
    took = ((run.finished_at or 0.0) - began) / len(STEPS)
    for position, component in enumerate(STEPS):
        fails = component == "fit" and run.status is not Status.COMPLETED
        step = Task(
            new_id(), Kind.STEP, component, run.project, status=run.status if fails else Status.COMPLETED,
            pipeline=run.pipeline, snapshot=run.snapshot, executor="local",
            parent=run.id, component=component, position=position, key=f"key {position} of {run.id}",
            reused_from=kept.get(component) if position < 2 and draw.random() < 0.9 else None,
            created_at=began, started_at=began + position * took, finished_at=began + (position + 1) * took,
        )  # fmt: skip
        kept.setdefault(component, step.id)
        yield step
        if fails:
            return


def _story(task: Task) -> Iterator[dict[str, Any]]:
    created = {"kind": str(task.kind), "name": task.name, "parent": task.parent, "status": "queued"}
    yield _event(task, task.created_at, "created", created)
    yield _event(task, task.started_at, "status", {"from": "queued", "to": "running", "reason": None})
    yield _event(task, task.finished_at, "status", {"from": "running", "to": str(task.status), "reason": None})


def _event(task: Task, at: float | None, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"at": at, "task": task.id, "kind": kind, "data": to_json(data)}


def _attempt(step: Task) -> dict[str, Any]:
    return {
        "task": step.id, "number": 1, "status": str(step.status), "started_at": step.started_at,
        "finished_at": step.finished_at, "error": None, "worker": "worker-1", "console": "",
    }  # fmt: skip


def _artifact(number: int) -> dict[str, Any]:
    digest = f"{number:064x}"
    preview = to_json({"type": "float", "repr": str(number)})
    return {
        "digest": digest, "value_digest": digest, "format": "json", "size": 8, "preview": preview,
        "inline": str(number).encode(),
    }  # fmt: skip


def _output(step: Task, draw: random.Random) -> dict[str, Any]:
    digest = f"{draw.randrange(_ARTIFACTS):064x}"
    return {"task": step.id, "name": "value", "position": 0, "digest": digest, "value_digest": digest}


def _outcome(step: Task) -> dict[str, Any]:
    parts = {"code": {str(step.component): "c0de"}, "inputs": {"data": step.key}, "packages": {}, "environment": {}}
    digest = f"{0:064x}"
    return {
        "key": step.key, "task": step.id, "component": step.component, "outputs": to_json({"value": (digest, digest)}),
        "parts": to_json(parts), "seconds": 1.0, "created_at": step.finished_at, "hits": 0, "hit_at": None,
    }  # fmt: skip


def _edge(source: Task, target: Task) -> dict[str, Any]:
    return {"target": target.id, "source": source.id, "kind": "data", "output": "value", "input": "data"}


def _metrics(run: Task, steps: Sequence[Task], draw: random.Random) -> Iterator[dict[str, Any]]:
    given = {name: run.params[name] for name in ("lr", "depth", "dropout", "decay", "model")}
    for name, value in (("auc", score(**given)), ("loss", draw.random())):
        yield {"task": steps[-1].id, "name": name, "value": value, "step": 0, "at": run.finished_at}
