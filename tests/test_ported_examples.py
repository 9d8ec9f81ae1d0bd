"""What ClearML's examples of pipelines and optimisation show, in ours: examples/iris, tabular, network, layers.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from test_examples import load

from hpo_pipelines import Run, Status, Workspace

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
