"""What ClearML's examples of pipelines and optimisation show, in ours: all but digits and penguins of examples/."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from test_examples import load

from hpo_pipelines import Run, Status, Study, Workspace

pytestmark = pytest.mark.integration


@pytest.fixture
def here(home: Path) -> Iterator[dict[str, Any]]:
    """Options of a run: a workspace of the test's own, steps in this process."""
    with Workspace(home=home) as workspace:
        yield {"workspace": workspace, "executor": "inline"}


def reused(run: Run) -> set[str]:
    return {name for name, step in run.steps.items() if step.reused_from}


def needs(run: Run, step: str) -> set[str]:
    """The steps whose outputs ``step`` takes, or whose values the body looked at before it."""
    store = run.workspace.store
    names = {child.id: child.name for child in store.tasks.children(run.id)}
    return {names[edge.source] for edge in store.tasks.edges(run.id) if names.get(edge.target) == step}


@pytest.fixture
def iris() -> ModuleType:
    return load("iris/decorators.py")


def test_the_second_run_of_decorated_components_reuses_all_four(
    here: dict[str, Any], iris: ModuleType, tmp_path: Path
) -> None:
    path = str(tmp_path / "iris.pkl")
    iris.write_iris(path)
    first, second = (iris.iris.run(pickle_path=path, **here) for _ in range(2))
    assert (first.status, list(first.steps), reused(first)) == (
        Status.COMPLETED,
        ["load", "split", "train", "score"],
        set(),
    )
    assert reused(second) == set(first.steps)
    assert first.value == second.value == pytest.approx(iris.iris(path))
    assert first.value > 90
    assert "the model: LogisticRegression" in second.console()


def test_undecorated_functions_are_steps_and_a_tuple_is_one_artifact(here: dict[str, Any]) -> None:
    functions = load("iris/functions.py")
    run = functions.iris_of_functions.run(**here)
    assert run.status is Status.COMPLETED
    assert list(run.steps["step_two"].outputs) == ["value"]
    assert len(run.steps["step_two"].outputs["value"]) == 4
    assert needs(run, "step_four") == {"step_two", "step_three"}
    fewer = run.clone(flowers=100).run(executor="inline")
    assert (reused(fewer), fewer.value) == (set(), functions.iris_of_functions(100))


