"""What stops a trial: the pruner, what it hears, and what it says."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.pruners import MedianPruner, PercentilePruner, SuccessiveHalvingPruner, ThresholdPruner
from optuna.trial import TrialState
from samples import studied

from hpo_pipelines import Categorical, Float, Status, StudyError, Workspace, optimize
from hpo_pipelines.study import Study, resume
from hpo_pipelines.study.goals import Goals
from hpo_pipelines.study.pruning import Pruning, directions

ONE = Goals.of("fit.auc", "maximize")
TWO = Goals.of(["fit.auc", "fit.size"], ["maximize", "minimize"])
MEDIAN = MedianPruner(n_startup_trials=1)


# -- which metrics


def test_the_one_objective_is_what_is_pruned_on() -> None:
    assert directions(None, ONE, prunes=True) == {"fit.auc": "maximize"}
    assert directions(None, ONE, prunes=False) == {}
    assert directions(None, Goals.of(None, "minimize"), prunes=True) == {}


def test_named_metrics_have_the_direction_that_is_said_or_known() -> None:
    assert directions("fit.size", TWO, prunes=True) == {"fit.size": "minimize"}
    named = directions(["validate.auc", "validate.loss:minimize"], ONE, prunes=True)
    assert named == {"validate.auc": "maximize", "validate.loss": "minimize"}


@pytest.mark.parametrize(
    ("prune_on", "goals", "said"),
    [
        (None, TWO, r"2 objectives: name the metric.*prune_on='fit\.auc'"),
        ("validate.loss", TWO, r"write STEP\.METRIC:maximize or"),
        ("validate.loss:down", ONE, "write"),
        (":minimize", ONE, "write"),
        ([], ONE, "at least one"),
    ],
)
def test_what_leaves_open_what_is_pruned_on(prune_on: Any, goals: Goals, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        directions(prune_on, goals, prunes=True)


# -- deciding


def pruning(pruner: optuna.pruners.BasePruner, goals: Goals = TWO, on: str = "fit.auc") -> Pruning:
    return Pruning(pruner, directions(on, goals, prunes=True), goals, threading.RLock())


def asked(number: int = 0, directions: tuple[str, ...] = ("maximize", "minimize")) -> optuna.Trial:
    study = optuna.create_study(directions=directions)
    trials = [study.ask() for _ in range(number + 1)]
    return trials[-1]


def drive(judge: Pruning, number: int, *values: float, metric: str = "fit.auc") -> str | None:
    """Report ``values`` in a trial until it is pruned; why it was."""
    watch = judge.watch(asked(number))
    assert watch is not None
    component, _, name = metric.rpartition(".")
    said = next((said for step, value in enumerate(values) if (said := watch(component, name, value, step))), None)
    judge.ended(number, TrialState.PRUNED if said else TrialState.COMPLETE)
    return said


def test_a_shadow_prunes_where_optuna_refuses() -> None:
    judge = pruning(MEDIAN)
    assert drive(judge, 0, 0.2, 0.8) is None
    assert drive(judge, 1, 0.3, 0.9) is None
    assert drive(judge, 2, 0.5, 0.7) == "pruned at fit step 1: auc 0.7 below median 0.85"
    assert drive(judge, 3, 0.9, 0.2) is None  # the pruner goes by the best so far


def test_the_reason_says_what_was_compared() -> None:
    judge = pruning(MEDIAN, on="fit.size")
    drive(judge, 0, 3.0, 3.0, metric="fit.size")
    assert drive(judge, 1, 5.0, metric="fit.size") == "pruned at fit step 0: size 5 above median 3"
    judge = pruning(PercentilePruner(25.0, n_startup_trials=1))
    drive(judge, 0, 0.5, 0.9)
    assert drive(judge, 1, 0.6, 0.5) == "pruned at fit step 1: auc 0.5 (best so far 0.6) below the best 25 % from 0.9"
    judge = pruning(ThresholdPruner(lower=0.5))
    assert drive(judge, 0, 0.6, 0.1) == "pruned at fit step 1: auc 0.1, by Threshold"
    judge = pruning(MEDIAN)
    drive(judge, 0, 0.5)
    with pytest.warns(RuntimeWarning, match="All-NaN"):  # by Optuna's pruner
        assert drive(judge, 1, float("nan")) == "pruned at fit step 0: auc nan"


def test_only_what_is_named_is_heard_and_a_step_once() -> None:
    judge = pruning(ThresholdPruner(lower=0.5))
    watch = judge.watch(asked())
    assert watch is not None
    assert watch("fit", "size", 0.0, 0) is None
    assert judge.unheard == {"fit.auc"}
    assert watch("fit", "auc", 0.9, 0) is None
    assert watch("fit", "auc", 0.0, 0) is None
    assert judge.unheard == set()
    assert watch("fit", "auc", 0.0, 1) is not None


def test_without_a_pruner_nothing_is_heard() -> None:
    judge = Pruning(optuna.pruners.NopPruner(), {"fit.auc": "maximize"}, TWO, threading.RLock())
    assert judge.watch(asked()) is None
    assert (list(judge.shadowed), judge.unheard) == ([], set())


def test_a_shadow_knows_the_rungs_of_trials_before_a_restart() -> None:
    halving = SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    before = pruning(halving)
    series = [[(step, level) for step in range(5)] for level in (0.9, 0.8, 0.7)]
    for number, each in enumerate(series):
        drive(before, number, *(value for _, value in each))
    after = pruning(halving)
    for each in series:
        after.replay({"fit.auc": each}, TrialState.COMPLETE)
    assert drive(after, 3, *[0.1] * 5) == drive(before, 3, *[0.1] * 5) is not None


def test_a_trial_that_reported_nothing_is_not_compared_with() -> None:
    judge = pruning(MEDIAN)
    drive(judge, 0)
    judge.replay({}, TrialState.FAIL)
    assert drive(judge, 1, 0.1) is None


# -- in studies


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("pruned")) as opened:
        yield opened


GOOD, BAD = 0.9, 0.1


def study(workspace: Workspace, folder: Path, name: str, **options: Any) -> Study:
    space = {"x": Categorical([GOOD, BAD]), "folder": str(folder)}
    options = {"executor": "inline", "pruner": MEDIAN, "progress": False, **options}
    return optimize(studied.staged, space, workspace=workspace, name=name, **options)


def alternating(workspace: Workspace, folder: Path, name: str, **options: Any) -> Study:
    """Good and bad trials by turns, though a grid has each point once."""

    class Turns(optuna.samplers.BaseSampler):  # type: ignore[misc]
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return {}

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            return {}

        def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
            return distribution.choices[trial.number % 2]

    return study(workspace, folder, name, sampler=Turns(), **options)


def test_a_result_of_an_early_step_stops_a_trial_before_its_late_steps(workspace: Workspace, folder: Path) -> None:
    found = alternating(workspace, folder, "early", prune_on="checked.auc", n_trials=6)
    assert [run.status for run in found.runs] == [Status.COMPLETED, Status.PRUNED] * 3
    pruned = found.runs[1]
    assert pruned.reason == "pruned at checked step 0: auc 0.1 below median 0.9"
    assert set((folder / "trained").read_text().split()) == {str(GOOD)}
    assert "trained" not in pruned.steps or pruned.steps["trained"].task.started_at is None
    assert [trial.state for trial in found.optuna_study.get_trials(deepcopy=False)].count(TrialState.PRUNED) == 3


def test_what_a_step_returns_is_such_a_result_too(workspace: Workspace, folder: Path) -> None:
    found = alternating(workspace, folder, "returned", prune_on="checked", n_trials=4)
    assert [run.status for run in found.runs] == [Status.COMPLETED, Status.PRUNED] * 2
    assert found.runs[1].reason == "pruned at checked step 0: result 0.1 below median 0.9"


def test_several_objectives_are_pruned_by_one_metric_also_after_a_restart(workspace: Workspace, folder: Path) -> None:
    both: dict[str, Any] = {"objective": ["trained.score", "trained.cost"], "direction": ["maximize", "minimize"]}
    found = alternating(workspace, folder, "both", **both, prune_on="trained.score", n_trials=3)
    assert [run.status for run in found.runs] == [Status.COMPLETED, Status.PRUNED, Status.COMPLETED]
    assert found.runs[1].reason == "pruned at trained step 0: score 0.1 below median 0.9"
    again = alternating(workspace, folder, "both", **both, prune_on="trained.score", n_trials=4)
    # By nothing but what was reported before the restart.
    assert again.runs[3].reason == "pruned at trained step 0: score 0.1 below median 0.9"
    assert [trial.values for trial in again.trials][1::2] == [None, None]


def test_the_one_objective_is_reported_to_optuna_itself(workspace: Workspace, folder: Path) -> None:
    found = alternating(workspace, folder, "own", objective="trained.score", n_trials=2)
    told = found.optuna_study.get_trials(deepcopy=False)
    assert told[0].intermediate_values == {step: pytest.approx(GOOD * (step + 1)) for step in range(3)}
    assert found.runs[1].reason == "pruned at trained step 0: score 0.1 below median 0.9"


def test_a_metric_that_nothing_reports_is_said(workspace: Workspace, folder: Path) -> None:
    notes: list[str] = []
    study(workspace, folder, "typo", prune_on="checked.acu", n_trials=1, progress=lambda told: notes.append(told.note))
    assert notes[-1] == "no trial reported checked.acu, so that it pruned none"


def test_pruning_on_something_with_no_pruner_at_all_is_refused(workspace: Workspace, folder: Path) -> None:
    with pytest.raises(StudyError, match="leave one out"):
        study(workspace, folder, "none", prune_on="checked.auc", pruner="none")
    with pytest.raises(StudyError, match="name the metric"):
        study(workspace, folder, "open", objective=["a", "b"], pruner="median")


def test_prune_on_alone_means_the_median_and_is_resumed_with_it(workspace: Workspace, folder: Path) -> None:
    space = {"x": Float(0, 1), "folder": str(folder)}
    found = optimize(
        studied.staged, space, n_trials=2, prune_on=["checked.auc"], name="kept", executor="inline", progress=False,
        workspace=workspace, seed=0,
    )  # fmt: skip
    more = resume(workspace, found.task, n_trials=25, progress=False)
    reasons = [run.reason or "" for run in more.runs if run.status is Status.PRUNED]
    assert reasons
    assert all(re.fullmatch(r"pruned at checked step 0: auc \S+ below median \S+", reason) for reason in reasons)
