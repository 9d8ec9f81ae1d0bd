from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import GridSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from hpo_pipelines.study.reuse import SECONDS, PrefixReuseSampler

CHAIN = {"load": ["rows"], "prepare": ["scale"], "fit": ["lr", "kind"]}
SECONDS_OF = {"load": 100.0, "prepare": 30.0, "fit": 10.0}


def drive(study: optuna.Study, trials: int, seconds: dict[str, float] | None = None) -> list[FrozenTrial]:
    """Trials whose stages run unless they ran before."""
    ran: set[Any] = set()
    for _ in range(trials):
        trial = study.ask()
        rows = trial.suggest_int("rows", 10, 10_000)
        scale = trial.suggest_float("scale", 0.1, 10.0, log=True)
        kind = trial.suggest_categorical("kind", ["svm", "tree"])
        lr = trial.suggest_float("lr", 0.0, 1.0)
        keys = {"load": (rows,), "prepare": (rows, scale), "fit": (rows, scale, kind, lr)}
        fresh = {stage: (seconds or SECONDS_OF)[stage] for stage, key in keys.items() if (stage, key) not in ran}
        ran |= set(keys.items())
        trial.set_user_attr(SECONDS, fresh)
        study.tell(trial, -abs(rows - 5000) / 5000 - abs(scale - 1.0) - (lr - 0.3) ** 2)
    return study.get_trials(deepcopy=False)


def created(sampler: PrefixReuseSampler, **options: Any) -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=sampler, **options)


@pytest.mark.integration
def test_it_keeps_prefixes_of_good_trials_and_spends_alike_on_every_depth() -> None:
    trials = drive(created(PrefixReuseSampler(RandomSampler(seed=1), CHAIN, seed=0)), 400)
    late = [trial.user_attrs[SECONDS] for trial in trials[10:]]
    depths = Counter(3 - len(ran) for ran in late)
    # What is left to compute is 140, 40 and 10 s: shares are as 1/140 : 1/40 : 1/10.
    assert depths[3] == 0
    assert depths[2] / len(late) == pytest.approx(0.756, abs=0.08)
    assert depths[1] / len(late) == pytest.approx(0.189, abs=0.08)
    assert depths[0] / len(late) == pytest.approx(0.054, abs=0.05)


def test_kept_values_are_the_same_bit_for_bit_through_a_storage(tmp_path: Path) -> None:
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "journal")))
    study = created(PrefixReuseSampler(TPESampler(seed=1), CHAIN, seed=0), storage=storage)
    trials = drive(study, 60)
    kept = [trial for trial in trials[10:] if "prepare" not in trial.user_attrs[SECONDS]]
    assert len(kept) > 20
    for trial in kept:
        assert any(
            (other.params["rows"], other.params["scale"].hex()) == (trial.params["rows"], trial.params["scale"].hex())
            for other in trials[: trial.number]
        )


def test_before_there_is_anything_to_keep_the_other_sampler_is_alone() -> None:
    alone = drive(optuna.create_study(direction="maximize", sampler=RandomSampler(seed=3)), 10)
    around = drive(created(PrefixReuseSampler(RandomSampler(seed=3), CHAIN, seed=0)), 10)
    assert [trial.params for trial in around] == [trial.params for trial in alone]


@pytest.mark.parametrize("base", [RandomSampler(seed=0), NSGAIISampler(seed=0, population_size=5), None])
def test_any_sampler_can_be_inside(base: Any) -> None:
    trials = drive(created(PrefixReuseSampler(base, CHAIN, seed=0)), 40)
    assert sum("load" not in trial.user_attrs[SECONDS] for trial in trials) > 10


def test_what_is_gone_from_the_cache_is_not_kept() -> None:
    gone = set(range(0, 60, 2))

    def kept(trial: FrozenTrial, stage: str) -> bool:
        return trial.number not in gone

    trials = drive(created(PrefixReuseSampler(RandomSampler(seed=1), CHAIN, seed=0, kept=kept)), 60)
    known: dict[int, int] = {}
    for trial in trials:
        first = known.setdefault(trial.params["rows"], trial.number)
        if trial.number >= 10 and first != trial.number and first in gone:
            # Taken from a later trial that shares it and is still kept.
            sharing = [each.number for each in trials[: trial.number] if each.params["rows"] == trial.params["rows"]]
            assert set(sharing) - gone


@pytest.mark.integration
def test_a_stage_that_may_differ_each_time_is_kept_by_few() -> None:
    trials = drive(created(PrefixReuseSampler(RandomSampler(seed=1), CHAIN, seed=0, max_uses=3)), 150)
    assert max(Counter(trial.params["rows"] for trial in trials).values()) <= 4  # by chance one more
    free = drive(created(PrefixReuseSampler(RandomSampler(seed=1), CHAIN, seed=0)), 150)
    assert max(Counter(trial.params["rows"] for trial in free).values()) > 10


def test_parameters_that_exist_sometimes_are_kept_where_they_do() -> None:
    study = created(PrefixReuseSampler(RandomSampler(seed=2), {"load": ["kind", "depth"], "fit": ["lr"]}, seed=0))
    for _ in range(80):
        trial = study.ask()
        kind = trial.suggest_categorical("kind", ["flat", "deep"])
        depth = trial.suggest_float("depth", 0.0, 1.0) if kind == "deep" else 0.0
        study.tell(trial, depth - trial.suggest_float("lr", 0.0, 1.0))
    deep = [trial.params["depth"] for trial in study.trials if trial.params["kind"] == "deep"]
    assert len(set(deep)) < len(deep) - 10
    assert all(("depth" in trial.params) == (trial.params["kind"] == "deep") for trial in study.trials)


def test_of_several_objectives_the_front_is_kept() -> None:
    study = optuna.create_study(
        directions=["maximize", "minimize"],
        sampler=PrefixReuseSampler(RandomSampler(seed=2), {"load": ["a"], "fit": ["b"]}, seed=0),
    )
    study.optimize(lambda trial: (trial.suggest_float("a", 0, 1), trial.suggest_float("b", 0, 1)), n_trials=60)
    kept = Counter(trial.params["a"] for trial in study.trials)
    assert max(kept.values()) > 3


def test_a_trial_that_was_enqueued_stays_as_it_is() -> None:
    study = created(PrefixReuseSampler(RandomSampler(seed=1), CHAIN, seed=0))
    drive(study, 20)
    study.enqueue_trial({"rows": 77, "scale": 0.5, "kind": "svm", "lr": 0.25})
    assert drive(study, 1)[-1].params == {"rows": 77, "scale": 0.5, "kind": "svm", "lr": 0.25}


def test_without_stages_it_says_what_it_needs() -> None:
    with pytest.raises(ValueError, match="knows no stages: give them, stages="):
        drive(created(PrefixReuseSampler(RandomSampler())), 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_startup_trials": 1}, "nothing to keep before 2"),
        ({"max_uses": 0}, "1 or more"),
        ({"base": GridSampler({"x": [1, 2]})}, "use it as it is"),
    ],
)
def test_impossible_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PrefixReuseSampler(**{"base": RandomSampler(), "stages": CHAIN, **options})
