"""Trials as columns: what is filtered, sorted and sent is what a plain reading of them gives."""

from __future__ import annotations

import itertools
import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_pipelines.errors import ParameterError
from hpo_pipelines.server.derived import Derived
from hpo_pipelines.server.trials import Goal, Trials, brushes, front, rounded
from hpo_pipelines.store.studies import TrialRow
from search_spaces import Categorical, Float, Space

SPACE = Space({"lr": Float(0.1, 1.0), "model": Categorical(["tree", "linear"])})
UP, DOWN = Goal("auc", "maximize"), Goal("size", "minimize")
numbers = st.floats(-1e6, 1e6)


def row(number: int, status: str = "completed", **params: object) -> TrialRow:
    return TrialRow(number, f"id{number}", number + 1, status, {"lr": 0.5, "model": "tree", **params}, 1.0 + number)


def trials(*values: tuple[float, ...] | None, goals: tuple[Goal, ...] = (UP,)) -> Trials:
    rows = [row(number, "completed" if each else "failed") for number, each in enumerate(values)]
    return Trials(goals, SPACE, rows, {number: each for number, each in enumerate(values) if each})


@given(st.lists(st.one_of(st.none(), st.tuples(numbers))))
def test_the_ranking_is_by_value_and_the_earlier_of_equals_is_first(values: list[tuple[float] | None]) -> None:
    found = trials(*values)
    known = {number: each[0] for number, each in enumerate(values) if each}
    assert [each.trial for each in found.ranked] == sorted(known, key=lambda number: (-known[number], number))
    ordered = found.ordered(range(len(values)), "-value")
    assert ordered[: len(known)] == [each.trial for each in found.ranked]
    assert ordered[len(known) :] == [number for number, each in enumerate(values) if not each], "none comes last"
    assert sorted(found.ordered(range(len(values)), "value")) == list(range(len(values)))


def test_a_parameter_that_a_condition_leaves_out_has_no_value() -> None:
    space = Space({"model": Categorical(["tree", "linear"]), "share": Float(0.2, 0.6, when={"model": "linear"})})
    rows = [row(0, share=0.25), row(1, share=0.5, model="linear")]
    found = Trials((UP,), space, rows, {0: (1.0,), 1: (2.0,)})
    assert found.columns["share"].values == [None, 0.5]
    assert [dict(found.given(each)) for each in rows] == [{"model": "tree"}, {"model": "linear", "share": 0.5}]
    assert found.kept({"share": (0.0, 1.0)}) == [1]


@given(st.lists(st.tuples(numbers, numbers)))
def test_the_front_is_what_nothing_dominates(values: list[tuple[float, float]]) -> None:
    found = trials(*values, goals=(UP, DOWN))
    losses = [(-a, b) for a, b in values]
    free = [
        number
        for number, mine in enumerate(losses)
        if not any(other != mine and other[0] <= mine[0] and other[1] <= mine[1] for other in losses)
    ]
    assert sorted(each.trial for each in front(found)) == free


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False))))
def test_rounded_values_are_off_by_less_than_a_screen_can_show(values: list[float | None]) -> None:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    spread = max(finite) - min(finite) if finite else 0.0
    for value, shown in zip(values, rounded(values), strict=True):
        if value is None or not math.isfinite(value):
            assert shown is None
        else:
            assert shown is not None
            assert abs(shown - value) <= max(1e-4 * spread, 1e-4 * abs(value))


def test_brushes_filter_parameters_categories_and_objectives() -> None:
    rows = [row(0, lr=0.2), row(1, lr=0.4, model="linear"), row(2, lr=0.8), row(3, "failed", lr=0.4)]
    found = Trials((UP,), SPACE, rows, {0: (0.1,), 1: (0.5,), 2: (0.9,)})
    assert found.kept(brushes("lr:0.3..0.9")) == [1, 2, 3]
    assert found.kept(brushes("model:0.5..1.5")) == [1]
    assert found.kept(brushes("lr:0.3..0.9;auc:0.6..1")) == [2]
    assert found.kept(brushes("nothing:0..1")) == []
    assert brushes("lr:a..b;:1..2;lr:1..;lr:1e..2") == {}


def test_what_cannot_be_sorted_by_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"p\.lr"):
        trials((1.0,)).ordered([0], "p.rl")


def test_the_chart_of_what_may_have_changed_joins_the_one_before() -> None:
    before = Trials((UP,), SPACE, [row(0), row(1, "running"), row(2)], {0: (0.1,), 2: (0.3,)})
    assert (before.settled, before.chart()["settled"]) == (1, 1)
    values = {0: (0.1,), 1: (0.2,), 2: (0.3,), 3: (0.4,)}
    after = before.read_on([row(1), row(2), row(3)], values, {})
    late = after.chart(first=1)
    assert late["number"] == [1, 2, 3]
    assert (late["settled"], late["total"]) == (4, 4)
    assert late["objectives"][0]["values"] == [0.2, 0.3, 0.4]
    assert late["params"]["model"] == {"choices": ["tree", "linear"], "values": [0, 0, 0]}


def test_the_chart_names_the_trials_that_violate_a_constraint() -> None:
    values = {0: (0.1,), 1: (0.9,), 2: (0.3,)}
    violations = {
        0: {"size <= 3": 0.0, "cost < 1": -0.5},
        1: {"size <= 3": 2.0, "cost < 1": 0.25},
        2: {"size <= 3": -1.0},
    }
    found = Trials((UP,), SPACE, [row(0), row(1), row(2), row(3, "failed")], values, violations)
    assert found.chart()["infeasible"] == [1]
    assert found.chart(first=2)["infeasible"] == []
    assert found.broken(1) == {"size <= 3": 2.0, "cost < 1": 0.25}
    assert found.broken(0) == found.broken(3) == {}
    assert found.best is not None
    assert found.best.trial == 2
    assert found.ordered(range(4), "-violation") == [1, 0, 2, 3], "one that has no value comes last"


def test_a_completed_trial_without_its_value_yet_is_asked_for_again() -> None:
    assert Trials((UP,), SPACE, [row(0), row(1)], {0: (0.1,)}).settled == 1


# -- what takes long


def test_a_value_is_computed_once_for_each_version_and_by_one_at_a_time() -> None:
    derived, calls, gate = Derived(), itertools.count(), threading.Event()

    def compute() -> int:
        gate.wait(60)
        return next(calls)

    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(derived.get("x", 1, compute))) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(60)
    assert found == [0, 0, 0, 0]
    assert derived.known("x", 1) == 0
    assert derived.get("x", 2, compute, exact=True) == 1
    assert derived.known("y", 1) is None
