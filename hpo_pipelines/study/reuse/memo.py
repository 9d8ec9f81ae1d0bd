"""A sampler for pipelines whose stages are kept: expected gain per second that is left to compute."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import scipy.stats
import threadpoolctl
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial, TrialState

from hpo_pipelines.study.reuse.beginning import next_point
from hpo_pipelines.study.reuse.cube import Array, Cube
from hpo_pipelines.study.reuse.gain import Gain, GittinsIndex, ImprovementPerSecond
from hpo_pipelines.study.reuse.gaussian import GaussianProcess
from hpo_pipelines.study.reuse.offers import Offers
from hpo_pipelines.study.reuse.records import Records, TrialRecords
from hpo_pipelines.study.reuse.search import Search
from hpo_pipelines.study.reuse.seconds import Prices
from hpo_pipelines.study.reuse.stages import Stage, Stages, StagesLike
from hpo_pipelines.study.reuse.trials import Known, Proposals, best_first, completed, pruned, running

GAINS = ("improvement", "gittins")
BLIND = "hpo:blind"
"""The system attribute of trials that were proposed without a look at their cost."""

MOST = 300
"""A process is fitted to no more trials than this."""

_INCUMBENTS = 5
_LAST_SHARE = 0.15
"""Of the budget: from then on small improvements count too."""
_SKEWED = 0.5
_DRAWS = 20
_LAST_DRAWS = 64
_MOST_GIVEN_UP = 100
_FEW = 8


class MemoGPSampler(BaseSampler):  # type: ignore[misc]
    """Gaussian-process optimisation that knows which stages of a candidate are computed already, or being computed.

    A candidate's score is the expected improvement that it promises per second that is left to compute. Besides fresh
    candidates there are those that keep stages of earlier trials, bit for bit: of a chain its prefixes; of any other
    graph each branch too, and two branches from two trials.

    ``stages`` says which parameters each stage reads: ``{"load": ["rows"], "fit": ["lr"]}`` is a chain. In a study over
    a pipeline they are read from the recorded runs; seconds too, which in plain Optuna are in the user attribute
    ``stage_seconds``.

    ``n_startup_trials`` are spread evenly first. ``gain`` is ``improvement`` or ``gittins``. ``hedge`` is the share of
    the compute that goes to plain expected improvement, blind to cost, whatever is kept: so much is the price of being
    wrong about the stages. ``margin``, in deviations of the values, is by how much a candidate has to improve to count,
    until 15 % of the ``budget`` (seconds of compute) are left. ``wait`` is what a second of waiting for a stage that
    another trial computes counts, 0 where only compute matters, 1 where workers would idle. ``overhead`` are the
    seconds of a trial that computes nothing (default: 0.2 % of a whole one). ``max_uses`` is how many trials may keep
    one stage. ``kept(trial, stage)`` says, in plain Optuna, whether a completed trial's stage is still in the cache.

    One objective. Parameters that not all trials have are sampled at random, as Optuna's GPSampler does.
    """

    def __init__(
        self,
        stages: StagesLike | None = None,
        *,
        n_startup_trials: int = 10,
        gain: str = "improvement",
        hedge: float = 0.25,
        margin: float = 0.02,
        wait: float = 0.5,
        overhead: float | None = None,
        budget: float | None = None,
        max_uses: int | None = None,
        nested: bool = True,
        additive: bool = True,
        warp: bool = True,
        kept: Callable[[FrozenTrial, str], bool] | None = None,
        independent_sampler: BaseSampler | None = None,
        seed: int | None = None,
    ) -> None:
        """Raises ValueError for stages and numbers that cannot be.

        ``nested`` lets the first trials share stages, ``additive`` gives the process a term for each stage, ``warp``
        straightens skewed values: for ablations.
        """
        if gain not in GAINS:
            raise ValueError(f"gain={gain!r}: there are {' and '.join(GAINS)}.")
        _check(n_startup_trials, hedge, wait, margin, {"overhead": overhead, "budget": budget, "max_uses": max_uses})
        self.stages = None if stages is None else Stages(stages)
        """Those given; None: those of the records."""
        self._records: Records = TrialRecords(self.stages, kept)
        self._attached = False
        self._n_startup = n_startup_trials
        self._gain, self._hedge, self._margin, self._wait = gain, hedge, margin, wait
        self._overhead, self._budget, self._max_uses = overhead, budget, max_uses
        self._nested, self._additive, self._warp = nested, additive, warp
        self._independent = independent_sampler or RandomSampler(seed=seed)
        self._random = np.random.default_rng(seed)
        self._space = IntersectionSearchSpace()
        self._proposals = Proposals()
        self._learnt: dict[Any, Any] = {}
        """Processes and prices of the trial before, whose hyper-parameters the next ones begin with."""
        self._threads = threadpoolctl.ThreadpoolController()

    def attach(self, records: Records) -> None:
        """Read ``records`` from now on, whose stages are :attr:`stages` if those were given."""
        self._records, self._attached = records, True

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {name: found for name, found in self._space.calculate(study).items() if not found.single()}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        if len(study.directions) > 1:
            raise ValueError(
                "MemoGPSampler has one objective; for several, PrefixReuseSampler() goes around any other."
            )
        if self.stages is None and not self._attached:
            raise ValueError(
                "MemoGPSampler knows no stages: give them, stages={'load': ['rows'], 'fit': ['lr']}, or use it in a "
                "study over a pipeline, which records them."
            )

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._proposals.close(trial)

    def reseed_rng(self) -> None:
        self._random = np.random.default_rng()
        self._independent.reseed_rng()

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space or set(search_space) <= set(trial.system_attrs.get("fixed_params", {})):
            return {}
        # Matrices are small here, and the cores busy with trials: threads that wait for each other made it much
        # slower.
        with self._threads.limit(limits=1):
            return self._sampled(study, trial, search_space)

    # -- one proposal

    def _sampled(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        done = [each for each in completed(study) if set(search_space) <= each.params.keys()]
        others = running(study, self._proposals, search_space, trial.number)
        stages = self._records.stages(done)
        given_up = len(pruned(study, search_space, _MOST_GIVEN_UP))
        first = len(done) + len(others) + given_up < self._n_startup or len(done) < 2
        if first and (stages is None or not self._nested or not done):
            return {}
        ask = _Ask(
            study, trial, Cube(search_space), stages or Stages([Stage("all", tuple(search_space))]), done, others
        )
        prices = self._prices(ask)
        if first:
            drawn = (
                next_point(ask.stages, ask.cube, prices, ask.everyone, count=self._n_startup, random=self._random)
                for _ in range(_DRAWS)
            )
            proposed = next(filter(self._records.allows, drawn), {})
        else:
            proposed = self._proposed(ask, prices)
        self._proposals.note(trial, proposed)
        return proposed

    def _proposed(self, ask: _Ask, prices: Prices) -> dict[str, Any]:
        blind = self._is_blind_next(ask, prices)
        if blind:
            ask.study._storage.set_trial_system_attr(ask.trial._trial_id, BLIND, True)
        values = standardised(ask.values)
        targets = values if blind or not self._warp else straightened(values)
        process = self._process(ask, targets, blind=blind)
        best = float(targets.max())
        order = np.argsort(-targets)
        search = Search(
            ask.cube,
            process,
            self._gain_over(best, ask, prices, blind=blind),
            prices,
            names=ask.stages.names,
            incumbents=ask.points[order[:_INCUMBENTS]],
            wait=self._wait,
            allows=self._records.allows,
            random=self._random,
        )
        offers = Offers(ask.stages, ask.cube.names, self._records, most_uses=self._max_uses)
        kept = [offers.fresh]
        if not blind:
            best_trials = [Known(each, each.params) for each in best_first(ask.study, ask.everything)]
            kept = offers.of(best_trials, ask.others, self._random)
        return self._first_new(ask, [search.params(candidate) for candidate in search.ranked(kept)])

    def _first_new(self, ask: _Ask, candidates: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The best candidate that no trial has had; where all have been, any point that none has had."""
        had = {ask.identity(params) for params in ask.taken(self._proposals)}
        new = [params for params in candidates if ask.identity(params) not in had]
        if new:
            return new[0]
        drawn = [ask.cube.params(point) for point in ask.cube.sample(_LAST_DRAWS, self._random)]
        allowed = [params for params in drawn if self._records.allows(params)] or drawn
        return next((params for params in allowed if ask.identity(params) not in had), allowed[0])

    def _gain_over(self, best: float, ask: _Ask, prices: Prices, *, blind: bool) -> Gain:
        if blind:
            return ImprovementPerSecond(best, power=0.0)
        if self._gain == "gittins":
            return GittinsIndex(best, prices.whole)
        spent = sum(sum(self._records.seconds(trial).values()) for trial in ask.everything)
        last = self._budget is not None and spent > (1.0 - _LAST_SHARE) * self._budget
        return ImprovementPerSecond(best if last else best + self._margin)

    def _is_blind_next(self, ask: _Ask, prices: Prices) -> bool:
        """Whether less than the hedge's share of the compute since the first trials was spent blind to cost."""
        late = [trial for trial in ask.everything if trial.number >= self._n_startup]
        spent = {trial.number: sum(self._records.seconds(trial).values()) for trial in late}
        if not any(spent.values()):
            spent = dict.fromkeys(spent, 1.0)
        flying = [known.trial for known in ask.others if known.number >= self._n_startup]
        spent |= {trial.number: prices.whole for trial in flying}
        blind = sum(spent[trial.number] for trial in (*late, *flying) if BLIND in trial.system_attrs)
        return self._hedge >= 1.0 or blind < self._hedge * sum(spent.values())

    def _process(self, ask: _Ask, targets: Array, *, blind: bool) -> GaussianProcess:
        groups: list[list[int]] = []
        if not blind and self._additive and len(ask.stages) > 1:
            groups = [columns for stage in ask.stages if (columns := ask.cube.columns(stage.params))]
        key = blind, tuple(ask.cube.names), tuple(map(tuple, groups))
        known = self._learnt.setdefault(("process", blind), {})
        if key not in known:
            known.clear()
            known[key] = GaussianProcess(ask.cube.categorical, groups)
        process: GaussianProcess = known[key].fit(ask.points, targets)
        if ask.given_up:
            # What the pruner gave up gives no value, and would be proposed again and again. It was behind others.
            points = ask.cube.points([each.params for each in ask.given_up])
            process = process.believing(points, float(np.median(targets)))
        return process.believing(ask.cube.points([each.params for each in ask.others])) if ask.others else process

    def _prices(self, ask: _Ask) -> Prices:
        known = self._learnt.get("prices")
        if known is None or known[0] != (ask.stages, ask.cube.names):
            known = self._learnt["prices"] = (
                (ask.stages, ask.cube.names),
                Prices(ask.stages, ask.cube, self._overhead),
            )
        prices: Prices = known[1]
        prices.fit(ask.points, [self._records.seconds(trial) for trial in ask.done])
        return prices


