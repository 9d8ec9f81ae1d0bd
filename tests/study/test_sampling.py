from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from samples import bodies

from hpo_pipelines import Categorical, Float, Int, SpaceError, Status, Workspace, component, optimize, pipeline
from hpo_pipelines.study import resume, samplers, sampling
from search_spaces import Space


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("sampling")) as opened:
        yield opened


def study(workspace: Workspace, target: Any, space: Any, objective: str | None = None, **options: Any) -> Any:
    options = {"executor": "inline", "progress": False, "seed": 0, **options}
    return optimize(target, space, objective, workspace=workspace, **options)


AWKWARD = [None, True, 1, 1.0, "1", "", [], [1, [None, {"a": 1.5}]], {"b": [1], "a": None}, {}, "null", -0.0]


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_choices_of_any_json_value_come_back_as_they_were(storage: str, tmp_path: Path) -> None:
    kept: Any = f"sqlite:///{tmp_path}/optuna.db"
    if storage == "journal":
        kept = optuna.storages.JournalStorage(sampling.journal(tmp_path, "s"))
    space = Space({"x": Categorical(AWKWARD)})
    grid = samplers.sampler("grid", None, space)
    made = optuna.create_study(storage=kept, sampler=grid, study_name="s")
    values = []
    for _ in AWKWARD:
        trial = sampling.feasible(made, space)
        values.append(sampling.suggest(trial, space)["x"])
        made.tell(trial, 1.0)
    assert [(type(value), value) for value in values] == [(type(value), value) for value in AWKWARD]
    again = optuna.load_study(storage=kept, study_name="s")
    choice = space["x"]
    assert isinstance(choice, Categorical)
    labels = [trial.params["x"] for trial in again.trials]
    assert [choice.choice_of(label) for label in labels] == AWKWARD
    assert [sampling.enqueued(space, {"x": value}) for value in AWKWARD] == [{"x": label} for label in labels]


HEADS = Space({"hidden": Int(1, 40), "heads": Int(1, 20)}, constraints=["hidden >= 2 * heads", "hidden % heads == 0"])


@pytest.mark.parametrize("name", ["tpe", "random", "qmc", "nsgaii", "nsgaiii", "bruteforce", "grid"])
def test_every_sampler_gives_feasible_trials_and_the_others_never_run(name: str) -> None:
    made = optuna.create_study(sampler=samplers.sampler(name, 1, HEADS))
    for _ in range(12):
        trial = sampling.feasible(made, HEADS)
        values = sampling.suggest(trial, HEADS)
        assert HEADS.violated(values) == []
        made.tell(trial, values["hidden"])
    ran = [trial for trial in made.trials if sampling.ran(trial)]
    assert [trial.state for trial in ran] == [TrialState.COMPLETE] * 12
    for trial in made.trials:
        if not sampling.ran(trial):
            assert trial.state is TrialState.PRUNED
            assert list(trial.user_attrs["infeasible"]) == list(trial.constraints)
            assert set(trial.constraints.values()) == {1.0}


def test_tpe_learns_where_the_feasible_region_is() -> None:
    space = Space({"x": Float(0, 1), "y": Float(0, 1)}, constraints=["x + y < 0.5"])

    def refused(learns: bool) -> int:
        made = optuna.create_study(sampler=samplers.sampler("tpe(n_startup_trials=5)" if learns else "random", 3))
        for _ in range(40):
            trial = sampling.feasible(made, space)
            made.tell(trial, sampling.suggest(trial, space)["x"])
        return sum(not sampling.ran(trial) for trial in made.trials)

    assert refused(True) < refused(False) / 2


def test_a_small_region_is_found_after_some_attempts() -> None:
    space = Space({"x": Float(0, 1), "kind": ["a", [1]]}, constraints=["x < 0.002 and kind == [1]"])
    made = optuna.create_study(sampler=samplers.sampler("random", 1))
    trial = sampling.feasible(made, space)
    values = sampling.suggest(trial, space)
    assert values["x"] < 0.002
    assert values["kind"] == [1]
    assert trial.number <= 2 * sampling.ATTEMPTS


def test_a_region_that_is_not_hit_is_an_error_that_says_what_is_violated() -> None:
    space = Space({"x": Float(0, 1)}, constraints=["x > 1"])
    made = optuna.create_study(sampler=samplers.sampler("random", 1))
    with pytest.raises(SpaceError, match=r"none of 10000 samples .*'x > 1' by 100 %.*loosen a constraint"):
        sampling.feasible(made, space)


def test_trials_count_only_what_ran(workspace: Workspace) -> None:
    space = Space({"x": Int(0, 9), "y": Int(0, 9)}, constraints=["x > y + 3"])
    found = study(workspace, bodies.simple, space, n_trials=6, sampler="random", name="constrained")
    ids = [run.id for run in found.runs]
    assert len(ids) == 6
    assert all(run.params["x"] > run.params["y"] + 3 for run in found.runs)
    told = found.optuna_study.get_trials(deepcopy=False)
    assert len(told) > 6
    assert found.reason == "6 of 6 trials"
    assert found.space == space
    assert {run.task.cloned_from for run in found.runs[1:]} == {found.runs[0].id}
    more = study(workspace, bodies.simple, space, n_trials=8, sampler="random", name="constrained")
    assert len(more.runs) == 8
    assert [run.id for run in more.runs][:6] == ids


