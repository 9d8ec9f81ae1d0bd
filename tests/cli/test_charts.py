from __future__ import annotations

import io
import math
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from hpo_pipelines.cli import charts
from hpo_pipelines.study.goals import Goals
from search_spaces import Categorical, Float, Int, Space


def study_of(direction: str = "maximize") -> Any:
    return SimpleNamespace(goals=Goals.of("fit.auc", direction), direction=direction)


def trials_of(values: Sequence[float | None], *, infeasible: Sequence[int] = ()) -> Any:
    return [
        SimpleNamespace(
            values=None if value is None else (value,), value=value, is_feasible=number not in infeasible
        )
        for number, value in enumerate(values)
    ]  # fmt: skip


def test_a_history_has_a_column_for_each_trial() -> None:
    title, *lines = charts.history(study_of(), trials_of([0.0, None, 0.5, 1.0]))
    assert title == "  fit.auc by trial"
    assert [line[13:] for line in lines] == ["   █", "  ▁█", "  ██", "▁ ██"]
    assert lines[0].split()[0] == "1"
    assert lines[-1].split()[0] == "0"


def test_what_violates_a_constraint_is_no_column() -> None:
    lines = charts.history(study_of(), trials_of([0.0, 0.5, 1.0], infeasible=[2]))
    assert lines[1].split()[0] == "0.5"


def test_of_many_trials_the_best_of_each_few_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "34")
    values = [float(number % 7) for number in range(100)]
    title, top, *_ = charts.history(study_of(), trials_of(values))
    assert title.endswith("the best of each 5")
    assert len(top) <= 34
    _, *lines = charts.history(study_of("minimize"), trials_of(values))
    assert lines[-1].split()[0] == "0"


@pytest.mark.parametrize(("direction", "label"), [("minimize", "≥ 9"), ("maximize", "≤ 1")])
def test_one_that_diverged_does_not_flatten_the_others(direction: str, label: str) -> None:
    wild = 1e9 if direction == "minimize" else -1e9
    lines = charts.history(study_of(direction), trials_of([*map(float, range(1, 10)), wild]))
    assert any(label in line for line in lines)


@pytest.mark.parametrize("values", [[], [None], [math.nan], [math.inf, -math.inf], [1.0], [2.0, 2.0]])
def test_whatever_trials_gave_is_drawn(values: list[float | None]) -> None:
    for direction in ("maximize", "minimize"):
        trials = trials_of(values)
        assert isinstance(charts.history(study_of(direction), trials), list)
        assert len(charts.value_bars(study_of(direction), trials)) == len(values)


def test_bins_keep_the_best() -> None:
    assert charts.binned([3.0, None, 1.0, None, None], 2, highest=True) == [3.0, None]
    assert charts.binned([3.0, 1.0, 2.0], 9, highest=False) == [3.0, 1.0, 2.0]


@pytest.mark.parametrize(("part", "drawn"), [(0.0, ""), (1.0, "████"), (0.5, "██"), (1e-9, "▏"), (7.0, "████")])
def test_a_bar(part: float, drawn: str) -> None:
    assert charts.bar(part, 4) == drawn


def test_bars_stand_between_the_least_and_the_greatest() -> None:
    bars = charts.value_bars(study_of(), trials_of([0.0, None, 2.0, 1.0]), 4)
    assert bars == ["▏", "", "████", "██"]


def test_where_in_its_range_a_parameter_is() -> None:
    space = Space({"lr": Float(1e-4, 1.0, log=True), "n": Int(1, 9), "kind": Categorical(["a"]), "seed": 7})
    found = charts.ranges(space, {"lr": 1e-2, "n": 9, "kind": "a", "seed": 7, "other": 3})
    assert set(found) == {"lr", "n"}
    low, line, high = found["lr"].split()
    assert (low, high) == ("0.0001", "1")
    assert line.index("●") == len(line) // 2
    assert found["n"].endswith("● 9")


class _Terminal(io.StringIO):
    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True


def test_only_a_terminal_that_has_the_letters_is_drawn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for stream, expected in ((_Terminal("utf-8"), True), (_Terminal("ascii"), False), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stdout", stream)
        assert charts.wanted() is expected
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stdout", _Terminal("utf-8"))
    assert not charts.wanted()
