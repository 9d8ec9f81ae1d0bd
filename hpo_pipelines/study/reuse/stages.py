"""Which parameters reach which stage of a pipeline, and what can be kept of one trial when another is made."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any


@dataclass(frozen=True)
class Stage:
    """A piece of the pipeline that is computed as a whole: the parameters that it reads itself, and what it is after.

    ``after`` names the stages whose outputs it uses; their parameters reach it through those.
    """

    name: str
    params: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given: dict[str, Any] = {"params": self.params, "after": self.after}
        for field, value in given.items():
            if isinstance(value, str):
                raise ValueError(f"stage {self.name!r}: {field} is a list of names; got the text {value!r}.")
            object.__setattr__(self, field, tuple(value))


StagesLike = Iterable[Stage] | Mapping[str, Any]
"""Stages; or, for a chain, a mapping of each stage to the parameters that it reads, in the order of the chain.

In a mapping a stage may also be ``{"params": [...], "after": [...]}``.
"""


class Stages:
    """The stages of a pipeline, each after those that it uses."""

    def __init__(self, stages: StagesLike) -> None:
        """Raises ValueError for names that come twice or are not there, and for stages that wait for each other."""
        self._stages = {stage.name: stage for stage in _ordered(_read(stages))}
        self._closures: dict[str, frozenset[str]] = {}
        for stage in self._stages.values():
            before = frozenset[str]().union(*(self._closures[name] for name in stage.after))
            self._closures[stage.name] = before | {stage.name}
        self._reaching = {
            name: frozenset(param for each in closure for param in self._stages[each].params)
            for name, closure in self._closures.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Every stage, after those that it uses."""
        return tuple(self._stages)

    def __iter__(self) -> Iterator[Stage]:
        return iter(self._stages.values())

    def __len__(self) -> int:
        return len(self._stages)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stages) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Stages({list(self)!r})"

    def closure(self, stage: str) -> frozenset[str]:
        """``stage`` and every stage that it is after, directly or not."""
        return self._closures[stage]

    def reaching(self, stage: str) -> frozenset[str]:
        """The parameters that reach ``stage``: while they stay the same, so does what it gives."""
        return self._reaching[stage]

    def params(self, stages: Iterable[str]) -> frozenset[str]:
        """The parameters that ``stages`` read themselves."""
        return frozenset(param for name in stages for param in self._stages[name].params)

    def settled(self, pinned: Collection[str], free: Collection[str]) -> frozenset[str]:
        """The stages that come out as before while ``pinned`` stay as they were and ``free`` do not."""
        moving = set(free) - set(pinned)
        return frozenset(name for name, reaching in self._reaching.items() if not reaching & moving)

    def reuse_sets(self, space: Collection[str]) -> list[frozenset[str]]:
        """The sets of stages to keep from one trial, by the parameters of ``space`` that keeping them pins.

        A set holds every stage that its stages are after. Of a chain they are its prefixes; of any other graph, for
        each stage, what it is after with itself, and all that is not after it ("change only this"): linear in the
        number of stages, not exponential. Sets that pin nothing, or everything, are left out. Longest last.
        """
        found: dict[frozenset[str], frozenset[str]] = {}
        for name in self.names:
            unmoved = frozenset(other for other in self.names if name not in self._closures[other])
            for stages in (self._closures[name], unmoved):
                pinned = self.params(stages) & set(space)
                if pinned and len(pinned) < len(space):
                    found[pinned] = found.get(pinned, frozenset()) | stages
        return sorted(found.values(), key=lambda stages: (len(self.params(stages)), sorted(stages)))

    def branches(self, space: Collection[str]) -> list[tuple[frozenset[str], frozenset[str]]]:
        """Pairs of re-use sets of which neither holds the other, and which leave something to choose together.

        One can be kept from one trial and the other from another: what joins them has not been computed yet.
        """
        sets = [self._closures[name] for name in self.names if self.params(self._closures[name]) & set(space)]
        pairs = []
        for one, other in combinations(dict.fromkeys(sets), 2):
            both = self.params(one | other) & set(space)
            apart = not (one <= other or other <= one)
            joined = any(one | other < closure for closure in self._closures.values())
            if apart and (joined or len(both) < len(space)):
                pairs.append((one, other))
        return pairs


def _read(stages: StagesLike) -> list[Stage]:
    if not isinstance(stages, Mapping):
        return list(stages)
    read: list[Stage] = []
    for name, given in stages.items():
        if isinstance(given, Mapping):
            if unknown := set(given) - {"params", "after"}:
                raise ValueError(f"stage {name!r} has params and after; got {', '.join(sorted(map(str, unknown)))}.")
            read.append(Stage(name, tuple(given.get("params", ())), tuple(given.get("after", ()))))
        else:
            read.append(Stage(name, given, (read[-1].name,) if read else ()))
    return read


def _ordered(stages: Sequence[Stage]) -> list[Stage]:
    known = {stage.name: stage for stage in stages}
    if not stages or len(known) < len(stages):
        raise ValueError(f"stages have a name each, and there is one at least; got {[stage.name for stage in stages]}.")
    for stage in stages:
        if missing := [name for name in stage.after if name not in known]:
            raise ValueError(f"stage {stage.name!r} is after {missing[0]!r}, which is none of {', '.join(known)}.")
    placed: dict[str, Stage] = {}
    while len(placed) < len(known):
        ready = [stage for stage in stages if stage.name not in placed and set(stage.after) <= placed.keys()]
        if not ready:
            left = sorted(known.keys() - placed.keys())
            raise ValueError(f"stages wait for each other: {', '.join(left)}; a stage is after those that it uses.")
        placed |= {stage.name: stage for stage in ready}
    return list(placed.values())
