from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from samples import studied

from hpo_pipelines import Categorical, Workspace, optimize
from hpo_pipelines.study import frame


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


@pytest.mark.parametrize("at_once", [1, 500])
def test_a_row_has_what_every_step_did(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(frame, "_AT_ONCE", at_once)
    space = {"x": Categorical([0.25, 0.75]), "folder": str(folder)}
    study = optimize(studied.staged, space, sampler="grid", executor="inline", progress=False, workspace=workspace)
    table = study.trials_dataframe().set_index("number")
    assert list(table["params.x"]) == [0.25, 0.75]
    assert list(table["value"]) == [0.25, 0.75]
    assert list(table["metrics.checked.auc"]) == [0.25, 0.75]
    assert list(table["metrics.trained.score"]) == [0.75, 2.25]
    assert list(table["reused.prepared"]) == [0, 1]
    assert list(table["reused.trained"]) == [0, 0]
    assert table["seconds.prepared"][1] == 0.0
    assert (table["seconds.trained"] > 0).all()
    assert list(table["steps"]) == [3, 3]
    assert list(table["steps_reused"]) == [0, 1]
    for run in study.runs:
        assert run.metrics == {
            name.removeprefix("metrics."): table[name][run.task.trial]
            for name in table.columns
            if name.startswith("metrics.")
        }


def test_of_repeats_the_steps_of_all_are_summed(workspace: Workspace, folder: Path) -> None:
    space = {"x": Categorical([0.25]), "folder": str(folder)}
    study = optimize(
        studied.seeded, space, "drawn.auc", n_trials=1, repeats={"seed": 3}, executor="inline", progress=False,
        workspace=workspace,
    )  # fmt: skip
    (row,) = study.trials_dataframe().to_dict("records")
    assert (row["steps"], row["steps_reused"], row["reused.prepared"]) == (6, 2, 2)
    assert row["metrics.drawn.auc"] == row["value"]
    assert row["value.ci95"] == row["metrics.drawn.auc.ci95"]


def test_a_study_without_trials_is_an_empty_table(workspace: Workspace) -> None:
    study = optimize(studied.halved, {"x": [1.0]}, timeout=0.0, progress=False, workspace=workspace)
    assert study.trials_dataframe().empty
