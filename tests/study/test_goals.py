from __future__ import annotations

import itertools
import json

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.study._multi_objective import _get_pareto_front_trials_by_trials

from hpo_pipelines import StudyError
from hpo_pipelines.study.goals import Constraint, Goals, feasible, least_violated

TWO = Goals.of(["auc", "size"], ["maximize", "minimize"])


def test_one_objective_is_recorded_as_it_always_was() -> None:
    goals = Goals.of("fit.auc", "minimize")
    assert goals.as_params() == {"objective": "fit.auc", "direction": "minimize", "constraints": []}
    assert Goals.recorded({"objective": "fit.auc", "direction": "minimize"}) == goals
    assert not goals.several
    assert Goals.of(None, "maximize").names == ("value",)


def test_several_objectives_with_constraints_go_round_through_json() -> None:
    goals = Goals.of(["a", "b"], ["maximize", "minimize"], "fit.memory <= 8e9")
    assert Goals.recorded(json.loads(json.dumps(goals.as_params()))) == goals
    assert str(goals) == "maximize a, minimize b; fit.memory <= 8e9"
    assert Goals.of(["a", "b"], "minimize").directions == ("minimize", "minimize")


@pytest.mark.parametrize(
    ("objective", "direction", "said"),
    [
        ("a", "up", "maximize or minimize"),
        (["a", "b"], ["maximize"] * 3, "one direction for each"),
        ("a", ["maximize", "minimize"], "1 objectives and 2 directions"),
        (["a", "a"], "maximize", "several that differ"),
        ([], "maximize", "name one"),
    ],
)
def test_wrong_goals(objective: object, direction: object, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        Goals.of(objective, direction)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "value", "violation"),
    [
        ("fit.memory <= 8e9", 9e9, 1e9),
        ("fit.memory<=8e9", 8e9, 0.0),
        ("fit.auc >= 0.5", 0.25, 0.25),
        ("loss < 1", 0.5, -0.5),
        ("a > -inf", 0.0, float("-inf")),
    ],
)
def test_a_constraint_says_by_how_much_it_is_violated(text: str, value: float, violation: float) -> None:
    assert Constraint.parse(text).violation(value) == violation
    assert Constraint.parse(str(Constraint.parse(text))) == Constraint.parse(text)


def test_a_strict_constraint_is_violated_at_its_bound() -> None:
    assert Constraint.parse("a < 1").violation(1.0) > 0
    assert Constraint.parse("a > 1").violation(1.0) > 0


@pytest.mark.parametrize("text", ["fit.memory", "a == 1", "a <= b", "<= 3", "a <= nan", "1 <= a <= 2", "a =< 1"])
def test_what_is_no_constraint(text: str) -> None:
    with pytest.raises(StudyError, match=r"STEP\.METRIC <= NUMBER"):
        Constraint.parse(text)


def test_the_best_of_one_objective_is_the_earliest_of_equals() -> None:
    assert Goals.of("a", "maximize").front({0: [1.0], 1: [3.0], 2: [3.0]}) == [1]
    assert Goals.of("a", "minimize").front({}) == []


@given(st.lists(st.tuples(*[st.integers(0, 5).map(float)] * 3), max_size=30))
def test_law_the_front_is_optunas(values: list[tuple[float, ...]]) -> None:
    directions = ("maximize", "minimize", "maximize")
    goals = Goals.of(["a", "b", "c"], directions)
    study = optuna.create_study(directions=directions)
    trials = [optuna.trial.create_trial(values=each) for each in values]
    for number, trial in enumerate(trials):
        trial.number = number
    theirs = {trial.number for trial in _get_pareto_front_trials_by_trials(trials, study.directions)}
    assert set(goals.front(dict(enumerate(values)))) == theirs
    for one, other in itertools.product(theirs, repeat=2):
        assert not goals.dominates(values[one], values[other])


def test_what_violates_least() -> None:
    assert feasible({"a": 0.0, "b": -1.0})
    assert not feasible({"a": 1e-9})
    assert least_violated({3: {"a": 2.0, "b": -9.0}, 4: {"a": 0.5, "b": 1.0}}) == 4
    assert least_violated({}) is None


def test_the_direction_of_what_is_no_objective_is_that_of_all() -> None:
    assert TWO.direction_of("size") == "minimize"
    assert TWO.direction_of("loss") is None
    assert Goals.of("loss", "minimize").direction_of("other") == "minimize"
