from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from samples import bodies

from hpo_pipelines import Categorical, Float, Int, SpaceError, Status, StudyError, Workspace, optimize
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.study import Study
from hpo_pipelines.types import Kind


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("study")) as opened:
        yield opened


def study(workspace: Workspace, target: Any, space: Any, objective: str | None = None, **options: Any) -> Study:
    options = {"executor": "inline", "progress": False, "seed": 0, **options}
    return optimize(target, space, objective, workspace=workspace, **options)


SPACE = {
    "kind": Categorical(["a", "bb"]),
    "x": Float(0.0, 1.0),
    "depth": Int(1, 3, when={"kind": "bb"}),
}


def test_each_trial_is_a_run_with_lineage_and_the_base_goes_first(workspace: Workspace) -> None:
    found = study(workspace, bodies.tuned, SPACE, "scored.score", n_trials=12, name="whole")
    runs = found.runs
    assert found.status is Status.COMPLETED
    assert [run.task.trial for run in runs] == list(range(12))
    assert runs[0].params == {"kind": "a", "x": 0.9, "depth": None}
    assert all(run.task.cloned_from == runs[0].id for run in runs[1:])
    assert all(run.status is Status.COMPLETED for run in runs)
    assert found.best_value == max(run.metrics["scored.score"] for run in runs)
    assert found.best_run.metrics["scored.score"] == found.best_value
    assert any(run.steps["prepared"].reused_from for run in runs)


def test_conditional_parameters_are_drawn_only_where_they_exist(workspace: Workspace) -> None:
    found = study(workspace, bodies.tuned, SPACE, "scored.score", n_trials=12, name="whole")
    depths = {run.params["kind"]: run.params["depth"] is not None for run in found.runs}
    assert depths == {"a": False, "bb": True}
    assert "depth" in found.best_params  # the deeper, the better
    for trial in found.optuna_study.get_trials(deepcopy=False):
        assert ("depth" in trial.params) == (trial.params["kind"] == "bb")


def test_the_objective_may_be_a_key_of_the_value_or_the_value(workspace: Workspace) -> None:
    keyed = study(workspace, bodies.tuned, {"x": Float(0, 1)}, "score", n_trials=3, name="keyed")
    assert keyed.best_value == pytest.approx(max(run.value["score"] for run in keyed.runs))
    plain = study(workspace, bodies.simple, {"x": Int(1, 9)}, None, n_trials=3, direction="minimize", name="plain")
    assert plain.best_value == min(run.value for run in plain.runs)


def test_the_same_name_goes_on_to_the_new_total(workspace: Workspace) -> None:
    first = study(workspace, bodies.simple, {"x": Int(1, 50)}, None, n_trials=4, name="grows")
    ids = [run.id for run in first.runs]
    second = study(workspace, bodies.simple, {"x": Int(1, 50)}, None, n_trials=7, name="grows")
    assert [run.id for run in second.runs][:4] == ids
    assert len(second.runs) == 7
    third = study(workspace, bodies.simple, {"x": Int(1, 50)}, None, n_trials=7, name="grows")
    assert len(third.runs) == 7


def test_another_space_or_direction_under_the_same_name_is_refused(workspace: Workspace) -> None:
    study(workspace, bodies.simple, {"x": Int(1, 5)}, None, n_trials=2, name="pinned")
    with pytest.raises(StudyError, match=r"another space.*allow_changes"):
        study(workspace, bodies.simple, {"x": Int(1, 6)}, None, n_trials=3, name="pinned")
    with pytest.raises(StudyError, match="another direction"):
        study(workspace, bodies.simple, {"x": Int(1, 5)}, None, n_trials=3, direction="minimize", name="pinned")
    changed = study(workspace, bodies.simple, {"x": Int(1, 6)}, None, n_trials=3, name="pinned", allow_changes=True)
    assert len(changed.runs) == 3


def test_a_failing_trial_is_told_as_failed_and_the_study_goes_on(workspace: Workspace) -> None:
    found = study(workspace, bodies.sometimes, {"x": Int(0, 20)}, None, n_trials=10, name="failing")
    states = [trial.state.name for trial in found.optuna_study.get_trials(deepcopy=False)]
    assert len(states) == 10
    assert set(states) == {"COMPLETE", "FAIL"}
    for trial in found.trials:
        assert (trial.status is Status.FAILED) == (trial.run.params["x"] % 2 == 1)


def test_max_failures_stops_it(workspace: Workspace) -> None:
    space = {"x": Categorical([1, 3, 5, 7, 9, 11])}
    found = study(workspace, bodies.sometimes, space, None, n_trials=20, name="stops", max_failures=3)
    assert found.status is Status.FAILED
    assert "3 trials failed" in (found.reason or "")
    assert len(found.runs) == 3
    with pytest.raises(StudyError, match="no completed trial"):
        _ = found.best_run


