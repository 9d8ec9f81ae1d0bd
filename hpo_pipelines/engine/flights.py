"""Keys being computed in this process: who asks for one meanwhile waits for it instead of computing it twice."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpo_pipelines.task import CacheEntry

if TYPE_CHECKING:
    from hpo_pipelines.engine.scheduler import Scheduler
    from hpo_pipelines.engine.step import StepCall


@dataclass
class Flight:
    """A key being computed by ``owner``, the steps that wait for it, and the outcome once there is one."""

    label: str
    owner: StepCall
    waiters: list[tuple[Scheduler, StepCall]] = field(default_factory=list)
    entry: CacheEntry | None = None


class Flights:
    """The flights of one process. If the owner fails, each waiter has a try of its own, the first as the next owner."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}
        self._lock = threading.Lock()

    def join(self, scheduler: Scheduler, step: StepCall) -> Flight | None:
        """The flight that computes the step's key already; None when the step is now the one to compute it."""
        digest = step.key.digest
        if digest is None or not step.component.options.cache.enabled or step.reason == "refresh":
            return None
        with self._lock:
            flight = self._flights.get(digest)
            if flight is None:
                self._flights[digest] = Flight(f"{scheduler.run.label}/{step.name}", step)
                return None
            flight.waiters.append((scheduler, step))
            return flight

    def land(self, step: StepCall, entry: CacheEntry | None) -> None:
        """The step is over: whoever waited for its key takes the outcome, or tries."""
        if step.key is None or step.key.digest is None:
            return
        with self._lock:
            flight = self._flights.get(step.key.digest)
            if flight is None or flight.owner is not step:
                return
            del self._flights[step.key.digest]
        flight.entry = entry
        for scheduler, waiter in flight.waiters:
            # In a thread of its own: the waiter's run has a lock of its own, and the caller holds its run's.
            threading.Thread(target=scheduler.landed, args=(waiter, flight), daemon=True).start()
