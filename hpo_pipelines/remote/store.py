"""What the handles ask of a store, answered by a server. What only a database can do is refused with the cure."""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn, cast

from hpo_pipelines.errors import ConfigError, TaskNotFound
from hpo_pipelines.remote import wire
from hpo_pipelines.remote.connection import Connection, quoted
from hpo_pipelines.store import Store, TaskFilter
from hpo_pipelines.store.artifacts import Artifacts
from hpo_pipelines.store.cache import Cache, MadeOf
from hpo_pipelines.store.consoles import Consoles, Piece
from hpo_pipelines.store.database import Database
from hpo_pipelines.store.events import Events
from hpo_pipelines.store.leases import Lease, Leases
from hpo_pipelines.store.metrics import Metrics
from hpo_pipelines.store.overview import Executions, Overview
from hpo_pipelines.store.queues import Entry, Queues, QueueState
from hpo_pipelines.store.snapshots import Snapshots
from hpo_pipelines.store.tasks import Tasks
from hpo_pipelines.task import Attempt, CacheEntry, Edge, Event, Metric, Snapshot, Task
from hpo_pipelines.types import ArtifactRef, Kind, Status

PAGE = 500
_PAUSES = (0.05, 0.1, 0.2, 0.5)
"""Seconds between two looks for news: a run that is short is seen to end at once, a long one asked for less often."""


class NoDatabase:
    """Stands where a store has its database: whatever would need one is refused."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __getattr__(self, name: str) -> NoReturn:
        raise refusal("this", self._url)


def refusal(what: str, url: str) -> ConfigError:
    """Why ``what`` is not to be had from the server ``url``."""
    return ConfigError(
        f"{what} works on the store itself, and HPO_SERVER={url} names a server: do it on the server's machine, "
        "in its HPO_HOME and with HPO_SERVER unset."
    )


class RemoteStore(Store):
    """A store behind a server. Reads what handles read; sets tags, notes, queues; archives. Any thread may use it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.url, cast(Database, NoDatabase(connection.url)))
        self._connection = connection
        self.tasks = RemoteTasks(connection)
        self.events = RemoteEvents(connection)
        self.artifacts = RemoteArtifacts(connection)
        self.metrics = RemoteMetrics(connection)
        self.overview = RemoteOverview(connection)
        self.cache = RemoteCache(connection)
        self.consoles = RemoteConsoles(connection)
        self.leases = RemoteLeases(connection)
        self.queues = RemoteQueues(connection)
        self.snapshots = RemoteSnapshots(connection)

    def now(self) -> float:
        return float(self._connection.get("/records/leases", {"prefix": "now:"})["now"])

    def close(self) -> None:
        self._connection.close()

    def __repr__(self) -> str:
        return f"<RemoteStore {self.url}>"


class _Part:
    def __init__(self, connection: Connection) -> None:
        self._server = connection
        self._database = cast(Database, NoDatabase(connection.url))


