"""What is kept, by component, and one outcome by the beginning of its key."""

from __future__ import annotations

from dataclasses import dataclass

from hpo_pipelines.errors import TaskNotFound
from hpo_pipelines.store import Holding, Store
from hpo_pipelines.task import CacheEntry

_LISTED = 10


@dataclass(frozen=True)
class ComponentUsage:
    """The outcomes of one component: how many, the bytes of their distinct artifacts, and what reuse has saved.

    ``saved`` (seconds) is, for each outcome, its hits times how long computing it took; ``used_at`` is the last time
    that one was made or reused, in seconds since the epoch.
    """

    component: str
    outcomes: int
    size: int
    hits: int
    saved: float
    used_at: float


def usage(store: Store, component: str | None = None) -> tuple[list[ComponentUsage], int]:
    """The usage of every component, or of one, largest first; and the bytes of all of them together.

    Those are fewer than the sum where two components gave the same bytes.
    """
    sizes = store.holdings.sizes()
    found: dict[str, list[ComponentUsage]] = {}
    digests: dict[str, set[str]] = {}
    for outcome in store.holdings.outcomes():
        name = outcome.component
        if component in (None, name):
            saved = outcome.hits * outcome.seconds
            found.setdefault(name, []).append(ComponentUsage(name, 1, 0, outcome.hits, saved, outcome.used_at))
            digests.setdefault(name, set()).update(outcome.digests)

    def size(of: set[str]) -> int:
        return sum(sizes.get(digest, 0) for digest in of)

    summed = [
        ComponentUsage(
            name,
            len(each),
            size(digests[name]),
            sum(one.hits for one in each),
            sum(one.saved for one in each),
            max(one.used_at for one in each),
        )
        for name, each in found.items()
    ]
    return sorted(summed, key=lambda one: (-one.size, one.component)), size(set().union(*digests.values()))


def outcomes(store: Store, component: str | None = None) -> list[tuple[Holding, int]]:
    """Every outcome, or those of one component, the last used first; with the bytes of its artifacts."""
    sizes = store.holdings.sizes()
    found = [one for one in store.holdings.outcomes() if component in (None, one.component)]
    found.sort(key=lambda one: (-one.used_at, one.id))
    return [(one, sum(sizes.get(digest, 0) for digest in one.digests)) for one in found]


def outcome_called(store: Store, prefix: str) -> CacheEntry:
    """The outcome whose key begins with ``prefix``. Raises TaskNotFound when there is none, or several: it lists them.

    As in other places where a person names something recorded, what cannot be told apart is not found.
    """
    entries = store.cache.find(prefix.strip().lower(), _LISTED + 1)
    if len(entries) == 1:
        return entries[0]
    if not entries:
        raise TaskNotFound(f"no outcome has a key that begins with {prefix!r}; `hpo show RUN/STEP` tells a step's key.")
    listed = "\n".join(f"  {entry.key}  {entry.component}" for entry in entries[:_LISTED])
    more = "\n  …" if len(entries) > _LISTED else ""
    raise TaskNotFound(f"several outcomes have keys that begin with {prefix!r}; write more of one:\n{listed}{more}")
