"""``hpo optimize``, ``best`` and ``studies``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.conftest import BODIES, Hpo


def optimize(hpo: Hpo, *arguments: str, target: str = f"{BODIES}:simple"):  # type: ignore[no-untyped-def]
    return hpo("optimize", target, *arguments)


def test_a_study_from_the_command_line_and_on_from_there(hpo: Hpo, home: Path) -> None:
    begun = optimize(hpo, "-P", "x=int(0,9)", "-P", "y=3", "-n", "3", "--seed", "1", "--name", "xs")
    assert begun.code == 0
    assert begun.out.startswith("study xs  completed  3 of 3 trials\nbest value = ")
    assert "3/3 trials" in begun.err
    best = hpo("best", "xs", "--json").document
    run = hpo("show", best["run"], "--json").document
    assert best["value"] == run["params"]["x"] + 3
    assert set(best["params"]) == {"x", "y"}
    assert (
        hpo("best", "xs").out.splitlines()[0]
        == f"best value = {best['value']:g} in {best['run']} (trial {best['trial']})"
    )
    more = optimize(hpo, "-P", "x=int(0,9)", "-P", "y=3", "-n", "5", "--name", "xs", "--json").document
    assert (more["study"], more["trials"], more["status"]) == ("xs", 5, "completed")
    assert [study["study"] for study in hpo("studies", "--json").documents] == ["xs"]
    assert hpo("studies").out.splitlines()[1].split()[:3] == ["xs", "simple", "completed"]
    changed = optimize(hpo, "-P", "x=int(0,8)", "-P", "y=3", "-n", "6", "--name", "xs")
    assert changed.code == 18
    assert "another space" in changed.err


def test_a_space_from_a_file_with_an_override(hpo: Hpo, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("x: {low: 1, high: 3}\ny: [1, 2]\n")
    study = optimize(hpo, "--space", str(file), "-P", "x=7", "-n", "2", "--json").document
    assert study["best"]["params"]["x"] == 7


def test_clones_of_a_run(hpo: Hpo, home: Path) -> None:
    hpo("run", f"{BODIES}:simple", "-P", "x=50")
    study = optimize(hpo, "-P", "y=int(1,5)", "-n", "2", "--json", target="simple#1").document
    runs = hpo("ls", "--study", study["study"], "--json").documents
    assert [run["params"]["x"] for run in runs] == [50, 50]


def test_a_study_without_a_value_has_the_code_of_a_failed_run_and_says_why(hpo: Hpo, home: Path) -> None:
    unknown = optimize(hpo, "-P", "x=int(0,9)", "-n", "1", "--objective", "fit.auk", "--name", "a")
    assert unknown.code == 10
    assert "no metric or returned value called 'fit.auk'" in unknown.err
    failing = hpo(
        "optimize", f"{BODIES}:refusing", "-P", "x=choice(1,3)", "-n", "4", "--max-failures", "2", "--name", "b"
    )
    assert failing.code == 10
    assert "Refused: refused" in failing.err
    assert "study b  failed" in failing.out
    assert hpo("best", "b").code == 18
    assert hpo("show", "b").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-P", "x=int(0,9)"], 2, "a study needs an end"),
        (["-n", "3"], 2, "a study needs a space"),
        (["-n", "3", "-P", "x"], 4, "NAME=VALUE"),
        (["-n", "3", "-P", "x=1", "-P", "x=2"], 4, "given twice"),
        (["-n", "3", "-P", "x=intt(0,9)"], 5, "Did you mean 'int'"),
        (["-n", "3", "-P", "x=int(9,0)"], 5, "x"),
        (["-n", "3", "-P", "xx=int(0,9)"], 5, "Did you mean 'x'"),
        (["-n", "3", "--space", "nowhere.yaml"], 5, "nowhere.yaml"),
        (["-n", "3", "--space", "."], 5, "."),
        (["-n", "3", "-P", "x=int(0,9)", "--sampler", "tpee"], 18, "tpe, random"),
        (["-n", "3", "-P", "x=int(0,9)", "--pruner", "x"], 18, "median"),
        (["-n", "3", "-P", "x=int(0,9)", "--timeout", "soon"], 4, "a duration is"),
        (["-n", "0", "-P", "x=int(0,9)"], 2, "range"),
        (["-n", "3", "-P", "x=int(0,9)", "--direction", "up"], 2, "maximize"),
    ],
)
def test_what_is_refused_leaves_no_study(hpo: Hpo, home: Path, arguments: list[str], code: int, said: str) -> None:
    refused = optimize(hpo, *arguments)
    assert refused.code == code
    assert said in refused.err
    assert refused.out == ""
    assert hpo("studies", "--json").documents == []


def test_a_timeout_in_plain_seconds(hpo: Hpo, home: Path) -> None:
    study = optimize(hpo, "-P", "x=int(0,9)", "-n", "2", "--timeout", "30.5", "--json").document
    assert study["trials"] == 2


def test_no_studies_yet(hpo: Hpo, home: Path) -> None:
    listed = hpo("studies")
    assert (listed.code, listed.out) == (0, "")
    assert "hpo optimize" in listed.err
    refused = hpo("best", "lr")
    assert refused.code == 18
    assert "No studies yet" in refused.err


def test_targets_that_are_not_there(hpo: Hpo, home: Path) -> None:
    assert optimize(hpo, "-P", "x=1", "-n", "1", target="simple#1").code == 7
    assert optimize(hpo, "-P", "x=1", "-n", "1", target="nowhere.py:p").code == 19


def test_a_study_file_says_it_all_and_the_command_line_goes_before_it(hpo: Hpo, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(f"pipeline: {BODIES}:simple\nparams: {{x: {{choices: [1, 2]}}, y: 3}}\nn_trials: 2\nseed: 1\n")
    ended = hpo("optimize", str(path), "--json")
    assert (ended.code, ended.document["study"]) == (0, "grid")
    assert hpo("optimize", str(path), "-n", "3", "--json").document["trials"] == 3
    other = hpo("optimize", str(path), "-n", "1", "--name", "other", "-P", "x=7", "--json").document
    assert (other["study"], other["best"]["params"]["x"]) == ("other", 7)
    assert hpo("optimize", str(path), "--space", "x.yaml").code == 2
    path.write_text(f"pipeline: {BODIES}:simple\nparams: {{x: 1}}\nn_trails: 2\n")
    wrong = hpo("optimize", str(path))
    assert wrong.code != 0
    assert "grid.yaml:3: n_trails" in wrong.err


def test_the_schema_of_study_files_is_printed(hpo: Hpo) -> None:
    assert json.loads(hpo("optimize", "--schema").out)["properties"]["n_trials"]["minimum"] == 1
    assert hpo("optimize").code == 2
