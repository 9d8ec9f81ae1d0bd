"""A narrower space for a next study: the box around the best trials of one.

It is the simplest of the ways in which Perrone et al. (Learning search spaces for Bayesian optimization, NeurIPS 2019)
find a space in what was observed before: of each parameter the range, or the choices, that the best have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hpo_pipelines.errors import StudyError
from hpo_pipelines.study.trial import Trial
from search_spaces import Categorical, Distribution, Fixed, Float, Int, Space
from search_spaces.groups import flattened

if TYPE_CHECKING:
    from hpo_pipelines.study.goals import Goals
    from hpo_pipelines.study.handle import Study


def narrowed(study: Study, keep: float) -> Space:
    """The space of ``study`` around the best ``keep`` (above 0, at most 1) of its feasible completed trials.

    A range goes from the least to the greatest value among these, choices are those among them; where all agree the
    parameter is fixed. What none of them has, since its condition does not hold, is dropped if it no longer can hold.
    Of several objectives the Pareto front is best, then the front of the others, until there are enough. Raises
    StudyError where fewer than two trials are kept.
    """
    if not 0 < keep <= 1:
        raise StudyError(f"keep={keep:g}: the share of the trials that are kept, above 0 and at most 1.")
    done = [trial for trial in study.trials if trial.values is not None and trial.is_feasible]
    count = math.ceil(keep * len(done))
    if count < 2:
        cure = "run more trials" if len(done) < 2 else f"keep {(100 // len(done) + 1) / 100:g} or more"
        raise StudyError(
            f"study {study.name} has {len(done)} feasible completed trials, of which keep={keep:g} leaves {count}: a "
            f"range needs two; {cure}."
        )
    space = study.space
    samples = [_sampled(space, trial) for trial in _best(study.goals, done, count)]
    for name in space.order():  # what decides goes before what it decides on, whose condition it may narrow
        values = [sample[name] for sample in samples if name in sample]
        if values:
            space = space.override({name: _around(space[name], values)})
    return space


def _best(goals: Goals, trials: Sequence[Trial], count: int) -> list[Trial]:
    if not goals.several:
        sign = -1 if goals.directions[0] == "maximize" else 1
        return sorted(trials, key=lambda trial: (sign * (trial.value or 0.0), trial.number))[:count]
    rest = {trial.number: trial for trial in trials}
    found: list[Trial] = []
    while len(found) < count:
        front = goals.front({number: trial.values or () for number, trial in rest.items()})
        found += [rest.pop(number) for number in front]
    return found[:count]


def _sampled(space: Space, trial: Trial) -> dict[str, Any]:
    """The active parameters of a trial."""
    params = flattened(space, trial.params)
    values: dict[str, Any] = {}
    for name in space.order():
        if space.is_active(name, values):
            values[name] = params[name]
    return values


def _around(distribution: Distribution, values: Sequence[Any]) -> Distribution:
    if isinstance(distribution, Categorical):
        chosen = [choice for choice in distribution.choices if any(_same(choice, value) for value in values)]
        return Categorical(chosen) if len(chosen) > 1 else Fixed(chosen[0])
    if isinstance(distribution, Int):
        low, high = int(min(values)), int(max(values))
        return Fixed(low) if low == high else Int(low, high, log=distribution.log, step=distribution.step)
    if isinstance(distribution, Float):
        least, most = min(values), max(values)
        return Fixed(least) if least == most else Float(least, most, log=distribution.log, step=distribution.step)
    return distribution


def _same(choice: Any, value: Any) -> bool:
    return Fixed(choice).contains(value)
