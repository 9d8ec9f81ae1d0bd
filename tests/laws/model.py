"""What a store must say, kept in plain dicts: every promise of ``store.*`` written the simplest way there is."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hpo_pipelines.store import Lease
from hpo_pipelines.task import TRANSITIONS, Attempt, CacheEntry, Metric, Task
from hpo_pipelines.types import ArtifactRef, Kind, Status

Told = tuple[str, str, Mapping[str, Any] | None]
"""An event: its task, its kind, its data where they are modelled."""


@dataclass
class Model:
    """One store, at the time ``clock`` of its database."""

    clock: float = 1_000_000.0
    tasks: dict[str, Task] = field(default_factory=dict)
    numbers: dict[tuple[str, str | None], int] = field(default_factory=dict)
    outputs: dict[str, dict[str, ArtifactRef]] = field(default_factory=dict)
    attempts: dict[tuple[str, int], Attempt] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    cache: dict[str, CacheEntry] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    events: list[Told] = field(default_factory=list)

    # tasks

    def record(self, new: Sequence[tuple[Task, Sequence[tuple[Status, str | None]]]]) -> list[Task]:
        """Tasks, each with the statuses and reasons it had before."""
        stored = [self._stored(task) for task, _ in new]
        for task, (_, before) in zip(stored, new, strict=True):
            self.tasks[task.id] = task
            (status, why), *later = [*before, (task.status, task.reason)]
            data = {"kind": task.kind, "name": task.name, "parent": task.parent, "status": status}
            data |= {} if why is None else {"reason": why}
            self.events.append((task.id, "created", data))
            for after, reason in later:
                self._moved(task.id, status, after, reason)
                status = after
        return stored

    def _stored(self, task: Task) -> Task:
        if task.kind is Kind.STEP and task.created_at:
            return task
        number = None
        if task.kind is Kind.PIPELINE:
            number = self.numbers[task.project, task.pipeline] = self.numbers.get((task.project, task.pipeline), 0) + 1
        started, finished = task.started_at, task.finished_at
        if task.status is Status.RUNNING and started is None:
            started = self.clock
        if task.status.finished and finished is None:
            finished = self.clock
        created = task.created_at or self.clock
        return replace(task, number=number, created_at=created, started_at=started, finished_at=finished)

    def may_move(self, task: str, status: Status, expect: Collection[Status] | None) -> bool:
        before = self.tasks[task].status
        return status in TRANSITIONS[before] and (expect is None or before in expect)

    def transition(self, id: str, status: Status, **changes: Any) -> Task:
        task = self.tasks[id]
        if not status.finished and task.status.finished:
            task = replace(task, started_at=None, error=None, reason=None)
        started, finished = task.started_at, None
        if status is Status.RUNNING and started is None:
            started = self.clock
        if status.finished:
            finished = self.clock
        moved = replace(task, status=status, started_at=started, finished_at=finished)
        self._moved(id, self.tasks[id].status, status, changes.get("reason"))
        self.tasks[id] = replace(moved, **changes)
        return self.tasks[id]

    def _moved(self, id: str, before: Status, after: Status, reason: str | None) -> None:
        self.events.append((id, "status", {"from": before, "to": after, "reason": reason}))

    def update(self, id: str, **changes: Any) -> Task:
        self.tasks[id] = replace(self.tasks[id], **changes)
        self.events.append((id, "changed", {"fields": sorted(changes)}))
        return self.tasks[id]

    def withdraw(self, id: str, reason: str) -> None:
        self._moved(id, self.tasks[id].status, Status.SKIPPED, reason)
        gone: dict[str, Any] = {"status": Status.SKIPPED, "position": None, "reused_from": None}
        self.tasks[id] = replace(self.tasks[id], **gone, finished_at=self.clock, reason=reason)

    def start_attempt(self, attempt: Attempt) -> bool:
        """Whether there was none of this number."""
        if (attempt.task, attempt.number) in self.attempts:
            return False
        self.finish_attempt(attempt)
        return True

    def finish_attempt(self, attempt: Attempt) -> None:
        known = self.attempts.get((attempt.task, attempt.number), attempt)
        self.attempts[attempt.task, attempt.number] = replace(attempt, started_at=known.started_at)
        self.events.append((attempt.task, "attempt", {"number": attempt.number, "status": attempt.status}))

    def attempts_of(self, task: str) -> list[Attempt]:
        return [attempt for (of, _), attempt in sorted(self.attempts.items(), key=lambda item: item[0]) if of == task]

    def report(self, metrics: Sequence[Metric]) -> None:
        for task in dict.fromkeys(metric.task for metric in metrics):
            self.metrics += [metric for metric in metrics if metric.task == task]
            self.events.append((task, "metrics", None))

    # outcomes

    def remember(self, entry: CacheEntry, over: str | None) -> bool:
        """The first recorded outcome stays, unless it is that of the step ``over``."""
        known = self.cache.get(entry.key)
        if known is not None and (over is None or known.task != over):
            return False
        self.cache[entry.key] = entry
        return True

    def hit(self, keys: Sequence[str]) -> None:
        for key in keys:
            if key in self.cache:
                self.cache[key] = replace(self.cache[key], hits=self.cache[key].hits + 1, hit_at=self.clock)

    # leases

    def claim(self, name: str, owner: str, seconds: float, note: str) -> bool:
        held = self.leases.get(name)
        if held is not None and held.owner != owner and held.expires_at > self.clock:
            return False
        self.leases[name] = Lease(name, owner, self.clock + seconds, note)
        return True

    def renew(self, owner: str, seconds: float, names: Collection[str] | None) -> set[str]:
        mine = {
            name for name, lease in self.leases.items() if lease.owner == owner and (names is None or name in names)
        }
        for name in mine:
            self.leases[name] = replace(self.leases[name], expires_at=self.clock + seconds)
        return mine

    def release(self, name: str, owner: str) -> bool:
        if name not in self.leases or self.leases[name].owner != owner:
            return False
        del self.leases[name]
        return True

    def holder(self, name: str) -> Lease | None:
        lease = self.leases.get(name)
        return lease if lease is not None and lease.expires_at > self.clock else None

    # followers

    def follow(self, name: str, owner: str, seconds: float) -> int | None:
        if not self.claim(f"follower:{name}", owner, seconds, ""):
            return None
        return self.cursors.setdefault(name, 0)

    def advance(self, name: str, owner: str, cursor: int) -> bool:
        held = self.leases.get(f"follower:{name}")
        if held is None or held.owner != owner or name not in self.cursors:
            return False
        self.cursors[name] = cursor
        return True

    def copy(self) -> Model:
        """As it stands, for what is taken back."""
        copied = {item.name: _copied(getattr(self, item.name)) for item in dataclasses.fields(self)}
        return Model(**copied)


def _copied(value: Any) -> Any:
    return type(value)(value) if isinstance(value, dict | list) else value
