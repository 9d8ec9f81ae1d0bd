"""Which parameters reach which steps, as a value: a cell for each step and parameter."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

YES, MAYBE, NO, UNKNOWN = "yes", "maybe", "no", "unknown"
"""The verdicts of tracking. ``yes``: a value made of the parameter gets there. ``maybe``: what is done depends on it.
``no``: it cannot get there. ``unknown``: the body could not be followed everywhere that matters."""


@dataclass(frozen=True)
class Evidence:
    """What recorded runs show of one step and one parameter.

    ``same``: pairs of runs with other values of the parameter, and one key of the step: there it made no difference.
    ``differ``: pairs that differ in nothing else that is varied, and have two keys: there it did.
    """

    same: int = 0
    differ: int = 0


@dataclass(frozen=True)
class Cell:
    """Whether a parameter reaches a step; ``how`` it may, or why that is unknown."""

    verdict: str
    how: str = ""
    keys: Evidence = field(default_factory=Evidence)

    @property
    def said(self) -> str:
        """``yes``, ``maybe``, ``no`` or ``unknown``; where only keys tell ``yes, by keys`` or ``no, by keys``.

        *no, by keys* is what was seen so far. A *no* that keys contradict is ``yes, by keys``: something that is no
        parameter differed, or a component whose outputs differ from run to run.
        """
        if self.keys.differ and self.verdict in (NO, UNKNOWN):
            return "yes, by keys"
        if self.keys.same and self.verdict == UNKNOWN:
            return "no, by keys"
        return self.verdict

    @property
    def agrees(self) -> bool | None:
        """Whether keys show what tracking says; None where they show nothing of it."""
        if self.verdict in (YES, MAYBE) and self.keys.differ:
            return True
        if self.verdict == NO and (self.keys.differ or self.keys.same):
            return not self.keys.differ
        # A value that reaches a step may come out the same there: min(x, 5), a branch not taken.
        return None


@dataclass(frozen=True)
class Reach:
    """The cells by step and parameter; ``stops`` says where the body could not be followed further.

    ``anew`` are steps that are computed each time, so that what comes after may differ whatever the parameters are.
    """

    params: tuple[str, ...]
    cells: Mapping[str, Mapping[str, Cell]]
    stops: tuple[str, ...] = ()
    anew: frozenset[str] = frozenset()

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps that were seen, in the order in which they were."""
        return tuple(self.cells)

    @property
    def complete(self) -> bool:
        """Whether nothing is unknown: then a *no* is certain, and there are no more steps than these."""
        return not self.stops and all(cell.verdict != UNKNOWN for row in self.cells.values() for cell in row.values())

    def of(self, step: str) -> frozenset[str]:
        """The parameters that reach ``step`` or may; those of which that is unknown are among them."""
        return frozenset(name for name, cell in self.cells[step].items() if cell.said not in (NO, "no, by keys"))

    def with_keys(self, evidence: Mapping[str, Mapping[str, Evidence]]) -> Reach:
        """With what recorded runs show; steps that only these have are added."""
        blank = Cell(UNKNOWN, "the body was not followed to this step")
        cells = {
            step: {
                param: replace(self.cells.get(step, {}).get(param, blank), keys=shown)
                for param, shown in {
                    **{name: Evidence() for name in self.params},
                    **evidence.get(step, {}),
                }.items()
                if param in self.params
            }
            for step in dict.fromkeys((*self.cells, *evidence))
        }
        return replace(self, cells=cells)

    def record(self) -> dict[str, Any]:
        """Everything as JSON."""
        return {
            "params": list(self.params),
            "complete": self.complete,
            "stops": list(self.stops),
            "steps": {
                step: {
                    param: {
                        "reaches": cell.said,
                        "tracked": cell.verdict,
                        "how": cell.how,
                        "keys": dataclasses.asdict(cell.keys),
                    }
                    for param, cell in row.items()
                }
                for step, row in self.cells.items()
            },
        }
