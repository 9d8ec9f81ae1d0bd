"""What a study begins with, runs next, goes on with and narrows down to, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.conftest import BODIES, Hpo

from search_spaces import Float, loads

STUDIED = str(Path(BODIES).parent / "studied.py")


@pytest.fixture
def climbed(hpo: Hpo, home: Path, folder: Path) -> str:
    ended = hpo(
        "optimize", f"{STUDIED}:rising", "-P", "x=uniform(0,1)", "-P", f"folder={folder}", "--seed", "1", "-n", "6",
        "--objective", "grown.auc", "--fidelity", "rows=10..90,eta=3", "--name", "climbed",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    return "climbed"


def test_trials_climb_and_a_pruned_one_is_continued(hpo: Hpo, climbed: str) -> None:
    rows = hpo("study", "trials", climbed, "--json").documents
    pruned = next(row for row in rows if row["status"] == "pruned")
    assert "not in the top 1/3 of rung" in pruned["reason"]
    shown = hpo("study", "trials", climbed).out
    assert "rows=90" in shown
    assert "reached" in shown.splitlines()[0]
    said = hpo("study", "continue", climbed, str(pruned["trial"]))
    assert said.code == 0
    assert f"is to continue trial {pruned['trial']}; nobody drives it: hpo resume climbed does" in said.out
    assert "to be continued already" in hpo("study", "continue", climbed, str(pruned["trial"])).err
    assert hpo("resume", climbed).code == 0
    last = hpo("study", "trials", climbed, "--json").documents[-1]
    assert (last["continues"], last["status"]) == (pruned["trial"], "completed")
    assert f"continues trial {pruned['trial']}" in hpo("study", "trials", climbed).out


def test_points_are_enqueued_as_the_space_takes_them(hpo: Hpo, home: Path) -> None:
    begun = hpo(
        "optimize", f"{STUDIED}:weighed", "-P", "x=uniform(0,1)", "-P", "y=choice(1,2.5)", "-n", "1", "--objective",
        "fitted.auc", "--name", "points",
    )  # fmt: skip
    assert begun.code == 0
    said = hpo("study", "enqueue", "points", "-P", "x=0.25", "-P", "y=2.5", "--json")
    assert said.document == {"study": "points", "enqueued": {"x": 0.25, "y": 2.5}, "driven": False}
    assert "y is missing" in hpo("study", "enqueue", "points", "-P", "x=0.25").err
    assert "one value of x" in hpo("study", "enqueue", "points", "-P", "x=uniform(0,1)", "-P", "y=1").err
    assert "given as NAME=VALUE" in hpo("study", "enqueue", "points", "-P", "x").err
    hpo("resume", "points")
    assert hpo("study", "trials", "points", "--json").documents[-1]["params"] == {"x": 0.25, "y": 2.5}


def test_a_next_study_begins_with_this_one_in_a_narrower_space(hpo: Hpo, climbed: str, tmp_path: Path) -> None:
    narrow = hpo("study", "narrow", climbed, "--keep", "1")
    space = loads(narrow.out, "yaml")
    assert isinstance(space["x"], Float)
    assert "keep 0." in hpo("study", "narrow", climbed, "--keep", "0.01").err
    file = tmp_path / "space.yaml"
    assert hpo("study", "narrow", climbed, "--keep", "1", "-o", str(file)).code == 0
    assert file.read_text() == narrow.out
    assert hpo("study", "narrow", climbed, "-o", str(tmp_path / "space.txt")).code != 0
    ended = hpo(
        "optimize", f"{STUDIED}:rising", "--space", str(file), "--objective", "grown.auc", "-n", "1",
        "--fidelity", "rows=10..90", "--from-study", climbed, "--name", "next",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "brought in" in ended.err
    rows = hpo("study", "trials", "next", "--json").documents
    best = max(rows, key=lambda row: row["value"] or 0)
    assert f"that is {best['origin']})" in hpo("best", "next").out
    assert hpo("best", "next", "--json").document["origin"] == best["origin"]
    assert "brought in" in hpo("study", "show", "next").out
    runs = hpo(
        "optimize", f"{STUDIED}:rising", "--space", str(file), "--objective", "grown.auc", "-n", "1", "--from-runs",
        "all", "--name", "runs",
    )  # fmt: skip
    assert runs.code == 0, runs.err


@pytest.mark.parametrize(
    "text", ["rows", "rows=10", "rows=10..", "rows=a..b", "=1..2", "rows=1..9,etta=2", "rows=1..9,eta="]
)
def test_what_is_no_fidelity_is_said(hpo: Hpo, home: Path, text: str) -> None:
    ended = hpo("optimize", f"{STUDIED}:rising", "-P", "x=uniform(0,1)", "-n", "1", "--fidelity", text)
    assert ended.code == 2
    assert "such as sample_rows=1000..100000,eta=3" in ended.err


def test_rungs_are_not_planned(hpo: Hpo, home: Path) -> None:
    ended = hpo("optimize", f"{STUDIED}:rising", "-P", "x=uniform(0,1)", "-n", "1", "--fidelity", "rows=1..9", "--plan")
    assert ended.code == 18
    assert "does not count the rungs" in ended.err
