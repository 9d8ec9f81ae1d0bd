"""Studies with several objectives, and with constraints."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from samples import studied

from hpo_pipelines import Float, Int, Status, StudyError, TaskNotFound, Workspace, optimize
from hpo_pipelines.study import Analysis, Study, resume, sampling

SPACE = {"x": Float(0, 1), "y": Float(0, 5)}
BOTH: dict[str, Any] = {"objective": ["fitted.auc", "fitted.size"], "direction": ["maximize", "minimize"]}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("objectives")) as opened:
        yield opened


def study(workspace: Workspace, name: str, **options: Any) -> Study:
    options = {"space": SPACE, "n_trials": 12, "executor": "inline", "progress": False, "seed": 0, **options}
    return optimize(studied.weighed, workspace=workspace, name=name, **options)


def test_several_objectives_have_a_front_and_no_single_best(workspace: Workspace) -> None:
    heard: list[int | None] = []
    found = study(workspace, "front", **BOTH, progress=lambda progress: heard.append(progress.front))
    assert found.objectives == ("fitted.auc", "fitted.size")
    assert found.directions == ("maximize", "minimize")
    metrics = [trial.run.metrics for trial in found.trials]
    assert [trial.values for trial in found.trials] == [(m["fitted.auc"], m["fitted.size"]) for m in metrics]
    front = found.best_trials
    assert {trial.number for trial in front} == {trial.number for trial in found.optuna_study.best_trials}
    assert [trial.value for trial in front] == sorted((trial.value or 0 for trial in front), reverse=True)
    assert heard[-1] == len(front)
    with pytest.raises(StudyError, match=r"2 objectives.*best_trials"):
        _ = found.best_trial
    with pytest.raises(StudyError, match="2 objectives"):
        _ = found.best_params


def test_the_sampler_is_nsga_ii_unless_another_is_given(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    sample = optuna.samplers.NSGAIISampler.sample_relative

    def told(self: Any, *args: Any) -> Any:
        asked.append(type(self).__name__)
        return sample(self, *args)

    monkeypatch.setattr(optuna.samplers.NSGAIISampler, "sample_relative", told)
    study(workspace, "default", **BOTH, n_trials=3)
    assert asked == ["NSGAIISampler"] * len(asked) != []
    asked.clear()
    study(workspace, "given", **BOTH, n_trials=3, sampler="tpe")
    assert asked == []


def test_a_study_of_several_objectives_goes_on_under_its_name(workspace: Workspace) -> None:
    first = study(workspace, "grows", **BOTH, n_trials=4)
    values = [trial.values for trial in first.trials]
    more = resume(workspace, first.task, n_trials=7, progress=False)
    assert [trial.values for trial in more.trials][:4] == values
    assert len(more.trials) == 7
    with pytest.raises(StudyError, match="another objective and direction"):
        study(workspace, "grows", objective="fitted.auc", n_trials=8)
    with pytest.raises(StudyError, match="another direction"):
        study(workspace, "grows", **{**BOTH, "direction": "maximize"}, n_trials=8)


def test_what_optuna_lost_is_told_again_with_all_its_values(workspace: Workspace) -> None:
    first = study(workspace, "lost", **BOTH, n_trials=5, constraints="fitted.size <= 8")
    kept = [(trial.values, trial.violations) for trial in first.trials]
    (workspace.home / "optuna" / f"{first.id}.journal").unlink()
    again = study(workspace, "lost", **BOTH, n_trials=6, constraints="fitted.size <= 8")
    assert [(trial.values, trial.violations) for trial in again.trials][:5] == kept
    told = again.optuna_study.get_trials(deepcopy=False)
    assert [trial.state for trial in told] == [TrialState.COMPLETE] * 6
    assert [dict(trial.constraints) for trial in told][:5] == [violations for _, violations in kept]


def test_constraints_noted_before_a_crash_are_noted_once(workspace: Workspace) -> None:
    found = study(workspace, "twice", n_trials=1)
    trial = found.optuna_study.ask()
    reopened = found.optuna_study
    for _ in range(2):
        sampling.constrain(reopened, trial.number, {"a <= 1": 2.0})
    assert reopened.get_trials(deepcopy=False)[trial.number].constraints == {"a <= 1": 2.0}
    reopened.tell(trial.number, 1.0)
    sampling.constrain(reopened, trial.number, {"b <= 1": 2.0})


def test_cma_es_is_for_one_objective(workspace: Workspace) -> None:
    class NotInstalled(optuna.samplers.CmaEsSampler):  # type: ignore[misc]
        def __init__(self) -> None:
            """Needs a library that only an extra installs."""

    with pytest.raises(StudyError, match="cmaes' is for one objective"):
        study(workspace, "cmaes", **BOTH, sampler=NotInstalled())


def test_the_best_is_feasible_and_samplers_hear_of_constraints(workspace: Workspace) -> None:
    found = study(workspace, "bounded", objective="fitted.auc", constraints=["fitted.size <= 6", "excess < 4"])
    assert any((trial.value or 0) > found.best_value for trial in found.trials)
    assert found.best_run.metrics["fitted.size"] <= 6
    for trial, told in zip(found.trials, found.optuna_study.get_trials(deepcopy=False), strict=True):
        size, excess = trial.run.metrics["fitted.size"], trial.run.params["y"]
        assert trial.violations == told.constraints
        assert trial.violations["fitted.size <= 6"] == pytest.approx(size - 6)
        assert trial.is_feasible == (size <= 6 and excess < 4)
    assert found.best_trial.number == found.optuna_study.best_trial.number
    frame = found.trials_dataframe()
    assert list(frame["feasible"]) == [trial.is_feasible for trial in found.trials]


def test_where_nothing_is_feasible_the_nearest_is_named(workspace: Workspace) -> None:
    found = study(workspace, "infeasible", objective="fitted.auc", constraints="fitted.size <= -1", n_trials=3)
    nearest = min(found.trials, key=lambda trial: trial.run.metrics["fitted.size"])
    assert found.best_trials == []
    with pytest.raises(StudyError, match=f"none of the 3 completed trials.*trial {nearest.number} comes nearest"):
        _ = found.best_trial
    assert found.status is Status.COMPLETED


def test_other_constraints_are_another_study(workspace: Workspace) -> None:
    study(workspace, "pinned", objective="fitted.auc", constraints="fitted.size <= 6", n_trials=1)
    with pytest.raises(StudyError, match=r"another constraints.*allow_changes"):
        study(workspace, "pinned", objective="fitted.auc", n_trials=2)


def test_a_missing_metric_of_a_constraint_fails_the_trial_and_says_so(workspace: Workspace) -> None:
    found = study(workspace, "missing", objective="fitted.auc", constraints="fitted.sizes <= 6", n_trials=1)
    assert found.trials[0].values is None
    assert "no metric or returned value called 'fitted.sizes'" in found.runs[0].notes


def test_front_and_constraints_together_and_what_pages_get(workspace: Workspace) -> None:
    found = study(workspace, "pages", **BOTH, constraints="fitted.size >= 1")
    analysis = Analysis(found)
    assert analysis.values == {trial.number: trial.values for trial in found.trials}
    assert analysis.violations == {trial.number: dict(trial.violations) for trial in found.trials}
    assert analysis.best == [trial.number for trial in found.best_trials]
    assert all(found.trials[number].is_feasible for number in analysis.best)
    assert analysis.goals == found.goals
    assert set(analysis.importances_of(1)) == {"x", "y"}
    assert analysis.importances == analysis.importances_of(0)
    frame = found.trials_dataframe()
    assert list(frame["values.fitted.size"]) == [trial.values[1] for trial in found.trials if trial.values]
    assert "value" not in frame.columns


def test_nan_is_no_value(workspace: Workspace) -> None:
    found = study(workspace, "nan", space={"x": Int(0, 1), "y": Float(0, 1)}, objective=["fitted.auc", "nothing"],
                  n_trials=1)  # fmt: skip
    assert found.trials[0].values is None
    assert "no metric" in found.runs[0].notes
    base = studied.weighed.run(x=math.nan, workspace=workspace, executor="inline")
    nan = optimize(base, {"y": Float(0, 1)}, "fitted.auc", n_trials=1, name="nans", workspace=workspace,
                   executor="inline", progress=False)  # fmt: skip
    assert nan.runs[0].notes == "fitted.auc: not a number (NaN)"


def test_an_objective_may_be_of_a_run_inside(workspace: Workspace) -> None:
    goals = ["weighed.fitted.auc", "weighed.2.excess"]
    found = optimize(studied.around, SPACE, goals, n_trials=2, workspace=workspace, executor="inline", seed=0,
                     name="inside", progress=False)  # fmt: skip
    params = [run.params for run in found.runs]
    assert [trial.values for trial in found.trials] == [(each["x"] / 2, each["y"]) for each in params]
    (run, _) = found.runs
    assert run.objective("weighed.2.fitted.auc") == run.objective("weighed.fitted.auc") != run.params["x"]
    with pytest.raises(TaskNotFound, match=r"weighed#\d+ has no .* called 'fitted.au'; it has excess, fitted.auc"):
        run.objective("weighed.fitted.au")
    with pytest.raises(TaskNotFound, match=r"around#\d+ has .* it has value, weighed.2.excess, weighed.2.fitted.auc"):
        run.objective("weighted.fitted.auc")
