"""A sampler around any other: it keeps some of what a good trial computed, and lets the other choose the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, BruteForceSampler, GridSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from hpo_pipelines.study.reuse.records import Attachable, Records, Standing, TrialRecords
from hpo_pipelines.study.reuse.stages import Stages, StagesLike
from hpo_pipelines.study.reuse.trials import best_first, completed

_TIMED = 200
"""So many of the latest trials say what stages take."""
_LEAST = 0.01
"""Of a whole trial's seconds: what the remaining stages count at least, so that no depth is taken always."""


class PrefixReuseSampler(BaseSampler):  # type: ignore[misc]
    """Proposes what ``base`` proposes, but with the parameters of some computed stages of a good trial kept.

    How much is kept is drawn anew each time, with probability inverse to the median seconds of the stages that then
    are to be computed: every depth of re-use gets the same share of the compute. The trial that it is kept from is
    one of the best ⌈√n⌉, of those whose stages are still kept. Kept values are the other trial's own, bit for bit:
    anything else is another key. Any sampler and any search space, conditional ones too; any number of objectives.

    ``stages`` says which parameters each stage reads: ``{"load": ["rows"], "fit": ["lr"]}`` is a chain. In a study over
    a pipeline they are read from the recorded runs. Seconds come from the same records, or, in plain Optuna, from the
    user attribute ``stage_seconds``. Until ``n_startup_trials`` are completed, ``base`` proposes alone. No stage is
    kept by more than ``max_uses`` trials: for stages that give something else each time they run.
    """

    def __init__(
        self,
        base: BaseSampler | None = None,
        stages: StagesLike | None = None,
        *,
        n_startup_trials: int = 10,
        max_uses: int | None = None,
        kept: Callable[[FrozenTrial, str], bool] | None = None,
        seed: int | None = None,
    ) -> None:
        """Raises ValueError for stages and numbers that cannot be."""
        if n_startup_trials < 2:
            raise ValueError(f"n_startup_trials={n_startup_trials}: there is nothing to keep before 2 trials or more.")
        if max_uses is not None and max_uses < 1:
            raise ValueError(f"max_uses={max_uses}: it is 1 or more, or None for no limit.")
        if isinstance(base, GridSampler | BruteForceSampler):
            raise ValueError(
                f"{type(base).__name__} takes every point once, in an order of its own: use it as it is. "
                "What its trials have in common is computed once anyhow."
            )
        self.base = base if base is not None else TPESampler(seed=seed)
        self.stages = None if stages is None else Stages(stages)
        """Those given; None: those of the records."""
        self._records: Records = TrialRecords(self.stages, kept)
        self._attached = False
        self._n_startup = n_startup_trials
        self._max_uses = max_uses
        self._random = np.random.default_rng(seed)
        self._spaces: dict[int, dict[str, BaseDistribution]] = {}
        """What ``base`` wants to sample together, by the id of each trial that is being asked for."""
        self._kept: dict[int, dict[str, Any]] = {}

    def attach(self, records: Records) -> None:
        """Read ``records`` from now on, whose stages are :attr:`stages` if those were given."""
        self._records, self._attached = records, True
        if isinstance(self.base, Attachable):
            self.base.attach(records)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        space = dict(self.base.infer_relative_search_space(study, trial))
        self._spaces[trial._trial_id] = space
        source, kept = (None, {}) if "fixed_params" in trial.system_attrs else self._choice(study, space)
        self._kept[trial._trial_id] = kept
        if source is None:
            return space
        return {**{name: source.distributions[name] for name in kept}, **space}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        space, kept = self._spaces.pop(trial._trial_id, search_space), self._kept.pop(trial._trial_id, {})
        return {**self.base.sample_relative(study, trial, space), **kept}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.base.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.base.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self.base.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        self._random = np.random.default_rng()
        self.base.reseed_rng()

    def _choice(
        self, study: optuna.Study, space: Mapping[str, BaseDistribution]
    ) -> tuple[FrozenTrial | None, dict[str, Any]]:
        """The trial to keep something of, and the values to keep."""
        if self.stages is None and not self._attached:
            raise ValueError(
                "PrefixReuseSampler knows no stages: give them, stages={'load': ['rows'], 'fit': ['lr']}, or use it in "
                "a study over a pipeline, which records them."
            )
        done = completed(study)
        if len(done) < self._n_startup:
            return None, {}
        stages = self._records.stages(done)
        if stages is None:
            return None, {}
        sampled = frozenset(name for trial in done for name in trial.params) | frozenset(space)
        depths = [frozenset[str](), *stages.reuse_sets(sampled)]
        chosen = depths[self._random.choice(len(depths), p=self._shares(stages, depths, sampled, done))]
        best = best_first(study, done)[: max(2, math.ceil(math.sqrt(len(done))))]
        best = [trial for trial in best if self._is_usable(trial, chosen, stages, done)]
        if not chosen or not best:
            return None, {}
        source = best[self._random.integers(len(best))]
        names = stages.params(chosen)
        return source, {name: value for name, value in source.params.items() if name in names}

    def _shares(
        self,
        stages: Stages,
        depths: Sequence[frozenset[str]],
        sampled: frozenset[str],
        done: Sequence[FrozenTrial],
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """How likely each depth is: inversely to the seconds that are left to compute."""
        seconds = median_seconds(self._records, done[-_TIMED:], stages)
        floor = _LEAST * sum(seconds.values())
        left = []
        for depth in depths:
            settled = stages.settled(stages.params(depth), sampled)
            left.append(max(floor, sum(seconds[name] for name in stages.names if name not in settled)))
        shares = 1.0 / np.array(left)
        return np.asarray(shares / shares.sum())

    def _is_usable(
        self, trial: FrozenTrial, depth: frozenset[str], stages: Stages, done: Sequence[FrozenTrial]
    ) -> bool:
        if any(self._records.standing(trial, name) is not Standing.KEPT for name in depth):
            return False
        if self._max_uses is None:
            return True
        reaching = {stages.reaching(name) for name in depth}
        return all(uses(trial, names, done) < self._max_uses for names in reaching if names)


def uses(trial: FrozenTrial, names: frozenset[str], trials: Sequence[FrozenTrial]) -> int:
    """How many of ``trials`` have the values of ``trial`` for all of ``names``."""
    own = {name: value for name, value in trial.params.items() if name in names}
    return sum(all(other.params.get(name) == value for name, value in own.items()) for other in trials)


def median_seconds(records: Records, trials: Sequence[FrozenTrial], stages: Stages) -> dict[str, float]:
    """The median seconds of each stage where it was computed; while nothing is known, all stages count the same."""
    known: dict[str, list[float]] = {name: [] for name in stages.names}
    for trial in trials:
        for name, seconds in records.seconds(trial).items():
            if name in known:
                known[name].append(seconds)
    if not any(known.values()):
        return dict.fromkeys(known, 1.0)
    medians = {name: float(np.median(seconds)) if seconds else 0.0 for name, seconds in known.items()}
    return medians if any(medians.values()) else dict.fromkeys(known, 1.0)
