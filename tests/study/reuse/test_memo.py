"""The sampler as a whole, and what can go wrong with it: each guard has its test."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial

from benchmarks.samplers.clock import LOADING, Story, Study, run
from benchmarks.samplers.problems import Problem, problems
from hpo_pipelines.study.reuse import SECONDS, MemoGPSampler
from hpo_pipelines.study.reuse.memo import BLIND, MOST, learnt_from, standardised, straightened

CHAIN = {"load": ["rows"], "prepare": ["scale"], "fit": ["lr", "kind"]}


def study_of(sampler: MemoGPSampler, **options: Any) -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=sampler, **options)


def value_of(trial: optuna.Trial) -> float:
    rows = trial.suggest_int("rows", 10, 10_000, log=True)
    scale = trial.suggest_float("scale", 0.1, 10.0, log=True)
    kind = trial.suggest_categorical("kind", ["svm", "tree", None])
    lr = trial.suggest_float("lr", 0.0, 1.0, step=0.125)
    return -abs(np.log10(rows) - 3) - abs(np.log10(scale)) - (lr - 0.25) ** 2 - (kind != "tree")


def on_clock(problem: Problem, budget: float, **options: Any) -> tuple[Story, list[FrozenTrial]]:
    sampler = MemoGPSampler(problem.stages, seed=0, overhead=LOADING, **options)
    study = Study(problem, sampler, Story(problem.name, "memo", 0))
    return study.sequential(budget), study.optuna.get_trials(deepcopy=False)


@pytest.mark.integration
def test_mixed_spaces_are_searched() -> None:
    study = study_of(MemoGPSampler(CHAIN, seed=0))
    study.optimize(value_of, n_trials=30)
    assert study.best_value > -0.35
    assert study.best_params["kind"] == "tree"


def test_kept_values_are_the_same_bit_for_bit() -> None:
    story, trials = on_clock(problems()["hart6:up"], 1500.0)
    assert story.executions["s0"] < 0.75 * story.trials
    shared = [trial for trial in trials if "s0" not in trial.user_attrs[SECONDS]]
    assert len(shared) > 5
    known = {(trial.params["x0"].hex(), trial.params["x1"].hex()) for trial in trials if trial not in shared}
    assert {(trial.params["x0"].hex(), trial.params["x1"].hex()) for trial in shared} <= known


@pytest.mark.integration
def test_branches_of_two_trials_are_joined() -> None:
    _, trials = on_clock(problems()["dag"], 4000.0)
    joined = [trial for trial in trials if list(trial.user_attrs[SECONDS]) == ["s2"]]
    branches: dict[Any, set[Any]] = {}
    for trial in trials:
        if trial not in joined:
            branches.setdefault((trial.params["x0"], trial.params["x1"]), set()).add(trial.number)
    crossed = [
        trial
        for trial in joined
        if not any(
            (other.params["x0"], other.params["x2"]) == (trial.params["x0"], trial.params["x2"])
            for other in trials[: trial.number]
        )
    ]
    assert crossed, "only what joins two kept branches was computed, for branches that never met before"


# -- lock-in on a kept prefix


def test_the_first_trials_share_a_little_and_no_more() -> None:
    _, trials = on_clock(problems()["hart6:up"], 1300.0)
    first = trials[:10]
    assert 6 <= len({trial.params["x0"] for trial in first}) <= 7
    assert 8 <= len({(trial.params["x0"], trial.params["x2"]) for trial in first}) <= 9
    assert len({tuple(trial.params.values()) for trial in first}) == 10


@pytest.mark.integration
def test_a_share_of_the_compute_is_blind_to_cost() -> None:
    _, trials = on_clock(problems()["casc:up"], 2600.0, hedge=0.25)
    late = trials[10:]
    spent = [sum(trial.user_attrs[SECONDS].values()) for trial in late]
    blind = sum(seconds for trial, seconds in zip(late, spent) if BLIND in trial.system_attrs)
    assert 0.12 <= blind / sum(spent) <= 0.45
    none = on_clock(problems()["casc:up"], 1600.0, hedge=0.0)[1]
    assert not any(BLIND in trial.system_attrs for trial in none)


# -- polishing what costs next to nothing


def test_no_configuration_comes_twice() -> None:
    study = study_of(MemoGPSampler({"one": ["a"], "two": ["b"]}, seed=0, n_startup_trials=4))

    def value(trial: optuna.Trial) -> float:
        return -abs(trial.suggest_int("a", 0, 4) - 2) - abs(trial.suggest_int("b", 0, 4) - 2)

    study.enqueue_trial({"a": 0, "b": 0})
    study.optimize(value, n_trials=25)
    configurations = Counter(tuple(trial.params.values()) for trial in study.trials)
    # Those before there is a space to speak of are drawn independently.
    assert len(configurations) >= 24
    assert configurations.keys() <= set(product(range(5), repeat=2))


def test_a_full_space_is_asked_again_without_an_error() -> None:
    study = study_of(MemoGPSampler({"one": ["a"], "two": ["b"]}, seed=0, n_startup_trials=2))
    study.optimize(lambda trial: trial.suggest_int("a", 0, 1) + trial.suggest_int("b", 0, 1), n_trials=8)
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 4


@pytest.mark.integration
def test_kept_prefixes_are_not_polished() -> None:
    _, trials = on_clock(problems()["casc:up"], 2600.0, hedge=0.0)
    points = np.array([list(trial.params.values()) for trial in trials])
    nearest = [np.abs(points[:at] - points[at]).max(axis=1).min() for at in range(11, len(points))]
    assert np.quantile(nearest, 0.1) > 1e-4


# -- what is kept no longer


@pytest.mark.integration
def test_what_was_evicted_counts_as_not_computed() -> None:
    evicted: set[int] = set()

    def kept(trial: FrozenTrial, stage: str) -> bool:
        return trial.number not in evicted

    problem = problems()["hart6:up"]
    sampler = MemoGPSampler(problem.stages, seed=0, overhead=LOADING, kept=kept, hedge=0.0)
    study = Study(problem, sampler, Story(problem.name, "memo", 0))
    study.sequential(1500.0)
    before = study.optuna.get_trials(deepcopy=False)
    evicted |= {trial.number for trial in before}
    proposed = study.optuna.ask()
    x0 = proposed.suggest_float("x0", 0.0, 1.0)
    assert x0 not in {trial.params["x0"] for trial in before}


# -- stages that give something else each time


@pytest.mark.integration
def test_no_stage_is_kept_by_more_trials_than_allowed() -> None:
    _, trials = on_clock(problems()["hart6:up"], 2200.0, max_uses=3)
    assert max(Counter(trial.params["x0"] for trial in trials).values()) <= 3
    _, free = on_clock(problems()["hart6:up"], 2200.0)
    assert max(Counter(trial.params["x0"] for trial in free).values()) > 3


# -- several workers


@pytest.mark.integration
@pytest.mark.parametrize("name", ["hart6:up", "dag"])
def test_workers_do_not_all_wait_for_one_stage(name: str) -> None:
    problem = problems()[name]
    sampler = MemoGPSampler(problem.stages, seed=0, overhead=LOADING, wait=1.0)
    study = Study(problem, sampler, Story(name, "memo", 0))
    story = study.parallel(4, budget=problem.budget / 2)
    trials = study.optuna.get_trials(deepcopy=False)
    assert len({tuple(trial.params.values()) for trial in trials}) == len(trials)
    # A worker that waits is one that does not compute: of four, more than half do on average.
    assert story.spent[-1] / story.wall > 2.5


def test_trials_asked_at_once_are_different() -> None:
    study = study_of(MemoGPSampler(CHAIN, seed=0))
    study.optimize(value_of, n_trials=12)
    asked = [study.ask() for _ in range(5)]  # none has asked for a parameter yet
    for trial in asked:
        value_of(trial)
    assert len({tuple(sorted(trial.params.items(), key=str)) for trial in asked}) == 5


# -- values that mislead the process


def test_a_long_tail_is_drawn_in() -> None:
    values = standardised(-np.exp(np.random.default_rng(0).normal(0, 1.5, 60)))
    warped = straightened(values)
    skew = float(((warped - warped.mean()) ** 3).mean() / warped.std() ** 3)
    assert abs(skew) < 0.8 < abs(float((values**3).mean()))
    assert np.argsort(warped).tolist() == np.argsort(values).tolist()
    even = standardised(np.random.default_rng(0).normal(size=60))
    assert straightened(even) is even


@pytest.mark.parametrize("value", [0.0, 1e300, -5.0])
def test_equal_and_huge_values_do_no_harm(value: float) -> None:
    study = study_of(MemoGPSampler({"one": ["a"], "two": ["b"]}, seed=0, n_startup_trials=3))
    study.optimize(lambda t: value + 0 * t.suggest_float("a", 0, 1) * t.suggest_float("b", 0, 1), n_trials=6)
    assert len(study.trials) == 6


# -- the rest


def test_what_was_pruned_is_not_proposed_again_and_again() -> None:
    study = study_of(MemoGPSampler({"fit": ["x"]}, seed=0, n_startup_trials=4))
    for x in (0.2, 0.4, 0.8, 1.0):
        fixed = {"x": optuna.distributions.FloatDistribution(0.0, 1.0)}
        study.add_trial(optuna.trial.create_trial(params={"x": x}, distributions=fixed, value=-abs(x - 0.6)))
    asked = []
    for _ in range(8):
        trial = study.ask()
        asked.append(trial.suggest_float("x", 0.0, 1.0))
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    apart = np.diff(np.sort(asked))
    assert apart.max() > 0.05
    assert np.median(apart) > 1e-3, asked


def test_failed_and_infinite_trials_are_not_learnt_from() -> None:
    study = study_of(MemoGPSampler({"one": ["a"], "two": ["b"]}, seed=0, n_startup_trials=3))

    def value(trial: optuna.Trial) -> float:
        a, b = trial.suggest_float("a", 0, 1), trial.suggest_float("b", 0, 1)
        if trial.number % 3 == 1:
            raise ValueError("as some do")
        return float("-inf") if trial.number % 3 == 2 else a - b

    study.optimize(value, n_trials=12, catch=(ValueError,))
    assert len(study.trials) == 12


def test_of_many_trials_the_best_and_the_newest_are_learnt_from() -> None:
    study = optuna.create_study(direction="maximize")
    for number in range(2 * MOST):
        study.tell(study.ask(), float(-number % 7))
    trials = study.get_trials(deepcopy=False)
    chosen = learnt_from(study, trials)
    assert len(chosen) == MOST
    assert [trial.number for trial in chosen] == sorted(trial.number for trial in chosen)
    best = sum(trial.value == 6.0 for trial in trials)
    assert sum(trial.value == 6.0 for trial in chosen) >= min(MOST // 2, best)
    assert chosen[-1] is trials[-1]
    assert learnt_from(study, trials[:10]) == trials[:10]


def test_the_same_seed_is_the_same_study() -> None:
    problem = problems()["hart6:up"]
    one, other = (run(problem, "MemoGP", 5, 1100.0) for _ in range(2))
    assert one.best == other.best
    assert run(problem, "MemoGP", 6, 1100.0).best != one.best


def test_several_objectives_and_missing_stages_are_refused_with_the_cure() -> None:
    several = optuna.create_study(directions=["maximize", "minimize"], sampler=MemoGPSampler(CHAIN))
    with pytest.raises(ValueError, match="PrefixReuseSampler"):
        several.ask()
    with pytest.raises(ValueError, match="give them, stages="):
        study_of(MemoGPSampler()).ask()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gain": "luck"}, "improvement and gittins"),
        ({"n_startup_trials": 1}, "2 trials or more"),
        ({"hedge": 1.5}, "a share, from 0 to 1"),
        ({"wait": -0.1}, "a share, from 0 to 1"),
        ({"margin": -1.0}, "0 or more"),
        ({"overhead": 0.0}, "above 0"),
        ({"max_uses": 0}, "above 0"),
    ],
)
def test_impossible_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MemoGPSampler(CHAIN, **options)
