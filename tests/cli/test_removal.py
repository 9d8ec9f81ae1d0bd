"""``hpo rm``: delete runs and studies."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest
from cli.conftest import BODIES, HPO, Hpo, Shell


@pytest.fixture
def runs(home: Path, hpo: Hpo) -> None:
    """simple#1, simple#2 which reused a step of it, and outer#1 around simple#3."""
    for arguments in (["simple"], ["simple", "-P", "y=3"], ["outer", "-P", "x=4"]):
        assert hpo("run", f"{BODIES}:{arguments[0]}", *arguments[1:]).code == 0


def labels(hpo: Hpo) -> list[str]:
    return [run["run"] for run in hpo("ls", "--json").documents]


@pytest.mark.usefixtures("runs")
def test_rm_deletes_runs_with_their_consoles(hpo: Hpo, home: Path) -> None:
    deleted = hpo("rm", "simple#1", "outer#1", "--yes")
    assert deleted.code == 0
    assert deleted.out.startswith("deleted simple#1, outer#1, simple#3, ")
    assert labels(hpo) == ["simple#2"]
    assert len(list((home / "consoles").iterdir())) == 1
    assert hpo("show", "simple#1").code == 7
    shown = hpo("show", "simple#2/number")
    assert shown.code == 0
    assert "deleted since" in shown.out
    number = hpo("why", "simple#2").out.splitlines()[0]
    assert number.split(maxsplit=2)[1:] == ["reused", "from simple#1/number, which was deleted since"]
    assert "  from a step that was deleted since (01" in hpo("why", "simple#2/number").out
    hpo("run", f"{BODIES}:simple")
    assert labels(hpo)[0] == "simple#4", "numbers are not given again"
    assert hpo("show", "simple#4/number", "--json").document["reason"] == "reused from simple#2/number"


@pytest.mark.usefixtures("runs")
def test_rm_as_json(hpo: Hpo) -> None:
    found = hpo("rm", "simple#1", "simple#1", "--yes", "--json").document
    assert (found["studies"], found["runs"], found["steps"], len(found["outcomes"])) == ([], ["simple#1"], 2, 1)


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_rm_asks_or_wants_to_be_told(hpo: Hpo, options: list[str]) -> None:
    refused = hpo("rm", "simple#1", *options)
    assert refused.code == 2
    assert "this deletes simple#1, 2 steps: say --yes" in refused.err
    assert "simple#1" in labels(hpo)


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("references", "code", "said"),
    [
        (["simple#1/number"], 7, "no task 'simple#1/number'"),
        (["simple#9"], 7, "There is no run 'simple#9'"),
        (["simple#3"], 6, "simple#3 is part of another run"),
        (["simple#1", "simple#3"], 6, "simple#3 is part of another run"),
    ],
)
def test_rm_refuses(hpo: Hpo, references: list[str], code: int, said: str) -> None:
    refused = hpo("rm", *references, "--yes")
    assert (refused.code, refused.out) == (code, "")
    assert said in refused.err
    assert labels(hpo) == ["outer#1", "simple#2", "simple#1"]


def test_rm_refuses_what_is_under_way(hpo: Hpo, home: Path) -> None:
    from hpo_pipelines import Workspace
    from hpo_pipelines.types import Status

    hpo("clone", hpo("run", f"{BODIES}:simple", "--json").document["run"], "--draft")
    with Workspace() as place:
        place.store.tasks.transition(place.store.tasks.find("simple#2").id, Status.RUNNING)
    refused = hpo("rm", "simple#2", "--yes")
    assert refused.code == 8
    assert "run simple#2 is running, so it cannot be deleted; wait for it, or abort it." in refused.err
    assert "draft -> running" in refused.err
    hpo("abort", "simple#2")
    assert hpo("rm", "simple#2", "--yes").code == 0


def test_a_study_goes_with_its_trials_and_what_optuna_keeps(hpo: Hpo, home: Path, tmp_path: Path) -> None:
    hpo("run", f"{BODIES}:simple", "-P", "x=9")
    begun = ["optimize", "simple#1", "-P", "y=int(1,5)", "-n", "2"]
    hpo(*begun, "--name", "own")
    storage = ["--storage", f"sqlite:///{tmp_path}/optuna.db"]
    hpo(*begun, "--name", "elsewhere", *storage)
    for reference, said in (("simple#2", "is trial 0 of study own"), ("simple#1", "what the trials of study")):
        refused = hpo("rm", reference, "--yes")
        assert refused.code == 18
        assert said in refused.err
    assert list((home / "optuna").iterdir()) != []
    deleted = hpo("rm", "own", "elsewhere", "simple#1", "--yes")
    assert (deleted.code, deleted.err) == (0, "")
    assert deleted.out.startswith("deleted study own, study elsewhere, simple#1, simple#2, simple#3, 2 more runs")
    assert hpo("studies", "--json").documents == []
    assert labels(hpo) == []
    assert list((home / "optuna").iterdir()) == []
    # A new study of that name begins anew there.
    hpo("run", f"{BODIES}:simple", "-P", "x=9")
    again = hpo("optimize", "simple#6", "-P", "y=int(1,5)", "-n", "1", "--name", "elsewhere", *storage, "--json")
    assert (again.code, again.document["trials"]) == (0, 1)


def test_an_optuna_storage_that_is_gone_keeps_nothing(hpo: Hpo, home: Path, tmp_path: Path) -> None:
    storage = tmp_path / "optuna.db"
    hpo("run", f"{BODIES}:simple")
    hpo("optimize", "simple#1", "-P", "y=int(1,5)", "-n", "1", "--name", "s", "--storage", f"sqlite:///{storage}")
    storage.unlink()
    deleted = hpo("rm", "s", "--yes")
    assert deleted.code == 0
    assert "study s stays in its Optuna storage, which says: " in deleted.err
    assert hpo("studies", "--json").documents == []


@pytest.mark.integration
@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 130), ("\n", 130)])
def test_rm_asks_on_a_terminal(shell: Shell, answer: str, code: int) -> None:
    assert shell("run", f"{BODIES}:simple", "--executor", "inline").code == 0
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*HPO, "rm", "simple#1"],
        env=shell.environment,
        cwd=shell.folder,
        stdin=theirs,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    os.write(ours, answer.encode())
    _, asked = process.communicate(timeout=60)
    os.close(ours)
    assert "delete simple#1, 2 steps? [y/N]" in asked
    assert process.returncode == code
    assert (shell("ls", "--json").out == "") is (code == 0)


@pytest.mark.usefixtures("runs")
def test_archived_runs_are_listed_for_who_asks(hpo: Hpo) -> None:
    assert hpo("archive", "outer#1", "simple#1").out == "archived simple#1, outer#1, simple#3\n"
    assert labels(hpo) == ["simple#2"]
    assert [run["run"] for run in hpo("ls", "--archived", "--json").documents] == ["outer#1", "simple#1"]
    assert "archived" in hpo("show", "outer#1").out
    assert hpo("archive", "outer#1").out == "archived nothing: it was already\n"
    assert hpo("archive", "simple#2", "--json").document == {"studies": [], "runs": ["simple#2"]}
    assert "hpo ls --archived" in hpo("ls").err
    assert hpo("restore", "outer#1").out == "restored outer#1, simple#3\n"
    assert labels(hpo) == ["outer#1"]
    refused = hpo("archive", "simple#3")
    assert refused.code == 6
    assert "is part of another run" in refused.err
