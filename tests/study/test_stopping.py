from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from samples import bodies, studied

from hpo_pipelines import Categorical, Float, Int, Status, StudyError, Workspace, optimize
from hpo_pipelines.study import Study, resume
from hpo_pipelines.study.goals import Goals
from hpo_pipelines.study.limits import Limits
from hpo_pipelines.study.stopping import Ended, Stop, StopRules

UP = Goals.of("a", "maximize")


def fired(limits: Limits, *values: float | None, goals: Goals = UP) -> Stop | None:
    """What says to stop after trials with these values; None failed."""
    rules = StopRules(limits, goals)
    for number, value in enumerate(values):
        rules.ended(Ended(f"run#{number}", None if value is None else [value], is_failed=value is None, seconds=2.0))
    return rules.fired()


def test_what_is_known_from_elsewhere_is_to_be_beaten_and_does_not_count() -> None:
    rules = StopRules(Limits(plateau=2, target=0.9), Goals.of("fit.auc", "maximize"))
    assert rules.known(Ended("churn#1", (0.8,)))
    assert not rules.known(Ended("churn#2", (0.7,)))
    assert rules.fired() is None
    rules.ended(Ended("churn#3", (0.75,)))
    rules.ended(Ended("churn#4", (0.8,)))
    fired = rules.fired()
    assert fired is not None
    assert fired.reason == "no better value in 2 trials, at all (plateau=2)"
    assert rules.best == [("churn#1", (0.8,))]
    rules.known(Ended("churn#5", (0.95,)))
    reached = rules.fired()
    assert reached is not None
    assert reached.rule == "target"


def test_nothing_fires_by_itself() -> None:
    assert fired(Limits(), 1.0, None) is None


def test_a_target_is_reached_by_a_value_that_is_as_good() -> None:
    assert fired(Limits(target=2.0), 1.0, 1.5) is None
    assert fired(Limits(target=2.0), 1.0, 2.0, 1.0) == Stop("target", "2 in run#1 reaches the target 2")
    assert fired(Limits(target=2.0), 1.5, goals=Goals.of("a", "minimize")) is not None


def test_a_plateau_counts_failures_and_equal_values() -> None:
    assert fired(Limits(plateau=2), 1.0, 0.5) is None
    assert fired(Limits(plateau=2), 1.0, 0.5, 1.1) is None
    found = fired(Limits(plateau=2), 1.0, 1.0, None)
    assert found == Stop("plateau", "no better value in 2 trials, since run#0 (plateau=2)")
    assert fired(Limits(plateau=1), None) == Stop("plateau", "no better value in 1 trials, at all (plateau=1)")


def test_a_plateau_of_several_objectives_is_a_front_that_does_not_grow() -> None:
    rules = StopRules(Limits(plateau=2), Goals.of(["a", "b"], "maximize"))
    for number, values in enumerate([(1.0, 1.0), (2.0, 0.0), (0.5, 0.5), (3.0, 0.0), (1.0, 1.0)]):
        rules.ended(Ended(f"run#{number}", values))
    assert rules.fired() is None
    assert sorted(label for label, _ in rules.best) == ["run#0", "run#3"]
    rules.ended(Ended("run#5", (0.0, 0.0)))
    assert rules.fired() == Stop("plateau", "no better value in 2 trials, since run#3 (plateau=2)")


def test_what_violates_a_constraint_is_no_better_value() -> None:
    rules = StopRules(Limits(plateau=1, target=1.0), UP)
    rules.ended(Ended("run#0", [5.0], is_feasible=False))
    assert rules.fired() == Stop("plateau", "no better value in 1 trials, at all (plateau=1)")


def test_compute_and_failures_are_counted() -> None:
    assert fired(Limits(max_compute=4.1), 1.0, 1.0) is None
    assert fired(Limits(max_compute=4.0), 1.0, 1.0) == Stop("max_compute", "steps took 4 s (max_compute=4)")
    assert fired(Limits(max_failures=2), None, 1.0) is None
    assert fired(Limits(max_failures=2), None, None) == Stop("max_failures", "2 trials failed (max_failures=2)")