def test_lost_optuna_trials_are_told_again_without_running_the_infeasible(workspace: Workspace) -> None:
    space = Space({"x": Int(0, 9), "y": Int(0, 9)}, constraints=["x > y + 3"])
    found = study(workspace, bodies.simple, space, n_trials=4, sampler="random", name="lost")
    (workspace.home / "optuna" / f"{found.id}.journal").unlink()
    more = study(workspace, bodies.simple, space, n_trials=5, sampler="random", name="lost")
    assert len(more.runs) == 5
    assert more.trials[0].value == found.trials[0].value


def test_an_infeasible_trial_that_a_crash_left_does_not_run(workspace: Workspace) -> None:
    space = Space({"x": Int(0, 9), "y": Int(0, 9)}, constraints=["x > y"])
    found = study(workspace, bodies.simple, space, n_trials=2, sampler="random", name="left")
    left = found.optuna_study
    left.enqueue_trial({"x": 0, "y": 9})
    trial = left.ask()
    assert sampling.suggest(trial, space) == {"x": 0, "y": 9}
    more = study(workspace, bodies.simple, space, n_trials=3, sampler="random", name="left")
    assert len(more.runs) == 3
    assert all(run.params["x"] > run.params["y"] for run in more.runs)
    told = more.optuna_study.trials[trial.number]
    assert (told.state, told.user_attrs["infeasible"]) == (TrialState.PRUNED, ["x > y"])


def test_a_base_that_violates_a_constraint_is_not_enqueued(workspace: Workspace) -> None:
    space = Space({"x": Int(0, 9), "y": Int(0, 9)}, constraints=["x > y"])
    base = bodies.simple.run(x=1, y=2, workspace=workspace, executor="inline")
    found = study(workspace, base, space, n_trials=2, sampler="random", name="infeasible base")
    assert all(run.params["x"] > run.params["y"] for run in found.runs)


def test_a_space_of_other_names_is_refused_for_these(workspace: Workspace) -> None:
    with pytest.raises(SpaceError, match=r"ridge\.yaml:\d+: alpha: the pipeline has no parameter 'alpha'"):
        study(workspace, grouped, "ridge", n_trials=1)


def test_a_grid_takes_every_feasible_point_once_and_ends(workspace: Workspace) -> None:
    space = Space({"x": Int(1, 4), "y": Int(1, 4)}, constraints=["x < y"])
    found = study(workspace, bodies.simple, space, sampler="grid", name="grid", n_jobs=2)
    assert sorted((run.params["x"], run.params["y"]) for run in found.runs) == [
        (1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4),
    ]  # fmt: skip
    assert len(found.optuna_study.get_trials()) == 6
    brute = study(workspace, bodies.simple, space, sampler="bruteforce", name="brute")
    assert len({(run.params["x"], run.params["y"]) for run in brute.runs}) == len(brute.runs) == 6


def test_a_grid_goes_on_where_it_was(workspace: Workspace) -> None:
    space = {"x": Int(1, 5)}
    study(workspace, bodies.simple, space, sampler="grid", name="on", n_trials=2)
    found = study(workspace, bodies.simple, space, sampler="grid", name="on")
    assert [run.params["x"] for run in found.runs] == [1, 2, 3, 4, 5]
    assert found.status is Status.COMPLETED


def test_a_sampler_with_options_is_recorded_and_resumed(workspace: Workspace) -> None:
    space = {"x": Int(1, 5), "y": Int(1, 5), "constraints": "x < y"}
    options = {"name": "tpe", "n_startup_trials": 2}
    found = study(workspace, bodies.simple, space, sampler=options, name="recorded", n_trials=2)
    more = resume(workspace, found.task, n_trials=4, progress=False)
    assert len(more.runs) == 4
    assert more.task.params["asked"]["sampler"] == options
    assert all(run.params["x"] < run.params["y"] for run in more.runs)


def test_a_grid_is_resumed_up_to_its_end(workspace: Workspace) -> None:
    found = study(workspace, bodies.simple, {"x": Int(1, 3)}, sampler="grid", name="to its end", n_trials=1)
    more = resume(workspace, found.task, n_trials=99, progress=False)
    assert [run.params["x"] for run in more.runs] == [1, 2, 3]


@component
def fitted(fit: dict[str, Any], seed: int) -> float:
    return float(fit["depth"] * 10 + fit.get("rate", 0)) + seed


@pipeline
def grouped(fit: dict[str, Any], seed: int = 1) -> Any:
    return fitted(fit, seed)


def test_a_group_reaches_the_pipeline_as_a_dict(workspace: Workspace) -> None:
    group = Space(
        {"kind": ["a", "b"], "depth": Int(1, 3), "rate": Float(0, 1, when={"kind": "b"})},
        constraints=["depth < 3 or kind == 'b'"],
    )
    found = study(workspace, grouped, {"fit": group, "seed": [1, 2]}, n_trials=10, name="grouped")
    for run in found.runs:
        fit = run.params["fit"]
        assert ("rate" in fit) == (fit["kind"] == "b")
        assert fit["depth"] < 3 or fit["kind"] == "b"
    best = found.best_params
    assert best["fit.depth"] == found.best_run.params["fit"]["depth"]
    base = grouped.run(fit={"kind": "b", "depth": 2, "rate": 0.5}, workspace=workspace, executor="inline")
    over = study(workspace, base, {"fit": group}, n_trials=2, name="over")
    assert over.runs[0].params["fit"] == {"kind": "b", "depth": 2, "rate": 0.5}
