from __future__ import annotations

from typing import Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo_pipelines.study.reuse import Stage, Stages, TrialRecords
from hpo_pipelines.study.reuse.offers import Offers
from hpo_pipelines.study.reuse.trials import Known

CHAIN = Stages({"load": ["a"], "prepare": ["b"], "fit": ["c"]})
JOIN = Stages([Stage("left", ("a",)), Stage("right", ("b",)), Stage("join", ("c",), ("left", "right"))])
NAMES = ("a", "b", "c")
RANDOM = np.random.default_rng(0)


def known(*values: float, state: TrialState = TrialState.COMPLETE, number: int = 0) -> Known:
    params = dict(zip(NAMES, values, strict=True))
    trial = optuna.trial.create_trial(
        state=state,
        value=1.0 if state is TrialState.COMPLETE else None,
        params=params,
        distributions=dict.fromkeys(NAMES, FloatDistribution(0, 1)),
    )
    trial.number = number
    return Known(trial, params)


def made(stages: Stages, done: list[Known], flying: list[Known] | None = None, **options: Any) -> list[dict[str, Any]]:
    records = options.pop("records", TrialRecords(stages))
    offers = Offers(stages, NAMES, records, **options).of(done, flying or [], RANDOM)
    return [{"keep": dict(o.values), "settled": set(o.settled), "under way": set(o.under_way)} for o in offers]


def test_of_a_chain_each_prefix_of_each_trial_once() -> None:
    found = made(CHAIN, [known(0.1, 0.2, 0.3), known(0.1, 0.5, 0.6, number=1)])
    assert [offer["keep"] for offer in found] == [{}, {"a": 0.1}, {"a": 0.1, "b": 0.2}, {"a": 0.1, "b": 0.5}]
    assert [offer["settled"] for offer in found] == [set(), {"load"}, {"load", "prepare"}, {"load", "prepare"}]
    assert not any(offer["under way"] for offer in found)


def test_one_branch_of_one_trial_and_the_other_of_another() -> None:
    found = made(JOIN, [known(0.1, 0.2, 0.3), known(0.4, 0.5, 0.6, number=1)])
    kept = [offer["keep"] for offer in found]
    assert {"a": 0.1, "b": 0.5} in kept
    assert {"a": 0.4, "b": 0.2} in kept
    assert next(o for o in found if o["keep"] == {"a": 0.1, "b": 0.5})["settled"] == {"left", "right"}


def test_branches_with_a_common_root_are_combined_only_where_it_is_the_same() -> None:
    stages = Stages(
        [
            Stage("root", ("a",)),
            Stage("left", ("b",), ("root",)),
            Stage("right", ("c",), ("root",)),
            Stage("join", (), ("left", "right")),
        ]
    )
    apart = made(stages, [known(0.1, 0.2, 0.3), known(0.9, 0.5, 0.6, number=1)])
    assert not [offer for offer in apart if len(offer["keep"]) == 3]
    common = made(stages, [known(0.1, 0.2, 0.3), known(0.1, 0.5, 0.6, number=1)])
    both = [offer for offer in common if len(offer["keep"]) == 3]
    assert {"a": 0.1, "b": 0.2, "c": 0.6} in [offer["keep"] for offer in both]
    assert all(offer["settled"] == {"root", "left", "right"} for offer in both)  # only what joins them is to compute


def test_what_a_running_trial_computes_is_waited_for() -> None:
    found = made(CHAIN, [known(0.1, 0.2, 0.3)], [known(0.7, 0.8, 0.9, state=TrialState.RUNNING, number=1)])
    flying = [offer for offer in found if offer["keep"].get("a") == 0.7]
    assert [offer["under way"] for offer in flying] == [{"load"}, {"load", "prepare"}]


def test_what_is_gone_is_not_offered() -> None:
    def kept(trial: FrozenTrial, stage: str) -> bool:
        return stage != "prepare"

    found = made(CHAIN, [known(0.1, 0.2, 0.3)], records=TrialRecords(CHAIN, kept))
    assert [offer["keep"] for offer in found] == [{}, {"a": 0.1}]


def test_what_has_been_used_often_is_not_offered_again() -> None:
    done = [known(0.1, 0.01 * number, 0.3, number=number) for number in range(3)]
    assert not [offer for offer in made(CHAIN, done, most_uses=3) if "a" in offer["keep"]]
    assert [offer for offer in made(CHAIN, done, most_uses=4) if offer["keep"] == {"a": 0.1}]
