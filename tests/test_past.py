from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_pipelines import ParameterError, Status, Workspace, component, pipeline, report
from hpo_pipelines.past import Names, record
from hpo_pipelines.task import PastRun

_numbers = itertools.count()


@component
def fit(lr: float, depth: int) -> float:
    report("auc", lr * depth)
    return lr * depth


@pipeline
def tuned(rows: int, lr: float = 0.1, depth: int = 3, warm: bool = False) -> dict[str, float]:
    return {"auc": fit(lr, depth)}


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    with Workspace() as opened:
        yield opened
        assert opened.store.check() == []


def past(params: dict[str, Any], metrics: dict[str, float], status: Status = Status.COMPLETED) -> PastRun:
    number = next(_numbers)
    return PastRun(f"test:{number}", params, metrics, status, 1_000_000.0, 1_000_060.0, f"number {number}")


def test_a_past_run_is_a_run_with_typed_parameters_and_its_own_times(workspace: Workspace) -> None:
    (run,) = record(workspace, tuned, [past({"rows": "7", "lr": "1e-3", "other": "x"}, {"fit.auc": 0.5})]).runs
    assert run.params == {"rows": 7, "lr": 1e-3, "depth": 3, "warm": False}
    assert (run.status, run.label, run.objective("fit.auc")) == (Status.COMPLETED, "tuned#1", 0.5)
    assert (run.task.started_at, run.task.seconds) == (1_000_000.0, 60.0)
    assert run.task.tags[0] == "imported"
    assert list(run.steps) == ["fit"]


def test_what_is_not_of_a_step_was_returned(workspace: Workspace) -> None:
    both = [past({"rows": 1}, {"auc": 0.5, "loss": 0.25}), past({"rows": 1}, {"value": 2.0})]
    keyed, single = record(workspace, tuned, both).runs
    assert (keyed.objective("auc"), keyed.objective("loss"), single.objective(None)) == (0.5, 0.25, 2.0)


def test_what_was_called_otherwise_is_found_by_its_name_there(workspace: Workspace) -> None:
    names = Names({"lr": "learning_rate", "rows": "n"}, {"fit.auc": "val"})
    (run,) = record(workspace, tuned, [past({"learning_rate": 0.5, "n": 2}, {"val": 0.75, "x": 1.0})], names).runs
    assert (run.params["lr"], run.params["rows"], run.metrics) == (0.5, 2, {"fit.auc": 0.75})


def test_what_was_imported_before_is_not_again(workspace: Workspace) -> None:
    found = [past({"rows": 1}, {}), past({"rows": 2}, {})]
    first, again = record(workspace, tuned, found[:1]), record(workspace, tuned, [*found, found[1]])
    assert (len(first.runs), len(again.runs), again.known) == (1, 1, 2)
    assert str(again) == ("1 run imported; 2 already here; none had lr, depth, warm, so they have the defaults")


def test_what_does_not_fit_is_left_out_and_said(workspace: Workspace) -> None:
    found = [
        past({}, {"val": 1.0}),
        past({"rows": "many"}, {"val": 1.0}),
        past({"rows": 1}, {}),
        past({"rows": 1}, {}, Status.FAILED),
    ]
    imports = record(workspace, tuned, found, Names(metrics={"value": "val"}))
    assert [run.status for run in imports.runs] == [Status.FAILED]
    reasons = sorted(imports.left_out)
    assert len(reasons) == 3
    assert "no metric val" in reasons
    assert sum("rows" in reason for reason in reasons) == 2


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (Names({"lrr": "x"}), "no parameter 'lrr'; did you mean 'lr'"),
        (Names(metrics={"fitt.auc": "x"}), "no step 'fitt'; did you mean 'fit'"),
    ],
)
def test_names_that_are_not_the_pipelines_are_refused(workspace: Workspace, names: Names, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        record(workspace, tuned, [], names)


def test_a_parameter_that_no_past_run_has_is_refused_before_anything_is_recorded(workspace: Workspace) -> None:
    found = [past({"learning_rate": 0.5, "rows": 1}, {"auc": 0.5})]
    with pytest.raises(ParameterError, match=r"lr=lerning_rate: no past run .* did you mean 'learning_rate'"):
        record(workspace, tuned, found, Names({"lr": "lerning_rate"}))
    assert list(workspace.runs()) == []
    assert str(record(workspace, tuned, [], Names({"lr": "lerning_rate"}))) == "0 runs imported"


def test_what_all_runs_lack_and_what_none_of_them_keeps_is_said(workspace: Workspace) -> None:
    found = [past({"learning_rate": 0.5, "rows": 1}, {"auc": 0.5}), past({"rows": 2, "depth": 4}, {"auc": 0.5})]
    imports = record(workspace, tuned, found)
    assert (imports.defaulted, imports.dropped) == (("lr", "warm"), ("learning_rate",))
    assert str(imports) == ("2 runs imported; none had lr, warm, so they have the defaults; dropped: learning_rate")
    assert record(workspace, tuned, found[:1], Names({"lr": "learning_rate"})).dropped == ()
