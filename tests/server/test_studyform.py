"""What the form of a study asks for is read as it stands there, and what is wrong is said at its field."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest

from hpo_pipelines.server.pages.studyform import StudyForm, given_lists, named_in

SPACE: dict[str, Any] = {"lr": {"low": 0.1, "high": 1.0}}


def form(**fields: str | list[str]) -> StudyForm:
    filled = {"n_trials": "3", "n_jobs": "1", "queue": "services", "objective": "", "direction": "maximize", **fields}
    names = {name.replace("__", "."): value for name, value in filled.items()}
    return StudyForm(given_lists(urlencode(names, doseq=True).encode()))


def asked(**fields: str | list[str]) -> dict[str, Any]:
    wanted, wrong = form(**fields).read("a#1", SPACE)
    assert wanted is not None, wrong
    return wanted.model_dump(exclude_unset=True)


def test_a_new_form_is_filled_and_folded() -> None:
    new = StudyForm({})
    assert (new.text("n_trials"), new.text("queue"), new.on("reuse")) == ("30", "services", True)
    assert new.goals == [("", "maximize")]
    assert new.constraints == []
    assert new.folded({}, "ends")
    assert new.folded({}, "means")
    assert not new.folded({"target": "no"}, "ends")
    assert not form(pruner="median", reuse="true").folded({}, "means")


def test_the_returned_number_is_the_objective_that_has_no_name() -> None:
    assert "objective" not in asked()
    assert asked()["direction"] == ["maximize"]
    assert asked(objective="fit.auc", direction="minimize")["objective"] == "fit.auc"


def test_rows_make_several_objectives_and_constraints() -> None:
    found = asked(
        objective=["fit.auc", "fit.size"], direction=["maximize", "minimize"],
        constraint__name=["fit.size", "", "fit.time"], constraint__relation=["<=", "<", ">="],
        constraint__bound=["8e9", "", "1"],
    )  # fmt: skip
    assert found["objective"] == ["fit.auc", "fit.size"]
    assert found["direction"] == ["maximize", "minimize"]
    assert found["constraints"] == ["fit.size <= 8e9", "fit.time >= 1"]


def test_every_option_is_read() -> None:
    found = asked(
        target="0.9", plateau="5", timeout="2h", max_compute="90", max_failures="3", sampler="prefix-reuse",
        options="base=random", seed="7", pruner="median", prune_on="fit.loss:minimize, fit.auc", repeats="seed",
        repeats__count="5", reuse="true", name=" lr ",
    )  # fmt: skip
    assert {name: found[name] for name in ("target", "plateau", "timeout", "max_compute", "max_failures")} == {
        "target": 0.9, "plateau": 5, "timeout": 7200.0, "max_compute": 90.0, "max_failures": 3,
    }  # fmt: skip
    assert (found["sampler"], found["seed"], found["pruner"]) == ("prefix-reuse(base=random)", 7, "median")
    assert found["prune_on"] == ["fit.loss:minimize", "fit.auc"]
    assert (found["repeats"], found["reuse"], found["name"]) == ({"seed": 5}, True, "lr")
    assert asked(options="multivariate=true")["sampler"] == "tpe(multivariate=true)"
    assert asked()["reuse"] is False, "a box that is not ticked is not sent"


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"n_trials": ""}, "n_trials", "needs an end"),
        ({"n_trials": "many"}, "n_trials", "whole number"),
        ({"n_trials": "0"}, "n_trials", "greater than or equal to 1"),
        ({"n_jobs": "5000"}, "n_jobs", "less than or equal to 1000"),
        ({"target": "nan"}, "target", "it is a number"),
        ({"timeout": "soon"}, "timeout", "duration"),
        ({"max_compute": "-1"}, "max_compute", "duration"),
        ({"seed": "-1"}, "seed", "greater than or equal to 0"),
        ({"objective": ["fit.auc", ""], "direction": ["maximize"] * 2}, "objective", "each is a metric"),
        (
            {"constraint__name": "x", "constraint__relation": "<=", "constraint__bound": "much"},
            "constraints",
            "write STEP.METRIC",
        ),
        ({"repeats": "seed", "repeats__count": "1"}, "repeats", "2 to 1000"),
        ({"repeats": "seed", "repeats__count": "9" * 12}, "repeats", "2 to 1000"),
    ],
)
def test_what_cannot_be_is_said_at_its_field(fields: dict[str, Any], field: str, said: str) -> None:
    wanted, wrong = form(**fields).read("a#1", SPACE)
    assert wanted is None
    assert list(wrong) == [field]
    assert re.search(said, wrong[field]), wrong


@pytest.mark.parametrize("ending", [{"timeout": "1h"}, {"plateau": "5"}, {"sampler": "grid"}])
def test_without_a_number_of_trials_something_else_ends_it(ending: dict[str, str]) -> None:
    assert "n_trials" not in asked(n_trials="", **ending)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("target= is one value, and there are several objectives: leave it out.", "target"),
        ("sampler='cmaes' is for one objective; for several there are nsgaii", "sampler"),
        ("constraint 'x': write STEP.METRIC <= NUMBER", "constraints"),
        ("there is a study called 'lr' already: choose another name, or extend that one.", "name"),
        ("no parameter 'lr' in churn", "s.lr"),
        ("churn#1 was recorded without its code.", ""),
    ],
)
def test_an_error_belongs_to_the_field_that_it_names(message: str, field: str) -> None:
    assert named_in(message, SPACE) == field
