"""What is to be run anew although its outcome is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Refresh:
    """Which steps must be run anew: all, those called like one of ``steps``, or those from ``from_steps`` on."""

    everything: bool = False
    steps: frozenset[str] = frozenset()
    from_steps: frozenset[str] = frozenset()

    @classmethod
    def of(cls, option: bool | str | Sequence[str], from_step: str | None = None) -> Refresh:
        """From what a person gives: everything or nothing, a step's name, several names."""
        start = frozenset() if from_step is None else frozenset({from_step})
        if isinstance(option, bool):
            return cls(option, frozenset(), start)
        return cls(False, frozenset([option] if isinstance(option, str) else option), start)

    def names(self, *titles: str) -> bool:
        """Whether a step with one of ``titles`` (its name, its component's) is named."""
        return self.everything or not (self.steps | self.from_steps).isdisjoint(titles)