class RemoteTasks(_Part, Tasks):
    """See :class:`hpo_pipelines.store.tasks.Tasks`."""

    def update(self, task_id: str, **changes: Any) -> Task:
        """Set tags, notes, or the executor of a draft; nothing else is a client's to change."""
        if changes.keys() - {"tags", "notes", "executor"}:
            raise refusal(f"changing {', '.join(sorted(changes))}", self._server.url)
        if "tags" in changes:
            changes["tags"] = list(changes["tags"])
        self._server.patch(f"/runs/{quoted(task_id)}", changes)
        return self.get(task_id)

    def archive(self, *task_ids: str) -> builtins.list[Task]:
        return self._kept("archive", task_ids)

    def restore(self, *task_ids: str) -> builtins.list[Task]:
        return self._kept("restore", task_ids)

    def _kept(self, what: str, task_ids: Sequence[str]) -> builtins.list[Task]:
        if not task_ids:
            return []
        changed = self._server.post(f"/records/{what}", {"tasks": builtins.list(task_ids)})["items"]
        return [wire.task_of(each) for each in changed]

    def get(self, task_id: str) -> Task:
        return wire.task_of(self._server.get(f"/records/tasks/{quoted(task_id)}"))

    def get_all(self, task_ids: Sequence[str]) -> dict[str, Task]:
        return {task.id: task for task in self._about("/records/tasks", "id", task_ids)}

    def find(self, reference: str) -> Task:
        return wire.task_of(self._server.get("/records/called", {"reference": reference}))

    def list(
        self, where: TaskFilter | None = None, *, limit: int | None = 100, before: str | None = None
    ) -> builtins.list[Task]:
        found: builtins.list[Task] = []
        query = _query(where or TaskFilter())
        while limit is None or len(found) < limit:
            most = PAGE if limit is None else min(PAGE, limit - len(found))
            page = self._server.get("/records/tasks", {**query, "limit": most, "before": before})
            found += [wire.task_of(each) for each in page["items"]]
            before = page["next"]
            if before is None:
                break
        return found

    def statuses(self, task_ids: Sequence[str]) -> dict[str, Status]:
        return {id: task.status for id, task in self.get_all(task_ids).items()}

    def status(self, task_id: str) -> Status:
        return self.get(task_id).status

    def children(self, run_id: str) -> builtins.list[Task]:
        return self.children_of([run_id])[run_id]

    def children_of(self, run_ids: Sequence[str]) -> dict[str, builtins.list[Task]]:
        found: dict[str, builtins.list[Task]] = {run: [] for run in run_ids}
        for task in self._about("/records/children", "run", builtins.list(found)):
            found[str(task.parent)].append(task)
        return found

    def below(self, run_ids: Sequence[str]) -> builtins.list[Task]:
        found: builtins.list[Task] = []
        level = builtins.list(run_ids)
        while level:
            inside = [task for children in self.children_of(level).values() for task in children]
            found += inside
            level = [task.id for task in inside if task.kind is Kind.PIPELINE]
        return found

    def ancestry(self, task_id: str) -> builtins.list[Task]:
        found = self._server.get(f"/records/tasks/{quoted(task_id)}/ancestry")
        return [wire.task_of(each) for each in found["items"]]

    def edges(self, run_id: str) -> builtins.list[Edge]:
        return [wire.edge_of(each) for each in self._server.get("/records/edges", {"run": run_id})["items"]]

    def outputs_of(self, task_ids: Sequence[str]) -> dict[str, dict[str, ArtifactRef]]:
        found: dict[str, dict[str, ArtifactRef]] = {}
        for page in self._server.get_all("/records/outputs", "task", task_ids):
            found |= {task: wire.refs_of(refs) for task, refs in page["items"].items()}
        return found

    def attempts(self, task_id: str) -> builtins.list[Attempt]:
        return self.attempts_of([task_id])[task_id]

    def attempts_of(self, task_ids: Sequence[str]) -> dict[str, builtins.list[Attempt]]:
        found: dict[str, builtins.list[Attempt]] = {task: [] for task in task_ids}
        for page in self._server.get_all("/records/attempts", "task", task_ids):
            for attempt in map(wire.attempt_of, page["items"]):
                found[attempt.task].append(attempt)
        return found

    def _about(self, path: str, name: str, ids: Sequence[str]) -> Iterator[Task]:
        for page in self._server.get_all(path, name, ids):
            yield from map(wire.task_of, page["items"])


def _query(where: TaskFilter) -> dict[str, Any]:
    wanted = {**vars(where)}
    status = wanted["status"]
    if status is not None:
        wanted["status"] = [str(status)] if isinstance(status, str) else sorted(str(one) for one in status)
    return {name: str(value) if isinstance(value, Kind) else value for name, value in wanted.items()}


class RemoteEvents(_Part, Events):
    """See :class:`hpo_pipelines.store.events.Events`; :meth:`wait` asks again and again."""

    def last(self) -> int:
        return int(self._server.get("/events")["next"])

    def story(self, task_id: str) -> list[Event]:
        return self.stories([task_id])[task_id]

    def stories(self, task_ids: Sequence[str]) -> dict[str, list[Event]]:
        found: dict[str, list[Event]] = {task: [] for task in task_ids}
        for page in self._server.get_all("/records/stories", "task", task_ids):
            for event in map(wire.event_of, page["items"]):
                found[event.task].append(event)
        return found

    def wait(self, cursor: int, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        looks = 0
        while self.last() <= cursor:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, _PAUSES[min(looks, len(_PAUSES) - 1)]))
            looks += 1
        return True


class RemoteMetrics(_Part, Metrics):
    """See :class:`hpo_pipelines.store.metrics.Metrics`."""

    def of(self, task_ids: Sequence[str]) -> list[Metric]:
        pages = self._server.get_all("/records/metrics", "task", task_ids)
        return [wire.metric_of(each) for page in pages for each in page["items"]]

    def latest(self, task_ids: Sequence[str]) -> dict[tuple[str, str], float]:
        pages = self._server.get_all("/records/metrics", "task", task_ids, {"latest": True})
        return {(each["task"], each["name"]): float(each["value"]) for page in pages for each in page["items"]}


