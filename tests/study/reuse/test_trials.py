from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import TrialState

from hpo_pipelines.study.reuse.trials import Proposals, best_first, completed, running


def study(**options: Any) -> optuna.Study:
    return optuna.create_study(**options)


def test_the_best_come_first_and_those_that_violate_nothing_before_others() -> None:
    made = study(direction="maximize")
    for value, violation in ((1.0, 0.0), (9.0, 2.0), (3.0, -1.0), (8.0, 1.0)):
        trial = made.ask()
        trial.set_constraint("memory", violation)
        made.tell(trial, value)
    assert [trial.values[0] for trial in best_first(made, completed(made))] == [3.0, 1.0, 8.0, 9.0]


def test_of_several_objectives_the_front_comes_first() -> None:
    made = study(directions=["maximize", "minimize"])
    for values in ((1.0, 5.0), (2.0, 1.0), (0.0, 9.0), (3.0, 2.0)):
        made.tell(made.ask(), values)
    assert [trial.number for trial in best_first(made, completed(made))] == [3, 1, 2, 0]


def test_only_finite_values_count() -> None:
    made = study()
    for value in (1.0, float("inf"), 2.0):
        made.tell(made.ask(), value)
    made.tell(made.ask(), state=TrialState.FAIL)
    assert [trial.value for trial in completed(made)] == [1.0, 2.0]


def test_a_running_trial_counts_once_it_is_known_what_it_will_have() -> None:
    made, proposals = study(), Proposals()
    first, second, third = made.ask(), made.ask(), made.ask()
    first.suggest_float("x", 0, 1)
    proposals.note(second._cached_frozen_trial, {"x": 0.25})
    found = running(made, proposals, ["x"], but=third.number)
    assert [(known.number, known.params["x"]) for known in found] == [(0, first.params["x"]), (1, 0.25)]
    proposals.close(second._cached_frozen_trial)
    assert [known.number for known in running(made, proposals, ["x"], but=third.number)] == [0]


def test_an_enqueued_trial_is_known_before_it_asks() -> None:
    made = study()
    made.enqueue_trial({"x": 0.75})
    made.ask()
    assert [known.params["x"] for known in running(made, Proposals(), ["x"], but=-1)] == [0.75]
