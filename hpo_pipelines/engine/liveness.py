"""What this process holds, so that others see that it lives: leases under one owner's name, renewed by one heartbeat.

A lease that is not renewed ends by itself; that of a process of this machine that has ended need not be waited for.
"""

from __future__ import annotations

import logging
import os
import threading
import time

from hpo_pipelines.errors import HpoPipelinesError
from hpo_pipelines.owner import is_gone, owner_name
from hpo_pipelines.store import Store
from hpo_pipelines.store.leases import Lease

log = logging.getLogger(__name__)

LEASE_SECONDS = 15.0
BEAT_SECONDS = 5.0


class Liveness:
    """The leases that this process holds in ``store``. Renewed until :meth:`close`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._process = os.getpid()
        self._owner = owner_name()
        self._held: set[str] = set()
        self._dropped: set[str] = set()
        """What is no longer held, and may still be in our name in the store."""
        self._renounced: set[str] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._beaten = 0.0
        """When the leases were renewed last."""

    @property
    def owner(self) -> str:
        if self._process != os.getpid():  # a forked child is another process
            self._process, self._owner, self._held, self._dropped = os.getpid(), owner_name(), set(), set()
        return self._owner

    def claim(self, name: str, note: str = "") -> bool:
        """Take the lease ``name`` if it is free, or its owner is known to be gone; ``False`` if another lives with it.

        May be a part of an open transaction. ``note`` tells those who wait what for.
        """
        if name in self._renounced:
            return False
        leases, owner = self._store.leases, self.owner
        self._dropped.discard(name)  # before it is ours again, see _give_back()
        claimed = leases.claim(name, owner, LEASE_SECONDS, note)
        if not claimed:
            holder = self.holder(name)
            claimed = holder is None and leases.claim(name, owner, LEASE_SECONDS, note)
        if claimed:
            with self._lock:
                self._held.add(name)
                self._start_beating()
        return claimed

    def holds(self, name: str) -> bool:
        """Whether the lease is ours, as far as this process knows."""
        return name in self._held and self._process == os.getpid()

    def may_act(self, name: str) -> bool:
        """Whether the lease is ours for sure: as this process knows or, where that has slept, as the store does."""
        fresh = time.monotonic() - self._beaten < LEASE_SECONDS
        return self.holds(name) and (fresh or self.check(name))

    def check(self, name: str) -> bool:
        """Whether the lease is ours, as the store knows; one that ran out and that nobody took still is."""
        last = self._store.leases.last(name)
        return last is not None and last.owner == self.owner

    def is_taken(self, name: str) -> bool:
        """Whether another has taken the lease since we had it, as the store knows."""
        last = self._store.leases.last(name)
        return last is not None and last.owner != self.owner

    def last_beat(self, name: str) -> float | None:
        """When whoever has not given back the lease was heard of last, in seconds since the epoch."""
        last = self._store.leases.last(name)
        return None if last is None else last.expires_at - LEASE_SECONDS

    def release(self, name: str) -> None:
        """Give the lease back, if it still is ours. May be a part of an open transaction."""
        with self._lock:
            self._held.discard(name)
        self._store.leases.release(name, self.owner)

    def drop(self, name: str) -> None:
        """Hold the lease no more, without the store, which may be out of reach.

        It is given back by the next beat that reaches the store, else it runs out.
        """
        with self._lock:
            self._held.discard(name)
            self._dropped.add(name)

    def give_up(self, name: str) -> None:
        """:meth:`release`, or, where the store cannot be told, :meth:`drop`."""
        try:
            self.release(name)
        except HpoPipelinesError:
            self.drop(name)

    def renounce(self, name: str) -> None:
        """:meth:`give_up`, for good: this process ends, and what of it still moves is not to take the lease again."""
        self._renounced.add(name)
        self.give_up(name)

    def holder(self, name: str) -> Lease | None:
        """Who lives with the lease ``name``; that of a process known to be gone is taken from it."""
        holder = self._store.leases.holder(name)
        if holder is not None and is_gone(holder.owner):
            self._store.leases.release(name, holder.owner)
            return None
        return holder

    def is_held(self, name: str) -> bool:
        """Whether somebody lives with the lease ``name``; changes nothing."""
        holder = self._store.leases.holder(name)
        return holder is not None and not is_gone(holder.owner)

    def beat(self) -> None:
        """Renew what is held, give back what was dropped. What was lost meanwhile is another's, and no longer held."""
        with self._lock:
            held = sorted(self._held)
        now = time.monotonic()
        if held:
            renewed = self._store.leases.renew(self.owner, LEASE_SECONDS, held)
            for name in set(held) - renewed:
                # With nobody's name on it, it is claimed in a transaction that is open yet, or was given back just now.
                if self.is_taken(name):
                    self.drop(name)
        self._beaten = now
        for name in list(self._dropped):
            self._give_back(name)

    def _give_back(self, name: str) -> None:
        last = self._store.leases.last(name)
        # A thread of ours may be claiming it again: then it is no longer among the dropped, or not as it was.
        if last is not None and last.owner == self.owner and name in self._dropped:
            self._store.leases.release(name, self.owner, until=last.expires_at)
        self._dropped.discard(name)

    def _start_beating(self) -> None:
        # A thread of its own: whatever else this process waits for, it lives.
        if self._thread is None or not self._thread.is_alive():
            self._beaten = time.monotonic()
            self._thread = threading.Thread(target=self._beat_on, name="hpo-heartbeat", daemon=True)
            self._thread.start()

    def _beat_on(self) -> None:
        while not self._closed.wait(BEAT_SECONDS):
            try:
                self.beat()
            except HpoPipelinesError:
                # Whoever has to write meets the same error, and says it where it is heard.
                log.debug("leases could not be renewed", exc_info=True)

    def close(self) -> None:
        """Beat no more; what is held runs out."""
        self._closed.set()
