"""Which outcomes to give up: the least recently used, until what is left is young enough, and small enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from hpo_pipelines.store import Holding


def choose(
    holdings: Sequence[Holding],
    sizes: Mapping[str, int],
    kept: Collection[str],
    *,
    before: float | None = None,
    limit: int | None = None,
) -> list[Holding]:
    """Those of ``holdings`` to give up, least recently used first. Pure.

    ``sizes`` are the bytes of the files that there are, by digest, and ``kept`` the digests of files that stay
    whatever is given up. Given up is what was last used before ``before`` (seconds since the epoch), and then, one
    after the other, what was used least recently until the files that somebody still needs have no more than ``limit``
    bytes. Only what needs a file that could go is given up for the sake of ``limit``.
    """
    ordered = sorted(holdings, key=lambda holding: (holding.used_at, holding.id))
    chosen = [holding for holding in ordered if before is not None and holding.used_at < before]
    rest = ordered[len(chosen) :]
    if limit is None:
        return chosen
    needed = Counter(digest for holding in rest for digest in holding.digests if digest in sizes)
    total = sum(sizes[digest] for digest in needed.keys() | (set(kept) & sizes.keys()))
    for holding in rest:
        if total <= limit:
            break
        free = [digest for digest in holding.digests if digest in sizes and digest not in kept]
        if not free:
            continue
        chosen.append(holding)
        for digest in free:
            needed[digest] -= 1
            total -= sizes[digest] if needed[digest] == 0 else 0
    return chosen
