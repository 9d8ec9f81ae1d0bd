"""Studies whose trials are several seeds of one configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from agents import agent
from optuna.trial import TrialState
from samples import studied

from hpo_pipelines import Categorical, Float, Status, StudyError, Workspace, optimize
from hpo_pipelines.engine.repeats import Repeats
from hpo_pipelines.study import Study, resume
from hpo_pipelines.study.repeating import repeats_of
from search_spaces import Space


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("repeats")) as opened:
        yield opened


def study(workspace: Workspace, folder: Path, name: str, **options: Any) -> Study:
    space = {"x": options.pop("x", Float(0, 1)), "folder": str(folder)}
    options = {"objective": "drawn.auc", "n_trials": 3, "repeats": {"seed": 3}, "executor": "inline", **options}
    return optimize(studied.seeded, space, progress=False, seed=0, workspace=workspace, name=name, **options)


def test_a_trial_is_the_mean_over_its_seeds_with_its_spread(workspace: Workspace, folder: Path) -> None:
    found = study(workspace, folder, "mean")
    assert len(found.trials) == 3
    for trial in found.trials:
        assert trial.value == pytest.approx(trial.params["x"] + 0.1)
        assert trial.std == pytest.approx(0.1)
        assert trial.ci95 == pytest.approx(0.1 * 4.302653 / 3**0.5)
        assert [run.params["seed"] for run in trial.repeats] == [0, 1, 2]
        assert [run.value["auc"] for run in trial.repeats] == pytest.approx(
            [trial.params["x"] + s / 10 for s in range(3)]
        )
    assert found.best_trial.value == max(trial.value or 0 for trial in found.trials)
    assert (folder / "prepared").read_text() == "once\n"
    assert len((folder / "drawn").read_text().splitlines()) == 9
    frame = found.trials_dataframe()
    assert list(frame["value.std"]) == pytest.approx([0.1] * 3)
    assert found.repeats == {"seed": [0, 1, 2]}
    assert found.accounting.executions == 10


def test_it_goes_on_with_the_seeds_that_it_has(workspace: Workspace, folder: Path) -> None:
    found = study(workspace, folder, "on", repeats={"seed": [4, 7]}, n_trials=1)
    more = resume(workspace, found.task, n_trials=2, progress=False)
    assert [[run.params["seed"] for run in trial.repeats] for trial in more.trials] == [[4, 7]] * 2
    with pytest.raises(StudyError, match="another repeats"):
        study(workspace, folder, "on", repeats={"seed": 3}, n_trials=3)


def test_a_trial_fails_with_the_first_seed_that_fails(workspace: Workspace, folder: Path) -> None:
    found = study(workspace, folder, "fails", x=Categorical([-1.0]), repeats={"seed": 4}, n_trials=1)
    assert found.runs[0].status is Status.FAILED
    assert found.trials[0].values is None
    assert (folder / "drawn").read_text().splitlines() == ["-1.0 0", "-1.0 1"]


def test_the_pruner_hears_the_first_seed_and_objectives_may_be_several(workspace: Workspace, folder: Path) -> None:
    found = study(
        workspace, folder, "pruned", x=Categorical([0.9, 0.1]), objective=["drawn.auc", "x"], n_trials=6,
        sampler=optuna.samplers.RandomSampler(1), prune_on="drawn.auc",
        pruner=optuna.pruners.ThresholdPruner(lower=0.5),
    )  # fmt: skip
    for trial in found.trials:
        assert (trial.status is Status.PRUNED) == (trial.params["x"] == 0.1)
        assert len(trial.repeats) == (1 if trial.params["x"] == 0.1 else 3)
    best = found.best_trials[0]
    assert best.values == (pytest.approx(1.0), 0.9)
    assert best.spreads is not None
    assert [spread.std for spread in best.spreads] == pytest.approx([0.1, 0.0])


def test_agents_repeat_too(tmp_path: Path, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_EXECUTOR", "inline")
    with Workspace() as workspace, agent(home):
        found = study(workspace, folder, "far", n_trials=2, queue="services", executor=None)
        assert [trial.std for trial in found.trials] == pytest.approx([0.1, 0.1])
        assert {trial.state for trial in found.optuna_study.get_trials(deepcopy=False)} == {TrialState.COMPLETE}


@pytest.mark.parametrize(
    ("repeats", "said"),
    [
        ({"seed": 1}, "two values at least"),
        ({"seed": "12"}, "two values at least"),
        ({"seed": [1, 1]}, "each value once"),
        ({"seed": 2, "x": 2}, "name one parameter"),
        (5, "name one parameter"),
        ({"sed": 2}, "Did you mean 'seed'|sed"),
        ({"seed": ["a", "b"]}, "seed"),
        ({"x": 2}, "x is in the space"),
    ],
)
def test_what_is_no_repeats_leaves_no_study(workspace: Workspace, folder: Path, repeats: Any, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        study(workspace, folder, "never", repeats=repeats)
    with pytest.raises(StudyError, match="no study called"):
        Study.called(workspace, "never")


def test_seeds_count_from_the_base_runs_own(workspace: Workspace, folder: Path) -> None:
    base = studied.seeded.draft(folder=str(folder), seed=7, workspace=workspace).task
    assert repeats_of({"seed": 3}, studied.seeded, base, Space({})) == Repeats("seed", (7, 8, 9))
    assert repeats_of(None, studied.seeded, base, Space({})) is None
