"""Keys being computed: who asks for one meanwhile, in this process or another, waits instead of computing it twice.

Inside a process the flights know each other; between processes and hosts a lease in the store, renewed by its owner's
heartbeat, says that a key is being computed. When an owner fails or goes away, those who wait try in its place, one
after the other.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from hpo_pipelines.engine.liveness import Liveness
from hpo_pipelines.errors import HpoPipelinesError
from hpo_pipelines.store import Store
from hpo_pipelines.task import CacheEntry

if TYPE_CHECKING:
    from hpo_pipelines.engine.scheduler import Scheduler
    from hpo_pipelines.engine.step import StepCall

_LOOK_SECONDS = 1.0
"""How often it is looked whether the owner of another process is still there; an outcome is seen at once."""

_log = logging.getLogger(__name__)


@dataclass
class Flight:
    """A key being computed by ``owner``, or, where that is None, by another process; and the steps that wait for it."""

    label: str
    owner: StepCall | None
    waiters: list[tuple[Scheduler, StepCall]] = field(default_factory=list)
    entry: CacheEntry | None = None
    stale: str | None = None
    """The step whose outcome is recorded, and too old to be what is waited for."""
    urge: Callable[[int], None] = lambda waiting: None
    """Told how many steps wait for it, each time that there is one more."""


class Flights:
    """The flights that steps of this process take part in."""

    def __init__(self, store: Store, liveness: Liveness) -> None:
        self._store = store
        self._liveness = liveness
        self._flights: dict[str, Flight] = {}
        self._lock = threading.Lock()
        self._watcher: threading.Thread | None = None
        self._closed = False

    def join(self, scheduler: Scheduler, step: StepCall) -> Flight | None:
        """The flight that computes the step's key already; None when the step is now the one to compute it."""
        digest = step.key.digest
        if digest is None or not scheduler.shares(step) or step.reason == "refresh":
            return None
        label = f"{scheduler.run.label}/{step.name}"
        with self._lock:
            flight = self._flights.get(digest)
            if flight is None:
                flight = self._flights[digest] = self._take_off(digest, label, step)
                if flight.owner is step:
                    flight.urge = partial(scheduler.engine.urge, scheduler.executor_of(step), step)
                    return None
            flight.waiters.append((scheduler, step))
            waiting = len(flight.waiters)
        flight.urge(waiting)
        return flight

    def waiting_for(self, step: StepCall) -> int:
        """How many steps of this process wait for ``step``, which computes its key for them."""
        with self._lock:
            flight = self._flights.get(step.key.digest) if step.key is not None else None
            return len(flight.waiters) if flight is not None and flight.owner is step else 0

    def _take_off(self, digest: str, label: str, step: StepCall) -> Flight:
        name = lease_of(digest)
        while not self._liveness.claim(name, label):
            holder = self._liveness.holder(name)
            if holder is not None:
                self._watch()
                return Flight(holder.note, None, stale=step.supersedes)
        step.lease = name
        return Flight(label, step)

    def land(self, step: StepCall, entry: CacheEntry | None) -> None:
        """The step is over: whoever waited for its key takes the outcome, or tries."""
        if step.key is None or step.key.digest is None:
            return
        with self._lock:
            flight = self._flights.get(step.key.digest)
            if flight is None or flight.owner is not step:
                return
            del self._flights[step.key.digest]
        self._tell(flight, entry)

    def _tell(self, flight: Flight, entry: CacheEntry | None) -> None:
        flight.entry = entry
        for scheduler, waiter in flight.waiters:
            # In a thread of its own: the waiter's run has a lock of its own, and the caller holds its run's.
            threading.Thread(target=scheduler.landed, args=(waiter, flight), daemon=True).start()

    # -- flights of other processes

    def _watch(self) -> None:
        if self._watcher is None or not self._watcher.is_alive():
            self._watcher = threading.Thread(target=self._look, name="hpo-flights", daemon=True)
            self._watcher.start()

    def _look(self) -> None:
        """Until no flight of another process is waited for: see who has landed, and whose owner is gone."""
        while True:
            try:
                cursor = self._store.events.last()
                self._land_others()
                with self._lock:
                    if self._closed or not self._others():
                        self._watcher = None
                        return
                self._store.events.wait(cursor, _LOOK_SECONDS)
            except HpoPipelinesError:
                if self._closed:
                    return
                _log.exception("the store cannot be asked what other processes compute")
                threading.Event().wait(_LOOK_SECONDS)

    def _others(self) -> dict[str, Flight]:
        return {digest: flight for digest, flight in self._flights.items() if flight.owner is None}

    def _land_others(self) -> None:
        with self._lock:
            others = self._others()
        for digest, flight in others.items():
            entry = self._store.cache.lookup(digest)
            if entry is not None and entry.task == flight.stale:
                entry = None
            if entry is None and self._liveness.holder(lease_of(digest)) is not None:
                continue
            with self._lock:
                del self._flights[digest]
            self._tell(flight, entry)

    def close(self) -> None:
        """Wait for no other process any more: who does so here is told."""
        self._closed = True
        with self._lock:
            others = self._others()
            for digest in others:
                del self._flights[digest]
        for flight in others.values():
            self._tell(flight, None)


def lease_of(digest: str) -> str:
    """The name of the lease on computing a key."""
    return f"key:{digest}"
