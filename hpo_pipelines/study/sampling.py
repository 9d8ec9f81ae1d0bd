"""Optuna's side of a study: pruners by name, its storage, and drawing feasible samples from a search space."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from hpo_pipelines.errors import SpaceError, StudyError
from hpo_pipelines.study.journal import StudyJournal, StudyStorage
from hpo_pipelines.study.samplers import exhaustive
from search_spaces import Categorical, Distribution, Fixed, Float, Int, Space
from search_spaces.groups import flattened, nested
from search_spaces.values import nearest

PRUNERS = ("none", "median", "percentile", "successive-halving", "hyperband")

ATTEMPTS = 20
"""Proposals in a row that may violate the constraints before a feasible sample is drawn here and proposed instead."""

DRAWS = 10_000
"""Samples drawn before the feasible region is taken for empty."""

INFEASIBLE = "infeasible"
"""The user attribute, of Optuna's trials that never ran, that lists the constraints violated."""


ORIGIN = "hpo:origin"
"""The user attribute, of Optuna's trials that were run elsewhere, that holds the id of the run."""


def pruner(choice: str | optuna.pruners.BasePruner | None) -> optuna.pruners.BasePruner:
    """The pruner called ``choice`` (default none), or the given one. Raises StudyError when it is unknown."""
    if isinstance(choice, optuna.pruners.BasePruner):
        return choice
    made: dict[str, Any] = {
        "none": optuna.pruners.NopPruner,
        "median": optuna.pruners.MedianPruner,
        "percentile": lambda: optuna.pruners.PercentilePruner(25.0),
        "successive-halving": optuna.pruners.SuccessiveHalvingPruner,
        "hyperband": optuna.pruners.HyperbandPruner,
    }
    name = choice or "none"
    if name not in made:
        hint = nearest(str(name), PRUNERS)
        raise StudyError(f"pruner={choice!r}: there are {', '.join(PRUNERS)}, or any Optuna pruner object.{hint}")
    return made[name]()


def storage(url: str | None, home: Path, study: str) -> BaseStorage:
    """Optuna's storage of the study with id ``study``: a journal file of its own under ``home``, or that at ``url``."""
    return StudyStorage(journal(home, study)) if url is None else optuna.storages.get_storage(url)


def journal(home: Path, study: str) -> StudyJournal:
    """The journal of the study with id ``study``."""
    return StudyJournal(journal_path(home, study))


def journal_path(home: Path, study: str) -> Path:
    """Where the journal of the study with id ``study`` is."""
    return home / "optuna" / f"{study}.journal"


def suggest(trial: optuna.trial.BaseTrial, space: Space) -> dict[str, Any]:
    """The active parameters of ``space`` as the pipeline takes them, the members of a group in a dict."""
    return nested(_drawn(trial, space))


def feasible(study: optuna.Study, space: Space, trial: optuna.Trial | None = None) -> optuna.Trial:
    """``trial``, or else one that is asked for, if its sample satisfies the constraints; else the first that does.

    One that does not is told as pruned, with its constraints set, before anything runs: constrained samplers (TPE)
    learn from it, others ignore it, and it counts as no trial of the study. After :data:`ATTEMPTS` of them a feasible
    sample is drawn at random and proposed instead. Raises SpaceError if :data:`DRAWS` draws find none.
    """
    for attempt in itertools.count(1):
        asked = study.ask() if trial is None else trial
        violated = space.violated(_drawn(asked, space)) if space.constraints else []
        if not violated:
            return asked
        refuse(study, asked, violated)
        trial = None
        if attempt % ATTEMPTS == 0 and not exhaustive(study.sampler):
            study.enqueue_trial(_feasible_draw(space, Random(asked.number)))
    raise AssertionError("count() has no end")


def refuse(study: optuna.Study, trial: optuna.Trial, violated: list[str]) -> None:
    """Tell ``trial``, whose run is not to be, as infeasible."""
    for text in violated:
        trial.set_constraint(text[:200], 1.0)  # some storages hold short keys only
    trial.set_user_attr(INFEASIBLE, violated)
    study.tell(trial.number, state=TrialState.PRUNED, skip_if_finished=True)


