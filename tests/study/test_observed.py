"""What samplers are told of a study, read from a real store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from hpo_pipelines import (
    Categorical,
    Fixed,
    Float,
    Int,
    Space,
    Status,
    StudyError,
    Workspace,
    component,
    optimize,
    pipeline,
)
from hpo_pipelines.run import Run
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.study import Study
from hpo_pipelines.study.observed import StudyRecords, recorded
from hpo_pipelines.study.reuse import MemoGPSampler, PrefixReuseSampler, Stages, Standing
from hpo_pipelines.types import Kind


@component
def loaded(rows: int) -> list[int]:
    return list(range(rows))


@component
def scaled(data: list[int], factor: float) -> list[float]:
    return [factor * each for each in data]


@component
def fitted(data: list[float], lr: float) -> float:
    return sum(data) * lr


@pipeline
def chain(rows: int = 10, factor: float = 0.5, lr: float = 0.1) -> Any:
    return fitted(scaled(loaded(2 * rows), factor), lr)


@pipeline
def inner(factor: float, rows: int) -> Any:
    return scaled(loaded(rows), factor)


@pipeline
def nesting(rows: int = 10, factor: float = 0.5, lr: float = 0.1) -> Any:
    return fitted(inner(factor=factor, rows=rows), lr)


@pipeline
def looking(rows: int = 10, factor: float = 0.5, lr: float = 0.1) -> Any:
    data = loaded(rows)
    longest = 3 if len(data) > 20 else 2
    return fitted(scaled([1, longest], factor), lr)


@pipeline
def judged(rows: int = 10, factor: float = 0.5, lr: float = 0.1) -> Any:
    data = loaded(rows)
    return {"loss": fitted(scaled(data, factor), lr), "size": rows}


SPACE = {"rows": Int(5, 50), "factor": Float(0.1, 1.0), "lr": Float(0.0, 1.0)}
CHAIN = Stages({"loaded": ["rows"], "scaled": ["factor"], "fitted": ["lr"]})


@pytest.fixture
def workspace(tmp_path: Any) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


def study(workspace: Workspace, target: Any = chain, **options: Any) -> Study:
    options = {"executor": "inline", "progress": False, "seed": 0, "n_trials": 12, **options}
    return optimize(target, SPACE, workspace=workspace, **options)


def told(found: Study) -> tuple[StudyRecords, list[optuna.trial.FrozenTrial]]:
    trials = found.optuna_study.get_trials(deepcopy=False)
    return StudyRecords(found.workspace.store, found.id, found.space), trials


def test_stages_seconds_and_standings_of_recorded_runs(workspace: Workspace) -> None:
    records, trials = told(study(workspace))
    assert records.stages(trials) == CHAIN
    assert records.seconds(trials[0]).keys() == {"loaded", "scaled", "fitted"}
    assert all(seconds > 0 for trial in trials for seconds in records.seconds(trial).values())
    assert {records.standing(trial, name) for trial in trials for name in CHAIN.names} == {Standing.KEPT}


def test_what_is_evicted_is_gone_and_the_run_computes_it_again(workspace: Workspace) -> None:
    found = study(workspace)
    records, trials = told(found)
    records.stages(trials)
    run = found.runs[3]
    key = run.steps["scaled"].task.key
    assert key is not None
    assert workspace.store.cache.delete(key)
    records.stages(trials)
    assert [records.standing(trials[3], name) for name in CHAIN.names] == [Standing.KEPT, Standing.GONE, Standing.KEPT]
    again = run.clone().run()
    assert again.status is Status.COMPLETED
    assert again.steps["scaled"].reused_from is None
    assert again.steps["loaded"].reused_from is not None


def test_a_running_trial_has_what_it_has_computed_so_far(workspace: Workspace) -> None:
    found = study(workspace)
    records, trials = told(found)
    records.stages(trials)
    run = found.runs[-1].task
    number = trials[-1].number + 1
    begun = workspace.store.tasks.create(workspace.cloned(run, {"lr": 0.123}))
    flying = optuna.trial.create_trial(state=TrialState.RUNNING)
    flying.number = number
    assert records.standing(flying, "loaded") is Standing.UNDER_WAY  # it has no run yet
    clone = Run(workspace, begun).run()
    workspace.store.tasks.update(clone.id, study=found.id, trial=number)
    assert [records.standing(flying, name) for name in CHAIN.names] == [Standing.KEPT] * 3


def test_what_another_study_computed_has_its_price(workspace: Workspace) -> None:
    first, _ = told(study(workspace, name="first"))
    records, trials = told(study(workspace, name="second"))
    assert records.stages(trials) == CHAIN
    # With the same seed everything was there already; what it had taken then is known.
    assert all(run.steps["loaded"].reused_from for run in Study.called(workspace, "second").runs)
    assert records.seconds(trials[0]) == first.seconds(told(Study.called(workspace, "first"))[1][0])


def test_the_first_to_need_a_step_has_its_price_and_the_others_nothing(workspace: Workspace) -> None:
    found = study(workspace, sampler="prefix-reuse", n_trials=30)
    records, trials = told(found)
    records.stages(trials)
    for trial, run in zip(trials, found.runs, strict=True):
        computed = {name for name, step in run.steps.items() if step.reused_from is None}
        assert records.seconds(trial).keys() == computed


def test_what_the_body_looked_at_reaches_what_it_called_then(workspace: Workspace) -> None:
    records, trials = told(study(workspace, looking))
    stages = records.stages(trials)
    assert stages is not None
    assert stages.reaching("scaled") == {"rows", "factor"}
    assert stages.reaching("fitted") == {"rows", "factor", "lr"}


def test_runs_inside_are_seen_through(workspace: Workspace) -> None:
    records, trials = told(study(workspace, nesting))
    stages = records.stages(trials)
    assert stages is not None
    assert stages.reaching("inner/loaded") == {"rows"}
    assert stages.reaching("inner/scaled") == {"rows", "factor"}
    assert stages.reaching("fitted") == {"rows", "factor", "lr"}


@pytest.mark.integration
@pytest.mark.parametrize(
    "sampler",
    [
        "prefix-reuse(n_startup_trials=6)",
        "memo-gp(n_startup_trials=6)",
        PrefixReuseSampler(n_startup_trials=6, seed=0),
        MemoGPSampler({"loaded": ["rows"], "scaled": ["factor"], "fitted": ["lr"]}, n_startup_trials=6, seed=0),
    ],
    ids=["prefix-reuse", "memo-gp", "an object", "given stages"],
)
def test_a_study_keeps_what_good_trials_computed(workspace: Workspace, sampler: Any) -> None:
    found = study(workspace, sampler=sampler, n_trials=24)
    late = found.runs[8:]
    # Of a continuous factor nothing is ever kept by chance.
    assert any(run.steps["scaled"].reused_from for run in late)
    assert all(run.status is Status.COMPLETED for run in found.runs)


@pytest.mark.integration
def test_several_at_a_time_share_and_differ(workspace: Workspace) -> None:
    sampler = "memo-gp(n_startup_trials=6, hedge=0, wait=0)"
    found = study(workspace, sampler=sampler, n_trials=24, n_jobs=4, executor="local")
    assert len({tuple(run.params.values()) for run in found.runs}) == 24
    assert any(run.steps["scaled"].reused_from for run in found.runs)


def test_a_resumed_study_goes_on_with_what_is_recorded(workspace: Workspace) -> None:
    options: dict[str, Any] = {"name": "twice", "sampler": "prefix-reuse"}
    study(workspace, n_trials=12, **options)
    found = study(workspace, n_trials=24, **options)
    assert sum(run.steps["loaded"].reused_from is not None for run in found.runs[12:]) >= 6


def test_what_a_run_was_made_of(workspace: Workspace) -> None:
    study(workspace, nesting, n_trials=1)
    (run,) = workspace.store.tasks.list(TaskFilter(kind=Kind.PIPELINE, top=True))
    found = recorded(workspace.store, run)
    assert {step.name for step in found.steps} == {"inner/loaded", "inner/scaled", "fitted"}


@pytest.mark.parametrize("sampler", ["memo-gp(n_startup_trials=6)", "prefix-reuse(n_startup_trials=6)"])
def test_constraints_between_parameters_hold(workspace: Workspace, sampler: str) -> None:
    space = Space(SPACE, constraints=["rows >= 40 * lr", "factor <= 0.5 or lr > 0.3"])
    found = optimize(
        chain, space, n_trials=18, sampler=sampler, seed=0, executor="inline", progress=False, workspace=workspace
    )
    runs = [run.params for run in found.runs]
    assert len(runs) == 18
    assert not [params for params in runs[1:] if space.violated(params)]
    late = [trial for trial in found.optuna_study.get_trials(deepcopy=False) if trial.number >= 12]
    if sampler.startswith("memo"):
        # It does not propose what the constraints forbid, once it knows the space.
        assert not [trial for trial in late if trial.state is not TrialState.COMPLETE]


def test_what_a_space_allows(workspace: Workspace) -> None:
    space = Space(
        {"kind": Categorical([[1, 2], "b"]), "n": Int(1, 9), "most": Fixed(5)},
        constraints=["n <= most", "n >= 2 or kind == 'b'"],
    )
    records = StudyRecords(workspace.store, "none", space)
    lists, text = space["kind"].labels  # type: ignore[attr-defined]
    assert records.allows({"kind": text, "n": 1})
    assert not records.allows({"kind": text, "n": 6})
    assert not records.allows({"kind": lists, "n": 1})
    assert records.allows({"n": 1})  # one that is not known yet forbids nothing


def test_memo_gp_has_one_objective_and_prefix_reuse_any_number(workspace: Workspace) -> None:
    wanted: dict[str, Any] = {"objective": ["loss", "size"], "direction": ["minimize", "maximize"]}
    with pytest.raises(StudyError, match=r"is for one objective; for several, prefix-reuse goes around any other"):
        study(workspace, judged, sampler="memo-gp", **wanted)
    found = study(workspace, judged, sampler="prefix-reuse(base=nsgaii)", n_trials=24, **wanted)
    assert sum(run.steps["loaded"].reused_from is not None for run in found.runs[12:]) > 4
