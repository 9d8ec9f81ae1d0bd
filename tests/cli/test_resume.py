"""``hpo resume`` of runs and studies, what is said of what is refused, and runs that reuse nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.conftest import BODIES, Hpo
from optuna.samplers import RandomSampler
from samples import bodies

from hpo_pipelines import Int, Workspace, optimize

AGAIN = str(Path(BODIES).with_name("again.py"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


# -- runs


def test_a_resumed_run_shows_what_happens_now(hpo: Hpo, home: Path, folder: Path) -> None:
    (folder / "break").touch()
    failed = hpo("run", f"{AGAIN}:twice", "-P", f"folder={folder}")
    assert failed.code == 10
    again = hpo("resume", "twice#1")
    # A run that takes its time is told of while it runs, too.
    told = [line.split()[:2] for line in again.err.splitlines() if line.startswith("twice#1") and "running" not in line]
    assert told == [["twice#1/ends", "failed"], ["twice#1", "failed"]]
    (folder / "break").unlink()
    done = hpo("resume", "twice#1")
    told = [line.split()[:2] for line in done.err.splitlines() if line.startswith("twice#1")]
    assert told == [["twice#1/ends", "completed"], ["twice#1/kept.2", "completed"], ["twice#1", "completed"]]


@pytest.mark.parametrize("run", ["simple#1", "simple#9"])
def test_what_is_refused_is_json_where_json_is_asked_for(hpo: Hpo, home: Path, run: str) -> None:
    hpo("run", f"{BODIES}:simple")
    plain = hpo("resume", run)
    refused = hpo("resume", run, "--json")
    assert (refused.code, refused.err) == (plain.code, plain.err)
    kind = {8: "IllegalTransition", 7: "TaskNotFound"}[refused.code]
    (told,) = refused.documents
    assert set(told) == {"error"}
    assert told["error"]["type"] == kind
    assert told["error"]["message"] in plain.err


def test_a_body_that_takes_another_path_is_not_to_be_resumed_as_it_is(hpo: Hpo, home: Path, folder: Path) -> None:
    resuming = str(Path(BODIES).with_name("resuming.py"))
    (folder / "break.c").touch()
    hpo("run", f"{resuming}:wandering", "-P", f"folder={folder}")
    (folder / "left").touch()
    ended = hpo("resume", "wandering#1")
    assert "hpo resume wandering#1 --from work.2" in ended.err
    hint = ended.err.splitlines()[-1]
    assert "go on" not in hint
    assert "hpo rerun wandering#1" in hint


# -- studies


def test_a_study_goes_on_as_it_was_asked_for(hpo: Hpo, home: Path) -> None:
    space = ["-P", "x=int(0,9)", "-P", "y=3"]
    hpo("optimize", f"{BODIES}:simple", *space, "-n", "2", "--name", "xs", "--seed", "3", "--sampler", "random")
    over = hpo("resume", "xs")
    assert over.code == 18
    assert "has its 2 trials; there is nothing to resume. For more: hpo resume xs -n 3" in over.err
    assert (
        "has its 2 trials; there is nothing to resume. For more: hpo resume xs -n 3"
        in hpo("resume", "xs", "-n", "1").err
    )
    assert hpo("resume", "xs", "-n", "4", "--json").document["trials"] == 4
    with Workspace(home=home) as workspace:
        (study,) = (task for task in workspace.store.tasks.list() if task.kind == "study")
        asked = study.params["asked"]
        assert (asked["n_trials"], asked["sampler"], asked["seed"]) == (4, "random", 3)
        # As if the driver had gone: one trial more was asked for.
        workspace.store.tasks.update(study.id, params={**study.params, "asked": {**asked, "n_trials": 5}})
    resumed = hpo("resume", study.id)
    assert resumed.code == 0
    assert resumed.out.startswith("study xs  completed  5 of 5 trials")
    runs = hpo("ls", "--study", "xs", "--json").documents
    assert {run["params"]["y"] for run in runs} == {3}
    # The command that began it goes on with it too: nothing that it checks has changed.
    assert hpo("optimize", f"{BODIES}:simple", *space, "-n", "6", "--name", "xs", "--json").document["trials"] == 6


def test_a_study_of_a_run_goes_on_with_clones_of_it(hpo: Hpo, home: Path) -> None:
    hpo("run", f"{BODIES}:simple", "-P", "x=50")
    hpo("optimize", "simple#1", "-P", "y=int(1,5)", "-n", "1", "--name", "ys")
    assert hpo("resume", "ys", "-n", "3").code == 0
    runs = hpo("ls", "--study", "ys", "--json").documents
    assert [run["params"]["x"] for run in runs] == [50, 50, 50]
    assert len({run["cloned_from"] for run in runs}) == 1


def test_what_cannot_be_gone_on_with_says_how_it_can(hpo: Hpo, home: Path) -> None:
    with Workspace(home=home) as workspace:
        options = {"n_trials": 1, "workspace": workspace, "executor": "inline"}
        optimize(bodies.simple, {"x": Int(0, 9)}, sampler=RandomSampler(seed=1), name="object", **options)
        optimize(bodies.simple, {"x": Int(0, 9)}, name="old", **options)
        (old,) = (task for task in workspace.store.tasks.list() if task.name == "old")
        workspace.store.tasks.update(old.id, params={**old.params, "asked": {}})
    refused = hpo("resume", "object", "-n", "2")
    assert refused.code == 18
    assert "begun with sampler=RandomSampler, an object" in refused.err
    assert "optimize(…, sampler=…, name='object')" in refused.err
    unsaid = hpo("resume", "old")
    assert "say it: hpo resume old -n TRIALS" in unsaid.err
    assert hpo("resume", "old", "-n", "2").code == 0
    assert hpo("resume", "old", "--from", "add").code == 2
    hpo("run", f"{BODIES}:simple")
    assert hpo("resume", "simple#99", "-n", "2").code == 2
    trial = hpo("resume", hpo("ls", "--study", "old", "--json").documents[0]["run"])
    assert "which goes on as a whole: `hpo resume old`" in trial.err


def test_changes_are_allowed_by_what_the_shell_has(hpo: Hpo, home: Path) -> None:
    hpo("optimize", f"{BODIES}:simple", "-P", "x=int(0,9)", "-n", "1", "--name", "xs")
    changed = hpo("optimize", f"{BODIES}:simple", "-P", "x=int(0,8)", "-n", "2", "--name", "xs")
    assert "--allow-changes" in changed.err
    assert (
        hpo("optimize", f"{BODIES}:simple", "-P", "x=int(0,8)", "-n", "2", "--name", "xs", "--allow-changes").code == 0
    )


# -- without reuse


def test_reruns_clones_and_trials_that_reuse_nothing(hpo: Hpo, home: Path) -> None:
    hpo("run", f"{BODIES}:simple")
    for command in (["rerun", "simple#1", "--no-reuse"], ["clone", "simple#1", "--no-reuse"], ["run", "simple#4"]):
        if command == ["run", "simple#4"]:
            hpo("clone", "simple#1", "--draft")
            command = [*command, "--no-reuse"]
        steps = hpo(*command, "--json").document["steps"]
        assert {step["reason"] for step in steps} == {"reuse is off for this run"}, command
    refreshed = hpo("clone", "simple#1", "--refresh", "add", "--json").document["steps"]
    assert [step["reused_from"] is None for step in refreshed] == [False, True]
    assert hpo("clone", "simple#1", "--draft", "--no-reuse").code == 2
    assert hpo("rerun", "simple#1", "--no-reuse", "--failed").code == 2
    study = ["-P", "x=choice(1)", "-n", "3", "--name", "fresh", "--no-reuse"]
    assert hpo("optimize", f"{BODIES}:simple", *study).code == 0
    assert hpo("show", "fresh", "--json").document["accounting"]["reused"] == 0
    assert hpo("resume", "fresh", "-n", "4").code == 0
    assert hpo("show", "fresh", "--json").document["accounting"]["reused"] == 0
