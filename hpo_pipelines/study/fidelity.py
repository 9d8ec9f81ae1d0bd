"""The parameter of a pipeline whose rising values are the rungs that a study's trials climb."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from hpo_pipelines.engine.rungs import Ladder
from hpo_pipelines.errors import ParameterError, StudyError
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.study.goals import Goals
from hpo_pipelines.task import Task
from hpo_pipelines.workspace import Workspace
from search_spaces import Fixed, Space
from search_spaces.values import nearest

KEYS = ("param", "min", "max", "eta", "brackets")
CURE = 'write {"param": "sample_rows", "min": 1000, "max": 100000, "eta": 3}'
ETA = 3


@dataclass(frozen=True)
class Fidelity:
    """``parameter`` from ``low`` to ``high``, ``eta`` times as much on each rung; see :func:`parsed`."""

    parameter: str
    low: int | float
    high: int | float
    eta: float = ETA
    brackets: int = 1

    @property
    def rungs(self) -> tuple[int | float, ...]:
        """``low``, then ``eta`` times as much again and again, and ``high``.

        The last step is between the square root of ``eta`` and that times ``eta``: a rung just below the top would
        cost nearly as much as the top. Two at least; whole numbers where both ends are.
        """
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        found: list[int | float] = [self.low]
        while (value := self.low * self.eta ** len(found)) * math.sqrt(self.eta) <= self.high:
            found.append(round(value) if whole else float(value))
        return (*found, self.high)

    def within(self, space: Space) -> Space:
        """``space`` with the parameter fixed at its highest value, at which a trial's own run stands for it.

        Raises StudyError where trials differ in it.
        """
        if self.parameter not in space:
            return Space({**space, self.parameter: Fixed(self.high)}, constraints=space.constraints)
        if space[self.parameter] == Fixed(self.high):
            return space  # as it is pinned
        raise StudyError(
            f"fidelity: {self.parameter} is in the space, so that trials differ in it; take it out of one of the two."
        )

    def ladder(self, pipeline: Pipeline[..., Any], goals: Goals) -> Ladder:
        """Its rungs, as ``pipeline`` takes them. Raises StudyError for several objectives and for wrong values."""
        if goals.several:
            raise StudyError(
                f"fidelity: a rung compares one number, and there are {len(goals.objectives)} objectives; give one, "
                "and the others as constraints=."
            )
        parameters = pipeline.parameters
        try:
            taken = [parameters.check(self.parameter, value) for value in self.rungs]
        except ParameterError as error:
            raise StudyError(f"fidelity: {error}") from None
        values = tuple(parameters.encode({self.parameter: value})[self.parameter] for value in taken)
        if not all(_is_number(value) for value in values):
            raise StudyError(f"fidelity: {self.parameter} is no number to {pipeline.name}.")
        if self.brackets > len(values):
            raise StudyError(
                f"fidelity: brackets={self.brackets}, and there are {len(values)} rungs: {_listed(values)}."
            )
        return Ladder(self.parameter, values, self.eta, goals.objectives[0], goals.directions[0], self.brackets)


def parsed(given: Mapping[str, Any] | Fidelity | None) -> Fidelity | None:
    """What ``optimize`` is given as ``fidelity=``; None for nothing. Raises StudyError for what is none.

    ``{"param": …, "min": …, "max": …}`` with ``eta`` (2 or more, default 3) and ``brackets`` (default 1).
    """
    if given is None or isinstance(given, Fidelity):
        return given
    if not isinstance(given, Mapping):
        raise StudyError(f"fidelity={given!r}: {CURE}.")
    for name in given:
        if name not in KEYS:
            raise StudyError(f"fidelity: there is no {name!r}.{nearest(str(name), KEYS)} It has {', '.join(KEYS)}.")
    lacking = [name for name in KEYS[:3] if name not in given]
    if lacking:
        raise StudyError(f"fidelity: {' and '.join(lacking)} is missing; {CURE}.")
    if not isinstance(given["param"], str) or not given["param"]:
        raise StudyError(f"fidelity: param={given['param']!r} is the name of a parameter; {CURE}.")
    return _checked(
        Fidelity(given["param"], given["min"], given["max"], given.get("eta", ETA), given.get("brackets", 1))
    )


def _checked(found: Fidelity) -> Fidelity:
    for name, value in (("min", found.low), ("max", found.high), ("eta", found.eta)):
        if not _is_number(value):
            raise StudyError(f"fidelity: {name}={value!r} is a number; {CURE}.")
    if not 0 < found.low < found.high:
        raise StudyError(f"fidelity: min={found.low}, max={found.high}: 0 < min < max.")
    if found.eta < 2:
        raise StudyError(f"fidelity: eta={found.eta}: of each rung the best 1/eta go on, so it is 2 or more.")
    if isinstance(found.brackets, bool) or not isinstance(found.brackets, int) or found.brackets < 1:
        raise StudyError(f"fidelity: brackets={found.brackets!r} is a whole number, 1 or more.")
    return found


def refuse(**others: object) -> None:
    """Raise StudyError for what is given besides ``fidelity`` and means another thing."""
    why = {
        "repeats": "each makes several runs of a trial; give one of the two",
        "pruner": "its rungs are what prunes; leave pruner= out",
        "prune_on": "its rungs prune on the objective; leave prune_on= out",
    }
    for name, value in others.items():
        if value is not None and not (name == "pruner" and value == "none"):
            raise StudyError(f"fidelity= and {name}=: {why[name]}.")


def hear(study: optuna.Study, number: int, workspace: Workspace, run: Task, ladder: Ladder) -> None:
    """Have Optuna know what a trial gave on its rungs, before it is told: samplers rank pruned trials by that."""
    trial_id = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    known = study._storage.get_trial(trial_id)
    if known.state.is_finished():
        return
    for step, value in climbs(workspace, run, ladder).items():
        if step not in known.intermediate_values:
            study._storage.set_trial_intermediate_value(trial_id, step, value)


def climbs(workspace: Workspace, run: Task, ladder: Ladder) -> dict[int, float]:
    """The number that is compared, by the step of each rung that ``run`` came to."""
    return climbs_of(workspace, [run.id], ladder)[run.id]


def climbs_of(workspace: Workspace, runs: Sequence[str], ladder: Ladder) -> dict[str, dict[int, float]]:
    """:func:`climbs` of many runs, by their ids."""
    steps = set(ladder.steps)
    found: dict[str, dict[int, float]] = {run: {} for run in runs}
    for each in workspace.store.metrics.of(runs):
        if each.name == ladder.metric and each.step in steps:
            found[each.task][each.step] = each.value
    return found


def reached(ladder: Ladder, climbed: Collection[int]) -> int | float | None:
    """The highest value of the parameter among the rungs, by their steps, that were ``climbed``."""
    at = [value for value, step in zip(ladder.values, ladder.steps, strict=True) if step in climbed]
    return max(at, default=None)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _listed(values: tuple[int | float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
