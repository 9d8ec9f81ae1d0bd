"""The events of the store as a live stream: one thread looks, every open page is told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

from hpo_pipelines.errors import HpoPipelinesError
from hpo_pipelines.server.plainjson import to_text
from hpo_pipelines.store import Store
from hpo_pipelines.task import Event
from hpo_pipelines.types import Kind

log = logging.getLogger(__name__)

MOST_STREAMS = 200
BATCH = 500
"""How many events one message carries at most."""
PAUSE_SECONDS = 0.25
"""At least so long between two messages of one stream."""
BEAT_SECONDS = 15.0
_LOOK_SECONDS = 1.0


class Feed:
    """Tells streams when there are new events. Use from one event loop; :meth:`close` ends every stream."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.streams = 0
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news: set[asyncio.Event] = set()
        self._thread: threading.Thread | None = None

    @property
    def full(self) -> bool:
        return self.streams >= MOST_STREAMS

    async def stream(self, after: int, wanted: Wanted) -> AsyncIterator[str]:
        """Server-sent events past ``after``, each message a list of records with the id of the last one."""
        self._start()
        news = asyncio.Event()
        self._news.add(news)
        self.streams += 1
        try:
            yield "retry: 1000\n\n"
            while not self._closed:
                news.clear()  # before the look: what is rung for after it is not lost
                events = await asyncio.to_thread(self.store.events.after, after, BATCH)
                if events:
                    after = events[-1].id
                    records = await asyncio.to_thread(records_of, self.store, events, wanted)
                    # Also without records: the cursor moves on, and a reconnect starts there.
                    yield (
                        f"id: {after}\nevent: changes\ndata: {to_text(records)}\n\n" if records else f"id: {after}\n\n"
                    )
                    await asyncio.sleep(PAUSE_SECONDS)
                    continue
                try:
                    await asyncio.wait_for(news.wait(), BEAT_SECONDS)
                except TimeoutError:
                    yield ": here\n\n"
        finally:
            self.streams -= 1
            self._news.discard(news)

    def close(self) -> None:
        """End every stream, soon. Safe from any thread."""
        self._closed = True
        self._ring()

    def _start(self) -> None:
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._look, name="hpo-feed", daemon=True)
            self._thread.start()

    def _look(self) -> None:
        cursor = -1
        while not self._closed:
            try:
                if cursor < 0:
                    cursor = self.store.events.last()
                    self._ring()
                if self.store.events.wait(cursor, _LOOK_SECONDS):
                    cursor = self.store.events.last()
                    self._ring()
            except HpoPipelinesError:
                log.warning("the store cannot be followed; trying again", exc_info=True)
                threading.Event().wait(_LOOK_SECONDS)

    def _tell(self) -> None:
        for news in list(self._news):
            news.set()

    def _ring(self) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            with contextlib.suppress(RuntimeError):  # the loop ended just now
                loop.call_soon_threadsafe(self._tell)


class Wanted:
    """Which events a stream is about: those of some runs (ids) with their steps, of a study's runs, or of every run.

    ``others`` adds, to those of some runs, what happens to every other run as a whole.
    """

    def __init__(self, *, runs: Collection[str] = (), study: str | None = None, others: bool = False) -> None:
        self.runs = frozenset(runs)
        self.study = study
        self.others = others

    @property
    def everything(self) -> bool:
        return not self.runs and self.study is None


def records_of(store: Store, events: Sequence[Event], wanted: Wanted) -> list[dict[str, Any]]:
    """``events`` as JSON, with what they are about: the task's name, status, run and study. Steps where asked for."""
    tasks = store.tasks.get_all(list({event.task for event in events}))
    parents = {task.parent for task in tasks.values() if task.parent} - set(tasks)
    runs = {**store.tasks.get_all(list(parents)), **tasks}
    found = []
    for event in events:
        task = tasks.get(event.task)
        record: dict[str, Any] = {"id": event.id, "at": event.at, "task": event.task, "kind": event.kind}
        if task is None:  # deleted since, or never a task of its own
            if wanted.everything or event.task in wanted.runs or event.task == wanted.study:
                found.append({**record, "data": dict(event.data)})
            continue
        run = task if task.kind is not Kind.STEP else runs.get(task.parent or "", task)
        if wanted.runs and not {task.id, task.parent} & wanted.runs and not (wanted.others and run is task):
            continue
        if wanted.study is not None and wanted.study not in (run.study, task.id):
            continue
        if wanted.everything and task.kind is Kind.STEP:
            continue
        record |= {
            "of": str(task.kind),
            "name": task.name if task.kind is Kind.STEP else task.label,
            "status": str(task.status),
            "run": run.id if run.kind is Kind.PIPELINE else None,
            "study": run.study,
            "data": dict(event.data),
        }
        found.append(record)
    return found
