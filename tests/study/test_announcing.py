"""``on_trial`` and ``on_best``: called with trials as they end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from samples import bodies

from hpo_pipelines import Status, Study, StudyError, Trial, Workspace, optimize
from hpo_pipelines.errors import ConfigError
from hpo_pipelines.study import resume
from hpo_pipelines.study.announcing import BEST


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


def studied(workspace: Workspace, values: list[int], **options: Any) -> Study:
    """Of ``x + 2`` for each of ``values``, in an order that is the grid's own."""
    options = {"sampler": "grid", "n_trials": len(values), "executor": "inline", **options}
    return optimize(bodies.simple, {"x": values}, workspace=workspace, progress=False, **options)


def bests(workspace: Workspace, study: Study) -> list[int]:
    return [event.data["trial"] for event in workspace.store.events.story(study.id) if event.kind == BEST]


def test_each_trial_is_told_of_and_each_new_best_one(workspace: Workspace) -> None:
    ended: list[Trial] = []
    best: list[Trial] = []
    study = studied(workspace, [3, 1, 4, 2], on_trial=ended.append, on_best=best.append)
    assert [trial.number for trial in ended] == [0, 1, 2, 3]
    assert [trial.value for trial in ended] == [trial.value for trial in study.trials]
    assert [trial.params for trial in ended] == [trial.params for trial in study.trials]
    assert all(trial.status is Status.COMPLETED and trial.run.value == trial.value for trial in ended)
    so_far = [max(trial.value or 0 for trial in ended[: index + 1]) for index in range(4)]
    improved = [index for index in range(4) if index == 0 or so_far[index] > so_far[index - 1]]
    assert [trial.number for trial in best] == improved == bests(workspace, study)
    assert best[-1].number == study.best_trial.number


def test_several_objectives_have_the_front(workspace: Workspace) -> None:
    best: list[Trial] = []
    study = optimize(
        bodies.training, {"x": [0, 1, 2]}, ["model", "epochs"], ["maximize", "minimize"], sampler="grid",
        executor="inline", workspace=workspace, progress=False, on_best=best.append,
    )  # fmt: skip
    assert {trial.number for trial in study.best_trials} <= {trial.number for trial in best}
    assert [len(trial.values or ()) for trial in best] == [2] * len(best)


def test_failed_trials_are_told_of_too(workspace: Workspace) -> None:
    ended: list[Trial] = []
    best: list[Trial] = []
    optimize(
        bodies.refusing, {"x": [1, 2]}, sampler="grid", executor="inline", workspace=workspace, progress=False,
        on_trial=ended.append, on_best=best.append,
    )  # fmt: skip
    assert sorted((trial.status, trial.value) for trial in ended) == [("completed", 3.0), ("failed", None)]
    assert [trial.value for trial in best] == [3.0]


def test_what_a_callback_raises_loses_no_trial(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    notes: list[str] = []
    best: list[int] = []

    def raising(trial: Trial) -> None:
        raise RuntimeError("no such channel")

    with caplog.at_level(logging.WARNING, "hpo_pipelines"):
        study = optimize(
            bodies.simple, {"x": [1, 2, 3]}, sampler="grid", executor="inline", workspace=workspace,
            progress=lambda progress: notes.append(progress.note), on_trial=raising,
            on_best=lambda trial: best.append(trial.number),
        )  # fmt: skip
    assert (study.status, len(study.trials)) == (Status.COMPLETED, 3)
    assert all(trial.value is not None for trial in study.trials)
    assert best == bests(workspace, study)
    assert "on_trial raised RuntimeError for trial 0: no such channel" in notes
    assert caplog.text.count("on_trial raised for trial") == 3


def test_they_are_called_one_at_a_time_in_order(workspace: Workspace) -> None:
    inside = threading.Lock()
    order: list[float] = []

    def watching(trial: Trial) -> None:
        assert inside.acquire(blocking=False)
        order.append(trial.run.task.finished_at or 0.0)
        inside.release()

    studied(workspace, list(range(12)), n_jobs=4, on_trial=watching, on_best=watching)
    assert len(set(order)) == 12


def test_only_what_ends_from_here_on_is_told_of(workspace: Workspace) -> None:
    ended: list[int] = []
    study = studied(workspace, [1, 2, 3, 4], name="on", n_trials=2)
    assert len(bests(workspace, study)) >= 1
    known = bests(workspace, study)
    studied(workspace, [1, 2, 3, 4], name="on", n_trials=4, on_trial=lambda trial: ended.append(trial.number))
    assert ended == [2, 3]
    assert bests(workspace, study)[: len(known)] == known


def test_a_best_trial_that_a_crash_kept_back_is_recorded_when_the_study_goes_on(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpo_pipelines.study.announcing import Announcing

    with monkeypatch.context() as patched:
        patched.setattr(Announcing, "_record", lambda *args: None)
        study = studied(workspace, [1, 2, 3], name="on", n_trials=3, sampler="random", seed=1)
    assert bests(workspace, study) == []
    resume(workspace, study.task, n_trials=4, progress=False)
    assert bests(workspace, study)[0] in range(3)
    assert bests(workspace, study)[-1] == study.best_trial.number


@pytest.mark.parametrize("name", ["on_trial", "on_best"])
def test_they_are_functions(workspace: Workspace, name: str) -> None:
    with pytest.raises(StudyError, match=f"{name}='print': it is a function that takes a Trial"):
        studied(workspace, [1], **{name: "print"})


def test_a_webhook_that_is_named_is_declared(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match=r"no webhook 'slack'; Known: none\..*notifications.slack"):
        studied(workspace, [1], notify=["slack"])
    assert workspace.runs() == []


def test_who_is_told_is_kept_with_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "HPO_NOTIFICATIONS", '{"quiet": {"url": "http://127.0.0.1:9/", "only_asked": true, "events": []}}'
    )
    with Workspace(home=tmp_path / "told") as place:
        study = studied(place, [1, 2, 3], name="on", n_trials=1, sampler="random", notify=["quiet"])
        assert study.task.params["asked"]["notify"] == ["quiet"]
        resume(place, study.task, n_trials=2, progress=False)
        assert study.task.params["asked"]["notify"] == ["quiet"]
