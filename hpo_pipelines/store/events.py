"""``store.events``: what happened, in the order in which it became visible."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import bindparam, func, select

from hpo_pipelines.store.database import Database
from hpo_pipelines.store.driver import Rows
from hpo_pipelines.store.records import event_of
from hpo_pipelines.store.schema import events
from hpo_pipelines.store.within import within
from hpo_pipelines.task import Event

_AFTER = select(events).where(events.c.id > bindparam("cursor")).order_by(events.c.id).limit(bindparam("limit"))
_STORY = select(events).where(events.c.task == bindparam("of")).order_by(events.c.id)
_STORIES = select(events).where(within(events.c.task, "tasks")).order_by(events.c.task, events.c.id)
_LAST = select(func.max(events.c.id))


def story(rows: Rows, task_id: str) -> list[Event]:
    """Every event of a task, oldest first."""
    return [event_of(row) for row in rows(_STORY, {"of": task_id})]


class Events:
    """The events of a store: append-only, with ids that increase in the order in which they become visible.

    A reader that goes on from the last id it saw misses nothing: an event with a lower id never appears later. Every
    method raises StoreError if the database refuses.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, task: str, kind: str, data: Mapping[str, Any] | None = None) -> None:
        """Record that ``kind`` happened to ``task``; ``data`` is JSON. It gets its id when the transaction ends."""
        with self._database.transaction() as transaction:
            transaction.event(task, kind, data or {})

    def after(self, cursor: int, limit: int = 1000) -> list[Event]:
        """The first ``limit`` events past ``cursor`` (0: from the beginning), oldest first."""
        rows = self._database.rows(_AFTER, {"cursor": cursor, "limit": limit}, ordered=True)
        return [event_of(row) for row in rows]

    def last(self) -> int:
        """The id of the latest event, 0 if there is none."""
        ((last,),) = self._database.rows(_LAST, {}, ordered=True)
        return last or 0

    def story(self, task_id: str) -> list[Event]:
        """Every event of a task, oldest first."""
        return story(partial(self._database.rows, ordered=True), task_id)

    def stories(self, task_ids: Sequence[str]) -> dict[str, list[Event]]:
        """:meth:`story` of each of ``task_ids``."""
        found: dict[str, list[Event]] = {task_id: [] for task_id in task_ids}
        for event in map(event_of, self._database.rows(_STORIES, {"tasks": found}, ordered=True)):
            found[event.task].append(event)
        return found

    def wait(self, cursor: int, timeout: float) -> bool:
        """Wait until there are events past ``cursor``, whichever process writes them; ``False`` after ``timeout`` s."""
        deadline = time.monotonic() + timeout
        while self.last() <= cursor:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._database.wait(lambda: self.last() > cursor, left)
        return True
