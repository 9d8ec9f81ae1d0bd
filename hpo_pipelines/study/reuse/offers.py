"""What could be kept of the trials so far when another is made."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpo_pipelines.study.reuse.records import Records, Standing
from hpo_pipelines.study.reuse.stages import Stages
from hpo_pipelines.study.reuse.trials import Known

SOURCES = 20
"""Of so many trials something is offered: the better half of them the best there are, the others drawn."""
PAIRS = 16
"""So many combinations of two branches are drawn for each two."""


@dataclass(frozen=True)
class Offer:
    """Values to keep, and what they save.

    ``settled`` stages are not computed again; those of them that are ``under_way`` are waited for.
    """

    settled: frozenset[str]
    values: Mapping[str, Any] = field(default_factory=dict)
    under_way: frozenset[str] = frozenset()


class Offers:
    """Makes the offers of one proposal over the parameters in ``names``.

    ``most_uses`` stages are not offered again: for stages that give something else each time they are computed.
    """

    def __init__(
        self, stages: Stages, names: Collection[str], records: Records, *, most_uses: int | None = None
    ) -> None:
        self._stages = stages
        self._names = frozenset(names)
        self._records = records
        self._most_uses = most_uses
        self._uses: dict[tuple[frozenset[str], tuple[Any, ...]], int] = {}

    @property
    def fresh(self) -> Offer:
        """Keep nothing but what no parameter reaches."""
        return Offer(self._stages.settled((), self._names))

    def of(self, best_first: Sequence[Known], under_way: Sequence[Known], random: np.random.Generator) -> list[Offer]:
        """The fresh offer, then one for each different re-use of the completed and of the running trials."""
        everyone = [*best_first, *under_way]
        self._count(everyone)
        sources = everyone
        if len(everyone) > SOURCES:
            half = SOURCES // 2
            rest = random.choice(len(everyone) - half, SOURCES - half, replace=False)
            sources = [*everyone[:half], *(everyone[half + index] for index in rest)]
        found: dict[tuple[Any, ...], Offer] = {}
        for offer in (*self._kept_of_one(sources), *self._kept_of_two(sources, random)):
            found.setdefault(tuple(sorted(offer.values.items(), key=lambda item: item[0])), offer)
        return [self.fresh, *found.values()]

    def _kept_of_one(self, sources: Sequence[Known]) -> Iterator[Offer]:
        for stages in self._stages.reuse_sets(self._names):
            for source in sources:
                offer = self._offer(stages, source)
                if offer is not None:
                    yield offer

    def _kept_of_two(self, sources: Sequence[Known], random: np.random.Generator) -> Iterator[Offer]:
        """One branch from one trial, another from another: both computed, and never joined."""
        for one, other in self._stages.branches(self._names):
            common = (self._stages.params(one) & self._stages.params(other)) & self._names
            for _ in range(PAIRS):
                first, second = (sources[index] for index in random.integers(len(sources), size=2))
                left, right = self._offer(one, first), self._offer(other, second)
                agree = all(first.params[name] == second.params[name] for name in common)
                if first is not second and agree and left is not None and right is not None:
                    yield Offer(
                        left.settled | right.settled,
                        {**left.values, **right.values},
                        left.under_way | right.under_way,
                    )

    def _offer(self, stages: frozenset[str], source: Known) -> Offer | None:
        """What keeping ``stages`` of ``source`` comes to; None if they are not there."""
        pinned = self._stages.params(stages) & self._names
        settled = self._stages.settled(pinned, self._names)
        reached = [name for name in settled if self._stages.reaching(name) & self._names]
        standings = {name: self._records.standing(source.trial, name) for name in reached}
        if Standing.GONE in standings.values() or any(self._is_worn(name, source) for name in reached):
            return None
        under_way = frozenset(name for name, standing in standings.items() if standing is Standing.UNDER_WAY)
        return Offer(settled, {name: source.params[name] for name in sorted(pinned)}, under_way)

    def _count(self, everyone: Sequence[Known]) -> None:
        if self._most_uses is not None:
            for name in self._stages.names:
                for known in everyone:
                    key = self._use(name, known)
                    self._uses[key] = self._uses.get(key, 0) + 1

    def _use(self, stage: str, known: Known) -> tuple[frozenset[str], tuple[Any, ...]]:
        reaching = self._stages.reaching(stage) & self._names
        return reaching, tuple(known.params[name] for name in sorted(reaching))

    def _is_worn(self, stage: str, source: Known) -> bool:
        # Two stages with the same parameters are counted together, one for each of them.
        if self._most_uses is None:
            return False
        reaching = self._stages.reaching(stage) & self._names
        alike = sum(self._stages.reaching(name) & self._names == reaching for name in self._stages.names)
        return self._uses[self._use(stage, source)] >= self._most_uses * alike