class RemoteOverview(_Part, Overview):
    """See :class:`hpo_pipelines.store.overview.Overview`."""

    def executions(self, project: str, pipeline: str, *, before: str, runs: int) -> Executions:
        wanted = {"project": project, "pipeline": pipeline, "before": before, "runs": runs}
        found = self._server.get("/records/executions", wanted)
        return Executions([(task, component) for task, component in found["steps"]], found["looked_at"], found["last"])


class RemoteArtifacts(_Part, Artifacts):
    """See :class:`hpo_pipelines.store.artifacts.Artifacts`."""

    def holders(self, digest: str) -> list[tuple[str, str]]:
        found = self._server.get(f"/artifacts/{quoted(digest)}")["holders"]
        return [(each["task"], each["output"]) for each in found]


class RemoteCache(_Part, Cache):
    """See :class:`hpo_pipelines.store.cache.Cache`."""

    def lookup(self, key: str) -> CacheEntry | None:
        return next(iter(self._outcomes(key=key)), None)

    def made_of(self, keys: Sequence[str]) -> dict[str, MadeOf]:
        found = ((key, self.lookup(key)) for key in keys)
        return {key: MadeOf(entry.parts, entry.created_at) for key, entry in found if entry is not None}

    def latest(self, component: str, limit: int = 10) -> builtins.list[CacheEntry]:
        return self._outcomes(component=component, limit=limit)

    def _outcomes(self, **query: Any) -> builtins.list[CacheEntry]:
        return [wire.outcome_of(each) for each in self._server.get("/records/outcomes", query)["items"]]


class RemoteConsoles(_Part, Consoles):
    """See :class:`hpo_pipelines.store.consoles.Consoles`."""

    def sizes(self, run: str) -> dict[str, int]:
        sizes: dict[str, int] = self._server.get(f"/records/runs/{quoted(run)}/consoles")["sizes"]
        return sizes

    def read(self, run: str, name: str, start: int = 0) -> Iterator[Piece]:
        path = f"/records/runs/{quoted(run)}/consoles/{quoted(name)}"
        while data := self._server.get_bytes(path, {"offset": start}):
            yield Piece(name, start, data)
            start += len(data)


class RemoteLeases(_Part, Leases):
    """See :class:`hpo_pipelines.store.leases.Leases`."""

    def named(self, prefix: str) -> list[Lease]:
        return [wire.lease_of(each) for each in self._server.get("/records/leases", {"prefix": prefix})["items"]]

    def holder(self, name: str) -> Lease | None:
        return next((lease for lease in self.named(name) if lease.name == name), None)


class RemoteQueues(_Part, Queues):
    """See :class:`hpo_pipelines.store.queues.Queues`."""

    def states(self) -> dict[str, QueueState]:
        return {each["queue"]: QueueState(each["queue"], each["paused"], each["capacity"]) for each in self._all()}

    def counts(self) -> dict[str, tuple[int, int]]:
        return {each["queue"]: (each["waiting"], each["running"]) for each in self._all()}

    def line(self, queue: str) -> list[Entry]:
        if queue not in self.states():
            return []  # as a store says of any queue in which nothing waits
        waiting = self._server.get(f"/queues/{quoted(queue)}")["items"]
        return [Entry(place, each["id"], queue, each["priority"], each["since"]) for place, each in enumerate(waiting)]

    def entry(self, task: str) -> Entry | None:
        found = wire.task_of(self._server.get(f"/records/tasks/{quoted(task)}"))
        if found.queue is None or found.status is not Status.QUEUED:
            return None
        return next((entry for entry in self.line(found.queue) if entry.task == task), None)

    def ahead(self, entry: Entry) -> int:
        return entry.position

    def pause(self, name: str, paused: bool = True) -> QueueState:
        return self._changed(name, {"paused": paused})

    def limit(self, name: str, capacity: int | None) -> QueueState:
        return self._changed(name, {"capacity": capacity or 0})  # 0 stands for no limit there

    def _changed(self, name: str, change: Mapping[str, Any]) -> QueueState:
        self._server.patch(f"/queues/{quoted(name)}", change)
        return self.states()[name]

    def _all(self) -> builtins.list[dict[str, Any]]:
        found: builtins.list[dict[str, Any]] = self._server.get("/queues")["items"]
        return found


class RemoteSnapshots(_Part, Snapshots):
    """See :class:`hpo_pipelines.store.snapshots.Snapshots`."""

    def get(self, digest: str) -> Snapshot | None:
        try:
            return wire.snapshot_of(self._server.get(f"/records/snapshots/{quoted(digest)}"))
        except TaskNotFound:
            return None