def constrain(study: optuna.Study, number: int, violations: Mapping[str, float]) -> None:
    """Note by how much a trial violates each constraint, for samplers that heed it, before it is told."""
    if not violations:
        return
    trial_id = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    known = study._storage.get_trial(trial_id)
    if not known.state.is_finished():
        trial = optuna.Trial(study, trial_id)
        for key in violations.keys() - known.constraints.keys():
            trial.set_constraint(key, violations[key])


def ran(trial: FrozenTrial) -> bool:
    """Whether a trial of Optuna's was run by the study: those told as infeasible, or brought in, were not."""
    return INFEASIBLE not in trial.user_attrs and ORIGIN not in trial.user_attrs


def _feasible_draw(space: Space, random: Random) -> dict[str, Any]:
    """A random feasible sample, as Optuna takes it."""
    broken: Counter[str] = Counter()
    for _ in range(DRAWS):
        values = space.draw(random)
        violated = space.violated(values)
        if not violated:
            return _labelled(space, values)
        broken.update(violated)
    often = ", ".join(f"{text!r} by {100 * count / DRAWS:.0f} %" for text, count in broken.most_common(3))
    raise SpaceError(
        f"none of {DRAWS} samples drawn at random satisfies the constraints (violated: {often}): "
        "widen the ranges or loosen a constraint."
    )


def _drawn(trial: optuna.trial.BaseTrial, space: Space) -> dict[str, Any]:
    """Draw the active parameters of ``space``, each after those that decide whether it exists."""
    values: dict[str, Any] = {}
    for name in space.order():
        if space.is_active(name, values):
            values[name] = _draw(trial, name, space[name])
    return values


def _draw(trial: optuna.trial.BaseTrial, name: str, distribution: Distribution) -> Any:
    if isinstance(distribution, Fixed):
        return distribution.value
    if isinstance(distribution, Float):
        low, high = float(distribution.low), float(distribution.high)
        return trial.suggest_float(name, low, high, log=distribution.log, step=distribution.step)
    if isinstance(distribution, Int):
        return trial.suggest_int(
            name, distribution.low, distribution.high, log=distribution.log, step=distribution.step
        )
    if isinstance(distribution, Categorical):
        return distribution.choice_of(trial.suggest_categorical(name, list(distribution.labels)))
    raise TypeError(f"{name}: no way to draw from {type(distribution).__name__}")


def enqueued(space: Space, base: Mapping[str, Any]) -> dict[str, Any] | None:
    """The ``base`` parameters as a trial to be run first; None when they lie outside the space, or are infeasible."""
    values: dict[str, Any] = {}
    given = flattened(space, base)
    for name in space.order():
        if not space.is_active(name, values):
            continue
        if isinstance(space[name], Fixed):
            values[name] = space[name].value  # type: ignore[attr-defined]
            continue
        if name not in given:
            return None
        value = given[name]
        plain = value.value if hasattr(value, "value") and not space[name].contains(value) else value
        if not space[name].contains(plain):
            return None
        values[name] = plain
    return None if space.violated(values) else _labelled(space, values)


def _labelled(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """A sample as Optuna takes it: without what is fixed, and choices by their labels."""
    return {name: _label(space[name], value) for name, value in values.items() if not isinstance(space[name], Fixed)}


def unlabelled(space: Space, labelled: Mapping[str, Any]) -> dict[str, Any]:
    """The sample that Optuna takes as ``labelled``, with what is fixed."""
    values: dict[str, Any] = {}
    for name in space.order():
        item = space[name]
        if space.is_active(name, values):
            if isinstance(item, Fixed):
                values[name] = item.value
            else:
                values[name] = item.choice_of(labelled[name]) if isinstance(item, Categorical) else labelled[name]
    return values


def _label(distribution: Distribution, value: Any) -> Any:
    return distribution.label_of(value) if isinstance(distribution, Categorical) else value