def test_trials_that_complete_without_the_objective_say_what_there_is(workspace: Workspace) -> None:
    found = study(workspace, bodies.tuned, {"x": Float(0, 1)}, "scored.scor", n_trials=1, name="lacking")
    with pytest.raises(
        StudyError, match=r"no completed trial yet; of trial 0: .* called 'scored.scor'; it has .*score"
    ):
        _ = found.best_trial


def test_a_study_over_a_run_clones_that_run(workspace: Workspace) -> None:
    base = bodies.tuned.run(kind="bb", workspace=workspace, executor="inline")
    found = study(workspace, base, {"x": Float(0, 1)}, "scored.score", n_trials=3, name="over a run")
    assert {run.task.cloned_from for run in found.runs} == {base.id}
    assert {run.params["kind"] for run in found.runs} == {"bb"}
    assert found.runs[0].params == base.params


def test_a_base_outside_the_space_is_not_enqueued(workspace: Workspace) -> None:
    found = study(workspace, bodies.tuned, {"x": Float(0.0, 0.5)}, "scored.score", n_trials=2, name="outside")
    assert all(run.params["x"] <= 0.5 for run in found.runs)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"xx": Float(0, 1)}, "no parameter 'xx'.*did you mean 'x'|'xx'"),
        ({"x": Categorical(["many"])}, "refuses 'many'"),
        ({"x": {"low": 2, "high": 1}}, "low"),
    ],
)
def test_wrong_spaces_are_refused_before_anything_runs(workspace: Workspace, space: Any, message: str) -> None:
    before = workspace.store.tasks.list(TaskFilter(kind=Kind.STUDY), limit=None)
    with pytest.raises(SpaceError, match=message):
        study(workspace, bodies.tuned, space, "scored.score", n_trials=2)
    assert workspace.store.tasks.list(TaskFilter(kind=Kind.STUDY), limit=None) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_trials": None}, "needs an end"),
        ({"n_trials": 0}, "1 or more"),
        ({"n_trials": 1, "direction": "up"}, "maximize or minimize"),
        ({"n_trials": 1, "sampler": "tpo"}, r"there are tpe.*mean 'tpe'"),
        ({"n_trials": 1, "sampler": "gp"}, r"needs torch.*pip install 'hpo-pipelines\[gp\]'"),
        ({"n_trials": 1, "pruner": "gardener"}, "there are none"),
    ],
)
def test_wrong_options(workspace: Workspace, options: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        study(workspace, bodies.tuned, {"x": Float(0, 1)}, "scored.score", **options)


def test_an_unknown_objective_fails_trials_and_says_what_there_is(workspace: Workspace) -> None:
    found = study(workspace, bodies.tuned, {"x": Float(0, 1)}, "scored.scoer", n_trials=1, name="typo")
    assert "scored.score" in found.runs[0].notes


def test_parallel_trials_share_what_they_have_in_common(workspace: Workspace, tmp_path: Path) -> None:
    found = study(
        workspace, bodies.tuned, {"x": Float(0, 1)}, "scored.score",
        n_trials=8, n_jobs=4, executor="local", name="parallel",
    )  # fmt: skip
    assert len(found.runs) == 8
    keys = {run.steps["prepared"].task.key for run in found.runs}
    executed = [run for run in found.runs if run.steps["prepared"].reused_from is None]
    assert len(keys) == 1
    assert len(executed) <= 1


def test_a_report_prunes_the_trial_and_its_step_is_gone(workspace: Workspace, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    class Below(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return trial.intermediate_values[trial.last_step or 0] < 0.5 * ((trial.last_step or 0) + 1)

    space = {"x": Categorical([0.9, 0.2]), "gate": str(gate)}
    found = study(
        workspace, bodies.learned, space, "learning.score",
        n_trials=6, executor="local", pruner=Below(), sampler="random", name="pruned",
    )  # fmt: skip
    pruned = [run for run in found.runs if run.status is Status.PRUNED]
    assert pruned
    assert all(run.params["x"] == 0.2 for run in pruned)
    assert "pruned at learning step" in (pruned[0].reason or "")
    assert not gate.exists()


def test_trials_dataframe(workspace: Workspace) -> None:
    frame = study(workspace, bodies.tuned, SPACE, "scored.score", n_trials=12, name="whole").trials_dataframe()
    assert list(frame["number"]) == list(range(12))
    assert {"value", "params.x", "metrics.scored.score", "steps_reused", "seconds"} <= set(frame.columns)


def test_an_unknown_study_names_those_there_are(workspace: Workspace) -> None:
    with pytest.raises(StudyError, match=r"no study called 'hole'.*whole"):
        Study.called(workspace, "hole")


def test_progress_is_told(workspace: Workspace) -> None:
    heard: list[tuple[int, int]] = []
    study(
        workspace, bodies.simple, {"x": Int(1, 50)}, None,
        n_trials=3, name="told", progress=lambda progress: heard.append((progress.done, progress.running)),
    )  # fmt: skip
    assert heard[-1] == (3, 0)