def test_time_runs_out() -> None:
    assert fired(Limits(timeout=0.0)) == Stop("timeout", "timeout: 0 s are over")
    rules = StopRules(Limits(timeout=3600.0), UP)
    assert rules.fired() is None
    assert 0 < (rules.seconds_left or 0) <= 3600


# -- in studies


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("stops")) as opened:
        yield opened


def study(workspace: Workspace, name: str, pipeline: Any = studied.halved, **options: Any) -> Study:
    options = {"space": {"x": Float(0, 1)}, "executor": "inline", "progress": False, "seed": 0, **options}
    return optimize(pipeline, workspace=workspace, name=name, **options)


def test_a_study_stops_at_its_target_and_goes_on_to_a_higher_one(workspace: Workspace) -> None:
    space = {"x": Int(1, 500)}
    first = study(workspace, "target", bodies.simple, space=space, target=100.0, n_trials=200)
    assert first.status is Status.COMPLETED
    assert (first.stopped_by, first.best_value >= 100) == ("target", True)
    assert first.reason == f"{first.best_value:g} in {first.best_run.label} reaches the target 100"
    assert [trial.number for trial in first.trials if (trial.value or 0) >= 100] == [len(first.trials) - 1]
    again = study(workspace, "target", bodies.simple, space=space, target=100.0, n_trials=200)
    assert (len(again.trials), again.reason) == (len(first.trials), first.reason)
    with pytest.raises(StudyError, match=r"stopped by target=100\.0.*hpo resume target --target"):
        resume(workspace, first.task, progress=False)
    count = len(first.trials)
    more = resume(workspace, first.task, target=450.0, n_trials=count + 50, progress=False)
    assert len(more.trials) > count
    assert more.stopped_by == ("target" if more.best_value >= 450 else "n_trials")


def test_a_study_stops_on_a_plateau_and_a_longer_one_goes_on(workspace: Workspace) -> None:
    space = {"x": Categorical([1.0, 0.5, 0.25])}  # the base is the best there is
    first = study(workspace, "plateau", space=space, plateau=3)
    assert (len(first.trials), first.stopped_by) == (4, "plateau")
    assert first.reason == f"no better value in 3 trials, since {first.runs[0].label} (plateau=3)"
    more = resume(workspace, first.task, plateau=5, progress=False)
    assert (len(more.trials), more.stopped_by) == (6, "plateau")


def test_a_study_stops_when_its_steps_have_taken_so_long(workspace: Workspace) -> None:
    first = study(workspace, "compute", max_compute=1e-9, n_trials=9, reuse=False)
    assert (len(first.trials), first.stopped_by) == (1, "max_compute")
    assert "(max_compute=1e-09)" in (first.reason or "")
    more = resume(workspace, first.task, max_compute="1h", progress=False)
    assert (len(more.trials), more.stopped_by, more.reason) == (9, "n_trials", "9 of 9 trials")


def test_a_study_stops_when_its_time_is_over(workspace: Workspace) -> None:
    found = study(workspace, "time", timeout=0.0)
    assert (found.trials, found.stopped_by, found.reason) == ([], "timeout", "timeout: 0 s are over")
    more = study(workspace, "time", timeout="1h", n_trials=2)
    assert (len(more.trials), more.stopped_by) == (2, "n_trials")


def test_a_study_stops_after_failures_and_more_of_them_may_be_allowed(workspace: Workspace) -> None:
    space = {"x": Categorical([-1.0, -2.0, -3.0])}
    first = study(workspace, "failures", space=space, n_trials=9, max_failures=2)
    assert (first.status, first.stopped_by, len(first.trials)) == (Status.FAILED, "max_failures", 2)
    more = resume(workspace, first.task, max_failures=4, progress=False)
    assert (more.status, more.stopped_by, len(more.trials)) == (Status.FAILED, "max_failures", 4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": 1.0}, "needs an end"),
        ({"max_compute": 1.0}, "needs an end"),
        ({"plateau": 0}, "plateau=0: it is 1 or more"),
        ({"n_trials": 1, "target": 1.0, "objective": ["a", "b"]}, "target= is one value"),
    ],
)
def test_wrong_limits(workspace: Workspace, options: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        study(workspace, "never", **options)
