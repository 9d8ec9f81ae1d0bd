"""Followers: whatever keeps up with the events of a store, from a cursor of its own that the store saves.

A follower is never on the critical path: when what it feeds is down it tries again later, from where it was. A batch is
given again after a crash, so taking one must be idempotent.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hpo_pipelines.errors import HpoPipelinesError
from hpo_pipelines.owner import is_gone, process_name
from hpo_pipelines.store import Store
from hpo_pipelines.task import Event

log = logging.getLogger(__name__)

_IDLE = 0.25
"""Seconds of waiting for events after which a request to stop is looked for."""

Take = Callable[[Sequence[Event]], None]
"""Takes in a batch of events, oldest first; raises whatever it likes if it could not, and then gets them again."""


@dataclass(frozen=True)
class Pace:
    """How fast a follower goes; times are seconds.

    It takes up to ``batch`` events at once and rests ``linger`` before the next ones, so that much that happens at
    once is taken at once; with ``linger`` 0 it takes each as soon as it is written. After the n-th failure in a row it
    waits ``backoff`` · 2ⁿ⁻¹, at most ``longest``.
    """

    batch: int = 1000
    linger: float = 0.5
    lease: float = 15.0
    backoff: float = 0.5
    longest: float = 30.0

    def after_failure(self, failures: int) -> float:
        """Seconds to wait after the ``failures``-th failure in a row (from 1)."""
        return min(self.longest, self.backoff * 2.0 ** min(failures - 1, 30))


class Follower:
    """Gives every event of ``store`` to ``take``, in order, batch by batch, as the follower called ``name``.

    Of all followers of one name, in any process, one holds the lease and takes; the others wait for it. ``problem``
    says in one line why nothing moves, None while all is well; ``heard`` is told when it changes.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        take: Take,
        *,
        pace: Pace | None = None,
        owner: str = "",
        heard: Callable[[str | None], None] = lambda problem: None,
    ) -> None:
        self.name = name
        self.owner = owner or process_name()
        self.pace = pace or Pace()
        self.problem: str | None = None
        self._store = store
        self._take = take
        self._heard = heard
        self._cursor: int | None = None
        self._held_until = 0.0
        self._waits_for: str | None = None
        self._failures = 0
        self._hurried = 0
        self._stopping = False
        self._changed = threading.Condition()

    # -- the loop

    def run(self) -> None:
        """Follow until :meth:`stop`. What ``take`` or the store raise is kept in ``problem``, and tried again."""
        ended = threading.Event()
        beat = threading.Thread(target=self._beat, args=(ended,), name=f"hpo-{self.name}-lease", daemon=True)
        beat.start()
        try:
            while not self._stopping:
                self._rest(self.turn())
        finally:
            ended.set()
            beat.join()
            self._release()

    def turn(self) -> float:
        """Take one batch, if it is ours to take and there is one; returns the seconds to rest before the next turn."""
        try:
            cursor = self._claimed()
            if cursor is None:
                return self.pace.linger
            events = self._store.events.after(cursor, self.pace.batch)
            if events:
                self._take(events)
                self._advance(events[-1].id)
            elif not self.pace.linger:
                self._store.events.wait(cursor, _IDLE)
        except Exception as error:  # noqa: BLE001 - a target may raise anything, and must not end the follower
            return self._failed(error)
        self._settle(problem=None)
        # A full batch means that there is more: no reason to rest.
        return 0.0 if len(events) == self.pace.batch or (events and self._hurried) else self.pace.linger

    def _claimed(self) -> int | None:
        """The cursor to go on from, None while another process follows under this name."""
        if self._cursor is not None and self.holds():
            return self._cursor
        holder = None
        cursor = self._claim()
        if cursor is None:
            holder = self._store.leases.holder(f"follower:{self.name}")
            if holder is not None and is_gone(holder.owner):
                self._store.followers.release(self.name, holder.owner)
                cursor = self._claim()
        with self._changed:
            self._waits_for = holder.owner if holder is not None and cursor is None else None
            self._cursor = cursor
            self._changed.notify_all()
        return cursor

    def _claim(self) -> int | None:
        asked_at = time.monotonic()
        cursor = self._store.followers.claim(self.name, self.owner, self.pace.lease)
        self._held_until = asked_at + self.pace.lease if cursor is not None else 0.0
        return cursor

    def _advance(self, cursor: int) -> None:
        if not self._store.followers.advance(self.name, self.owner, cursor):
            self._held_until = 0.0
            cursor_now = None
            log.warning("%s: another process has taken over", self.name)
        else:
            cursor_now = cursor
        with self._changed:
            self._cursor = cursor_now
            self._changed.notify_all()

    def _failed(self, error: Exception) -> float:
        self._failures += 1
        # Once is enough to find out where it comes from.
        log.warning("%s, failure %d: %s", self.name, self._failures, error, exc_info=self._failures == 1)
        self._settle(problem=one_line(error))
        return self.pace.after_failure(self._failures)

    def _settle(self, problem: str | None) -> None:
        if problem is None:
            self._failures = 0
        if problem != self.problem:
            self.problem = problem
            self._heard(problem)

    def _rest(self, seconds: float) -> None:
        with self._changed:
            hurried = self._hurried
            self._changed.wait_for(lambda: self._stopping or self._hurried > hurried, seconds)

    # -- the lease

    def holds(self) -> bool:
        """Whether the lease is certainly still ours; checked before whatever cannot be done twice."""
        return time.monotonic() < self._held_until

    def _beat(self, ended: threading.Event) -> None:
        # A thread of its own, since taking one batch may last longer than the lease.
        while not ended.wait(self.pace.lease / 3):
            if self._cursor is None:
                continue
            try:
                self._claim()
            except HpoPipelinesError as error:
                log.warning("%s: the lease could not be prolonged: %s", self.name, error)

    def _release(self) -> None:
        try:
            self._store.followers.release(self.name, self.owner)
        except HpoPipelinesError as error:
            log.warning("%s: the lease could not be given back and will run out: %s", self.name, error)

    # -- asked from other threads

    @property
    def cursor(self) -> int | None:
        """The id of the last event that was taken, None while another process follows."""
        return self._cursor

    def stop(self) -> None:
        """End :meth:`run` after the batch at hand."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def drain(self, timeout: float) -> bool:
        """Hurry until all events that there are now have been taken; False after ``timeout`` seconds.

        False at once when another process follows under this name: it takes them in its own time.
        """
        until = self._store.events.last()
        with self._changed:
            self._hurried += 1
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: self._reached(until) or self._waits_for or self._stopping, timeout)
                return self._reached(until)
            finally:
                self._hurried = 0

    def _reached(self, cursor: int) -> bool:
        return self._cursor is not None and self._cursor >= cursor


def one_line(error: BaseException) -> str:
    """``error`` for a line of status: its class, unless it is ours and speaks for itself, and its first line."""
    first = str(error).strip().partition("\n")[0][:300]
    return first if isinstance(error, HpoPipelinesError) and first else f"{type(error).__name__}: {first}"
