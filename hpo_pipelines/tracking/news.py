"""What a batch of events says, run by run: which have to be looked at anew, and which values are new."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hpo_pipelines.errors import TaskNotFound
from hpo_pipelines.store import Store
from hpo_pipelines.task import Event, Task
from hpo_pipelines.types import Kind

RESTORED = "restored"
"""The event of a run that was archived and no longer is."""
_REMEMBERED = 20_000


@dataclass
class News:
    """What happened to one run and its steps."""

    run: str
    steps: dict[str, None] = field(default_factory=dict)
    """The steps that something happened to, in order."""
    values: list[tuple[str, int, int]] = field(default_factory=list)
    """(task, first, last) of the metrics reported, for ``store.metrics.between``."""
    withdrawn: list[tuple[str, str]] = field(default_factory=list)
    """(task, metric) of reports that were taken back; no name stands for all of the task's."""
    moved: bool = False
    """The run was created, or has another status."""
    edited: bool = False
    """Tags, notes or the like of the run were changed."""
    first: int = 0
    """Id of the first event."""


class Gathering:
    """Sorts events by run. Remembers which run a step belongs to, which never changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places: dict[str, tuple[Kind, str | None]] = {}

    def gather(self, events: Iterable[Event]) -> list[News]:
        """The news of each run, in the order of its first event; studies, and tasks deleted since, have none."""
        found: dict[str, News] = {}
        for event in events:
            kind, parent = self._place(event)
            run = event.task if kind is Kind.PIPELINE else parent if kind is Kind.STEP else None
            if run is None:
                continue
            news = found.setdefault(run, News(run, first=event.id))
            if kind is Kind.STEP:
                news.steps[event.task] = None
            if event.kind == "metrics":
                news.values.append((event.task, int(event.data["first"]), int(event.data["last"])))
            elif event.kind == "withdrawn":
                news.withdrawn.append((event.task, str(event.data["name"] or "")))
            elif kind is Kind.PIPELINE:
                news.edited |= event.kind == "changed"
                news.moved |= event.kind in ("created", "status", RESTORED)
                if event.kind == RESTORED:  # what happened to it meanwhile was not taken
                    news.edited = True
                    news.steps |= {child.id: None for child in self._steps(run)}
        return list(found.values())

    def _steps(self, run: str) -> Iterable[Task]:
        return (child for child in self._store.tasks.children(run) if child.kind is Kind.STEP)

    def _place(self, event: Event) -> tuple[Kind | None, str | None]:
        if event.kind == "created":
            return self._remember(event.task, Kind(event.data["kind"]), event.data["parent"])
        if event.task not in self._places:
            try:
                task = self._store.tasks.get(event.task)
            except TaskNotFound:
                return None, None
            return self._remember(task.id, task.kind, task.parent)
        return self._places[event.task]

    def _remember(self, task: str, kind: Kind, parent: str | None) -> tuple[Kind, str | None]:
        if len(self._places) >= _REMEMBERED:
            self._places.clear()
        self._places[task] = kind, parent
        return kind, parent