def test_three_tasks_are_chained_with_overrides_and_callbacks(
    here: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = load("chain/callbacks.py")
    for part in (tasks.flowers, tasks.split, tasks.train):
        part.run(project="examples", **here).raise_for_status()
    alone = capsys.readouterr().out
    assert "train#1: train completed" in alone
    chain = tasks.chained(here["workspace"])
    run = chain.run(executor="inline")
    assert (run.status, list(run.steps), reused(run)) == (Status.COMPLETED, ["data", "parts", "train"], {"data"})
    assert needs(run, "parts") == {"data"}
    assert needs(run, "train") == {"parts"}
    assert [len(part) for part in run.steps["parts"].outputs["value"]] == [112, 38, 112, 38]
    assert "training with 150.0 rows, of iris_of_tasks#1" in run.steps["train"].console()
    assert run.metrics["train.accuracy"] > 0.9
    told = capsys.readouterr().out.splitlines()
    asked = "iris_of_tasks#1: train is to have 150 rows"  # by the body's thread, which waits for no callback after
    assert told.count(asked) == 1
    assert [line for line in told if line.startswith("iris_of_tasks#1: ") and line != asked] == [
        "iris_of_tasks#1: data reused",
        "iris_of_tasks#1: parts completed",
        "iris_of_tasks#1: train completed",
    ]


def test_a_callback_before_a_chained_step_skips_it(here: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    tasks = load("chain/callbacks.py")
    for part in (tasks.flowers, tasks.split, tasks.train):
        part.run(project="examples", **here).raise_for_status()
    run = tasks.chained(here["workspace"]).run(step=5, executor="inline")
    assert (run.status, run.steps["train"].status) == (Status.COMPLETED, Status.SKIPPED)
    assert run.steps["train"].reason == "skipped by its callback: 30 rows are too few"
    assert "iris_of_tasks#1: train completed" not in capsys.readouterr().out


def test_what_is_scheduled_is_fired_by_hand_and_sets_off_what_follows(
    here: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_EXECUTOR", "inline")
    nightly, workspace = load("schedule/nightly.py"), here["workspace"]
    nightly.schedule(workspace)
    assert list(workspace.runs()) == []
    nightly.fire(workspace)
    started = {each.name: workspace.store.tasks.get(str(each.last_task)) for each in workspace.store.schedules.all()}
    assert {name: task.status for name, task in started.items()} == dict.fromkeys(
        ("nightly", "told", "monthly"), Status.COMPLETED
    )
    ingested = workspace.get("ingest#1")
    assert ingested.params == {"rows": 500}
    assert workspace.get("summary#1").value == f"ingest#1 has a mean of {ingested.value:.3f}"
    study = Study.called(workspace, started["monthly"].name)
    assert len(study.trials) == 5
    assert "schedule:monthly" in started["monthly"].tags


def test_a_table_that_is_not_whole_ends_the_pipeline(here: dict[str, Any]) -> None:
    species = load("tabular/pipeline.py").species
    run = species.run(rows=1000, **here)
    assert (run.status, run.value, list(run.steps)) == (Status.COMPLETED, None, ["load", "is_whole"])


def test_a_loop_fans_out_and_the_best_is_selected(here: dict[str, Any]) -> None:
    species = load("tabular/pipeline.py").species
    run = species.run(forests=[1, 4, 20], **here)
    trained = ["train", "train.2", "train.3"]
    assert run.status is Status.COMPLETED
    assert needs(run, "select_best") - {"is_whole"} == {*trained}  # the body looked at that one
    assert needs(run, "train.2") >= {"prepare"}
    assert not needs(run, "train.2") & {*trained}
    accuracies = [run.steps[name].metrics["accuracy"] for name in trained]
    assert run.value["accuracy"] == max(accuracies) > 0.9
    assert run.value["settings"]["n_estimators"] == [1, 4, 20][int(np.argmax(accuracies))]
    more = run.clone(forests=[4, 8]).run(executor="inline")
    assert reused(more) == {"load", "is_whole", "prepare", "train"}


def test_two_preparations_run_side_by_side_and_the_better_is_picked(here: dict[str, Any]) -> None:
    two_ways = load("tabular/pipeline.py").two_ways
    run = two_ways.run(**here)
    assert (needs(run, "prepare"), needs(run, "prepare.2")) == ({"load"}, {"load"})
    assert (needs(run, "train"), needs(run, "train.2")) == ({"prepare"}, {"prepare.2"})
    assert needs(run, "select_best") == {"train", "train.2"}
    assert run.value == two_ways()
    assert run.value["accuracy"] == max(run.steps[name].metrics["accuracy"] for name in ("train", "train.2"))


def test_decorators_of_ones_own_stay_on_a_component(here: dict[str, Any]) -> None:
    layers = load("layers.py")
    assert layers.layered() == 15
    run = layers.layered.run(**here)
    assert (run.status, run.value, list(run.steps)) == (Status.COMPLETED, 15, ["one", "doubled", "check"])
    assert layers.layered.run(**here).status is Status.COMPLETED
    with pytest.raises(AssertionError, match="3 is not 4"):
        layers.check(3, expected=4)


def test_a_net_is_tuned_by_what_it_tells_after_each_epoch(
    here: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    network = load("network/study.py")
    study = network.tune(8, **here)
    statuses = [str(trial.status) for trial in study.trials]
    assert set(statuses) == {"completed", "pruned"}
    assert study.best_value == max(trial.value for trial in study.trials if trial.value is not None) > 0.8
    assert sum(line.startswith("a new record after") for line in capsys.readouterr().out.splitlines()) >= 1
    assert all("load" in reused(run) for run in study.runs[1:])
    reported = study.workspace.store.metrics.of([study.best_run.steps["train"].id])
    assert [each.step for each in reported if each.name == "epoch_accuracy"] == [0, 1, 2, 3, 4]


def test_a_net_is_tuned_for_two_objectives(here: dict[str, Any]) -> None:
    study = load("network/study.py").front(4, **here)
    best = [trial.values for trial in study.best_trials]
    every = [trial.values for trial in study.trials]
    assert all(values is not None and len(values) == 2 for values in every)
    dominated = [
        mine for mine in every if any(other[0] >= mine[0] and other[1] <= mine[1] and other != mine for other in every)
    ]
    assert sorted(best) == sorted(values for values in every if values not in dominated)
