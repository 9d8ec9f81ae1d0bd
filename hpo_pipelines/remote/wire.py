"""Between the frozen records and the JSON that a server and its clients speak: each ``…_record`` has its ``…_of``."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from hpo_pipelines.planning import Plan
from hpo_pipelines.planning.record import PlannedStep, Stop
from hpo_pipelines.reasons import Change, Origin, Why
from hpo_pipelines.store.leases import Lease
from hpo_pipelines.task import Attempt, CacheEntry, Edge, Event, Metric, Snapshot, Task
from hpo_pipelines.types import ArtifactRef, Kind, Status

Record = Mapping[str, Any]


def task_record(task: Task) -> dict[str, Any]:
    """Every field but the diff of the working folder, which may be a megabyte."""
    git = None if task.git is None else {name: value for name, value in task.git.items() if name != "diff"}
    return {**vars(task), "kind": str(task.kind), "status": str(task.status), "tags": list(task.tags), "git": git}


def task_of(record: Record) -> Task:
    known = {field.name: record[field.name] for field in fields(Task)}
    return Task(
        **{**known, "kind": Kind(known["kind"]), "status": Status(known["status"]), "tags": tuple(known["tags"])}
    )


def ref_record(ref: ArtifactRef) -> dict[str, Any]:
    inline = None if ref.inline is None else base64.b64encode(ref.inline).decode("ascii")
    return {**vars(ref), "preview": dict(ref.preview), "inline": inline}


def ref_of(record: Record) -> ArtifactRef:
    inline = record["inline"]
    return ArtifactRef(**{**record, "inline": None if inline is None else base64.b64decode(inline)})


def refs_record(refs: Mapping[str, ArtifactRef]) -> list[dict[str, Any]]:
    """Named references, in their order."""
    return [{"name": name, **ref_record(ref)} for name, ref in refs.items()]


def refs_of(records: list[dict[str, Any]]) -> dict[str, ArtifactRef]:
    return {each["name"]: ref_of({name: value for name, value in each.items() if name != "name"}) for each in records}


def attempt_record(attempt: Attempt) -> dict[str, Any]:
    return {**vars(attempt), "status": str(attempt.status)}


def attempt_of(record: Record) -> Attempt:
    return Attempt(**{**record, "status": Status(record["status"])})


def metric_of(record: Record) -> Metric:
    # What JSON has no word for is text.
    return Metric(**{**record, "value": float(record["value"])})


def edge_of(record: Record) -> Edge:
    return Edge(**record)


def event_of(record: Record) -> Event:
    return Event(**record)


def lease_of(record: Record) -> Lease:
    return Lease(**record)


def outcome_record(entry: CacheEntry) -> dict[str, Any]:
    return {**vars(entry), "outputs": refs_record(entry.outputs), "parts": dict(entry.parts)}


def outcome_of(record: Record) -> CacheEntry:
    return CacheEntry(**{**record, "outputs": refs_of(record["outputs"])})


def snapshot_record(snapshot: Snapshot) -> dict[str, Any]:
    return {**vars(snapshot), "content": ref_record(snapshot.content), "packages": dict(snapshot.packages)}


def snapshot_of(record: Record) -> Snapshot:
    return Snapshot(**{**record, "content": ref_of(record["content"])})


def why_of(record: Record) -> Why:
    """Undoes :meth:`Why.record`."""
    known = {field.name: record[field.name] for field in fields(Why)}
    origin = known["origin"]
    changes = tuple(Change(**each) for each in known["changes"])
    return Why(**{**known, "origin": None if origin is None else Origin(**origin), "changes": changes})


def plan_of(record: Record) -> Plan:
    """Undoes :meth:`Plan.record`."""
    steps = tuple(PlannedStep(**{**step, "uses": tuple(step["uses"])}) for step in record["steps"])
    stop = record["stop"]
    return Plan(record["pipeline"], record["params"], steps, None if stop is None else Stop(**stop))