class _Ask:
    """What one proposal is made from."""

    def __init__(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        cube: Cube,
        stages: Stages,
        done: Sequence[FrozenTrial],
        others: Sequence[Known],
    ) -> None:
        self.study, self.trial, self.cube, self.stages = study, trial, cube, stages
        self.everything, self.others = done, others
        self.given_up = pruned(study, cube.names, _MOST_GIVEN_UP)
        self.done = learnt_from(study, done)
        self.points = cube.points([each.params for each in self.done])

    @property
    def everyone(self) -> list[Known]:
        return [*(Known(each, each.params) for each in (*self.done, *self.given_up)), *self.others]

    @property
    def values(self) -> Array:
        """The completed trials' values, higher is better."""
        sign = 1.0 if self.study.direction is optuna.study.StudyDirection.MAXIMIZE else -1.0
        return sign * np.array([each.values[0] for each in self.done])

    def taken(self, proposals: Proposals) -> list[Mapping[str, Any]]:
        """The parameters of every trial, however it ended."""
        trials = self.study.get_trials(deepcopy=False)
        return [proposals.of(each) for each in trials if each.number != self.trial.number]

    def identity(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(repr(params.get(name)) for name in self.cube.names)


def learnt_from(study: optuna.Study, done: Sequence[FrozenTrial]) -> Sequence[FrozenTrial]:
    """Of ``done``, the oldest first, those that a process is fitted to: all, or of many the best and the newest.

    Fitting takes the cube of their number: a few seconds at a thousand.
    """
    if len(done) <= MOST:
        return done
    best = best_first(study, done)[: MOST // 2]
    chosen = {trial.number for trial in best}
    newest = [trial for trial in done if trial.number not in chosen][-(MOST - len(best)) :]
    return sorted((*best, *newest), key=lambda trial: trial.number)


def standardised(values: Array) -> Array:
    """``values`` with mean 0 and deviation 1; all 0 if they are all the same."""
    return np.asarray((values - values.mean()) / max(float(values.std()), 1e-12))


def straightened(values: Array) -> Array:
    """Standardised values with their long tail drawn in, if they have one, by Yeo and Johnson's power transformation.

    Yeo, Johnson, "A new family of power transformations to improve normality or symmetry" (Biometrika, 2000).
    Pipelines have long tails of bad values, which a stationary process takes for the scale of everything.
    """
    if len(values) < _FEW or values.std() < 1e-9 or abs(float(scipy.stats.skew(values))) <= _SKEWED:
        return values
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of overflow on the way, where the likelihood is flat
        warped = np.asarray(scipy.stats.yeojohnson(values)[0])
    return standardised(warped) if np.isfinite(warped).all() and warped.std() > 1e-9 else values


def _check(startup: int, hedge: float, wait: float, margin: float, positive: Mapping[str, float | None]) -> None:
    if startup < 2:
        raise ValueError(f"n_startup_trials={startup}: a process needs 2 trials or more.")
    for name, value in {"hedge": hedge, "wait": wait}.items():
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name}={value}: it is a share, from 0 to 1.")
    if margin < 0:
        raise ValueError(f"margin={margin}: it is 0 or more.")
    for name, given in positive.items():
        if given is not None and given <= 0:
            raise ValueError(f"{name}={given}: it is above 0, or left out.")
