"""``hpo cache gc``: give up what was not used for long, and sweep the files that nobody needs any more.

What is never swept unless its run is deleted: what a run returned, the outputs of steps of a run that is not over, and
code. What goes, least recently used first: outcomes, and outputs of steps of runs that are over; a kept run still shows
what they were, and running it again computes them anew.

Safe while others run:

1. One collector at a time works on a store (a lease).
2. Outcomes are forgotten before any file goes, and a moment passes before what is needed is read again: a run that had
   looked one up just before has said by then that it uses it.
3. No file is swept that was written, or put again, less than ``GRACE`` seconds ago, nor one written since the oldest
   run that is under way began: between writing a file and recording who needs it there may be a whole step.
   :mod:`hpo_pipelines.artifacts.location` says what happens when a file is put while it is swept.
4. Records of artifacts go last, each under the database's lock and only if nothing refers to it.

What is stopped in between leaves files or records that the next collection takes.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from hpo_pipelines.artifacts import ArtifactStore, StoredFile
from hpo_pipelines.cache.choice import choose
from hpo_pipelines.cache.deletion import delete_runs, old_runs
from hpo_pipelines.errors import StoreError, StudyError, TaskError
from hpo_pipelines.store import Holding, Removed, Store
from hpo_pipelines.types import new_id

GRACE = 3600.0
"""Seconds for which a new file is left alone."""
LEFT_OVER = 86400.0
"""Seconds after which half a file belongs to a writer that was killed."""
SETTLE = 2.0
"""Seconds between forgetting outcomes and reading again who needs what."""

_LEASE, _LEASE_SECONDS = "cache gc", 30.0
_RUNS_AT_ONCE = 50  # In one transaction: on SQLite nobody else writes meanwhile.


@dataclass(frozen=True)
class Limits:
    """What to give up; with none of these only what nobody needs is swept.

    ``older``: outcomes that were not used for so many seconds. ``keep_size``: as many more as it takes until the files
    that are left have no more bytes. ``runs_older``: runs, and whole studies, that ended so many seconds ago are
    deleted. ``unknown``: files that the store has never heard of are swept too; right where no other store keeps its
    artifacts in the same place.
    """

    older: float | None = None
    keep_size: int | None = None
    runs_older: float | None = None
    unknown: bool = False


@dataclass
class Tally:
    """A number of files and their bytes."""

    files: int = 0
    size: int = 0

    def add(self, file: StoredFile) -> None:
        self.files += 1
        self.size += file.size


@dataclass
class Collected:
    """What was done, or with ``dry_run`` would be."""

    dry_run: bool
    removed: Removed = field(default_factory=Removed)
    outcomes: list[Holding] = field(default_factory=list)
    """Forgotten, least recently used first; not those that went with their runs."""
    swept: Tally = field(default_factory=Tally)
    """Files gone, those of killed writers too."""
    young: Tally = field(default_factory=Tally)
    """Files that nobody needs, too new to be swept."""
    unknown: Tally = field(default_factory=Tally)
    """Files that the store has never heard of, left alone."""
    left: Tally = field(default_factory=Tally)
    """Files that stay, ``young`` and ``unknown`` ones too."""
    needed: int = 0
    """Bytes of files that stay as long as their runs do."""
    records: int = 0
    """Records of artifacts that nothing referred to, gone."""
    under_way_since: float | None = None
    """When the oldest run that somebody drives began: what was written since then stays."""


def collect(
    store: Store,
    artifacts: ArtifactStore,
    home: Path,
    limits: Limits,
    *,
    dry_run: bool = False,
    settle: float | None = None,
) -> Collected:
    """Give up what ``limits`` say and sweep what nobody needs; ``home`` is the workspace's folder.

    ``settle`` in place of ``SETTLE`` is for who knows that nobody else is there. Raises StoreError while another
    process collects, and ArtifactError when the place cannot be used.
    """
    collection = _Collection(store, artifacts, home, limits, dry_run, SETTLE if settle is None else settle)
    if dry_run:
        return collection.run()
    with _alone(store):
        return collection.run()


@dataclass(frozen=True)
class _Needs:
    """Who needs what at one moment."""

    outcomes: list[Holding]
    steps: list[Holding]
    kept: frozenset[str]
    """Digests that are needed by what is not given up."""

    def live(self, given_up: Iterable[Holding]) -> set[str]:
        """The digests that are needed without those ``given_up``."""
        gone = {holding.id for holding in given_up}
        holders = (holding for holding in (*self.outcomes, *self.steps) if holding.id not in gone)
        return set(self.kept).union(*(holding.digests for holding in holders))


class _Collection:
    def __init__(
        self, store: Store, artifacts: ArtifactStore, home: Path, limits: Limits, dry_run: bool, settle: float
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._home = home
        self._limits = limits
        self._settle = settle
        self._done = Collected(dry_run)
        self._now = store.now()

    def run(self) -> Collected:
        done = self._done
        if self._limits.runs_older is not None:
            done.removed = self._remove_runs(old_runs(self._store, self._now - self._limits.runs_older))
        files = list(self._artifacts.files())
        known = self._store.holdings.sizes().keys()
        chosen = self._choose({file.name: file.size for file in files if file.name in known})
        done.outcomes = [holding for holding in chosen if holding.is_outcome]
        if not done.dry_run:
            self._store.cache.forget(*(outcome.id for outcome in done.outcomes))
            time.sleep(self._settle)
        self._sweep(files, self._needs().live(chosen), known)
        return done

    def _remove_runs(self, ids: list[str]) -> Removed:
        if self._done.dry_run:
            return self._store.tasks.removal(*ids)
        removed = Removed()
        for start in range(0, len(ids), _RUNS_AT_ONCE):
            some = ids[start : start + _RUNS_AT_ONCE]
            try:
                removed += delete_runs(self._store, self._home, *some)
            except (TaskError, StudyError):  # one of them has become needed since we looked
                for one in some:
                    with suppress(TaskError, StudyError):
                        removed += delete_runs(self._store, self._home, one)
        return removed

    def _needs(self) -> _Needs:
        gone = {task.id for task in self._done.removed.tasks}
        forgotten = set(self._done.removed.outcomes)
        needed, steps = self._store.holdings.tasks()
        kept = self._store.holdings.code().union(*(each.digests for each in needed if each.id not in gone))
        outcomes = [each for each in self._store.holdings.outcomes() if each.id not in forgotten]
        return _Needs(outcomes, [each for each in steps if each.id not in gone], kept)

    def _choose(self, sizes: dict[str, int]) -> list[Holding]:
        limits, needs = self._limits, self._needs()
        self._done.needed = sum(sizes.get(digest, 0) for digest in needs.kept)
        before = None if limits.older is None else self._now - limits.older
        return choose((*needs.outcomes, *needs.steps), sizes, needs.kept, before=before, limit=limits.keep_size)

    def _sweep(self, files: list[StoredFile], live: set[str], known: Iterable[str]) -> None:
        done, recorded = self._done, set(known)
        done.under_way_since = self._store.holdings.under_way_since()
        # The place has a clock of its own: where it differs from the database's, the one behind counts.
        now = min(self._now, time.time())
        before = min(now, done.under_way_since or now) - GRACE
        left: set[str] = set()
        for file in files:
            if file.leftover:
                gone = self._goes(file, now - LEFT_OVER)
            elif file.name in live:
                gone = False
            elif file.name not in recorded and not self._limits.unknown:
                gone = False
                done.unknown.add(file)
            else:
                gone = self._goes(file, before)
                if not gone:
                    done.young.add(file)
            (done.swept if gone else done.left).add(file)
            left |= set() if gone else {file.name}
        if not done.dry_run:
            done.records = self._store.artifacts.drop(keep=left)

    def _goes(self, file: StoredFile, before: float) -> bool:
        if file.changed_at is None or file.changed_at >= before:
            return False
        return self._done.dry_run or self._artifacts.sweep(file, before)


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Hold the collector's lease. Raises StoreError while another has it."""
    owner = f"{socket.gethostname()}:{os.getpid()}:{new_id()}"
    if not store.leases.claim(_LEASE, owner, _LEASE_SECONDS):
        holder = store.leases.holder(_LEASE)
        who = f"process {holder.owner.rpartition(':')[0]}" if holder is not None else "another process"
        raise StoreError(
            f"{who} is collecting already, and one at a time does; wait for it. If it is gone, that is known "
            f"after {_LEASE_SECONDS:.0f} s."
        )
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_LEASE_SECONDS / 3):
            store.leases.renew(owner, _LEASE_SECONDS, [_LEASE])

    thread = threading.Thread(target=beat, name="hpo-cache-gc", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        store.leases.release(_LEASE, owner)
