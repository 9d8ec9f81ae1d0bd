"""A trial as a run of its own; what MLflow gets of it is tested in :mod:`tracking.test_registry`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from samples import promoted, studied

from hpo_pipelines import Categorical, Study, StudyError, Workspace, optimize
from hpo_pipelines.errors import ConfigError
from hpo_pipelines.study.promotion import requirements


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("promotion") / "home") as opened:
        yield opened


@pytest.fixture(scope="module")
def study(workspace: Workspace) -> Study:
    return optimize(
        promoted.modelled, {"alpha": Categorical([0.5, 5.0])}, "fitted.error", "minimize", sampler="grid",
        executor="inline", progress=False, workspace=workspace, name="models",
    )  # fmt: skip


def test_the_best_trial_becomes_a_run_that_computes_nothing(study: Study) -> None:
    run = study.promote()
    assert run.tags == ("promoted",)
    assert (run.params, run.metrics) == ({"alpha": 0.5}, study.best_run.metrics)
    assert run.task.cloned_from == study.best_run.id
    assert (run.task.study, run.task.trial) == (None, None)
    assert run.steps["fitted"].reused_from == study.best_run.steps["fitted"].id  # although its reuse is off
    assert study.promote(1).params == {"alpha": 5.0}
    assert len(study.trials) == 2


def test_what_cannot_be_promoted_is_refused_with_the_cure(study: Study, workspace: Workspace) -> None:
    runs = len(workspace.store.tasks.list(limit=None))
    with pytest.raises(StudyError, match="has no trial 7: hpo study trials models"):
        study.promote(7)
    with pytest.raises(StudyError, match="give register= too"):
        study.promote(output="fitted.model")
    with pytest.raises(ConfigError, match="tracking is off"):
        study.promote(register="churn", output="fitted.model")
    assert len(workspace.store.tasks.list(limit=None)) == runs


def test_of_several_objectives_the_trial_is_to_be_said(workspace: Workspace) -> None:
    both = optimize(
        studied.weighed, {"x": Categorical([0.25, 0.75])}, ["fitted.auc", "fitted.size"], ["maximize", "minimize"],
        sampler="grid", executor="inline", progress=False, workspace=workspace,
    )  # fmt: skip
    with pytest.raises(StudyError, match=r"which of its front is promoted \(trial=, --trial\): 1, 0"):
        both.promote()
    assert both.promote(0).params["x"] == 0.25


def test_a_trial_that_failed_is_not_promoted(workspace: Workspace) -> None:
    failed = optimize(
        studied.halved, {"x": Categorical([-1.0])}, n_trials=1, executor="inline", progress=False, workspace=workspace
    )
    with pytest.raises(StudyError, match=r"trial 0 of .* is failed: only a completed one"):
        failed.promote(0)
    with pytest.raises(StudyError, match="no completed trial"):
        failed.promote()


def test_a_model_needs_what_its_code_imports_and_its_library() -> None:
    wanted = requirements({"numpy": "2.0"}, promoted.Ridge())
    assert wanted[0].startswith("cloudpickle==")
    assert "numpy==2.0" in wanted
    assert any(each.startswith("scikit-learn==") for each in wanted)
