"""``hpo optimize``, ``best`` and ``studies``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.conftest import BODIES, Hpo

from hpo_pipelines import Study, Workspace


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
        (["--target", "3", "-P", "x=int(0,9)"], 2, "give --n-trials, --timeout or --plateau"),
        (["-n", "3", "-P", "x=int(0,9)", "--constraint", "x=3"], 18, "STEP.METRIC <= NUMBER"),
        (["-n", "3", "-P", "x=int(0,9)", "--repeats", "y=1"], 2, "2 or more"),
        (["-n", "3", "-P", "x=int(0,9)", "--repeats", "y"], 2, "PARAMETER=N"),
        (["-n", "3", "-P", "x=int(0,9)", "--repeats", "x=3"], 18, "x is in the space"),
        (["-n", "3", "-P", "x=int(0,9)", "--objective", "a", "--objective", "b", "--pruner", "median"], 18, "prune_on"),
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


STUDIED = str(Path(BODIES).parent / "studied.py")


def test_several_objectives_constraints_and_stop_rules(hpo: Hpo, home: Path) -> None:
    ended = hpo(
        "optimize", f"{STUDIED}:weighed", "-P", "x=uniform(0,1)", "-P", "y=uniform(0,5)", "--seed", "1",
        "--objective", "fitted.auc", "--objective", "fitted.size", "--direction", "maximize", "--direction", "minimize",
        "--constraint", "fitted.size <= 9", "-n", "6", "--plateau", "6", "--name", "both",
    )  # fmt: skip
    assert ended.code == 0
    assert ended.out.startswith("study both  completed  6 of 6 trials\n")
    assert "on the Pareto front (maximize fitted.auc, minimize fitted.size; fitted.size <= 9)" in ended.out
    best = hpo("best", "both", "--json").document
    shown = hpo("show", "both", "--json").document
    front = shown["front"]
    assert best == {"study": "both", "front": front}
    assert all(set(row["values"]) == {"fitted.auc", "fitted.size"} for row in front)
    assert all(row["values"]["fitted.size"] <= 9 for row in front)
    assert (shown["objective"], shown["direction"]) == (["fitted.auc", "fitted.size"], ["maximize", "minimize"])
    assert (shown["constraints"], shown["stopped_by"]) == (["fitted.size <= 9"], "n_trials")
    assert [set(row["violations"]) for row in shown["trials"]] == [{"fitted.size <= 9"}] * 6
    table = hpo("best", "both").out.splitlines()
    assert table[1].split()[:5] == ["trial", "run", "status", "fitted.auc", "fitted.size"]
    assert len(table) == 2 + len(front)
    assert "fitted.size <= 9" in hpo("studies").out
    assert hpo("show", "both").code == 0


def test_a_rule_says_that_it_fired_and_a_looser_one_goes_on(hpo: Hpo, home: Path) -> None:
    stopped = optimize(hpo, "-P", "x=choice(5,6,7)", "-n", "9", "--target", "8", "--seed", "3", "--name", "t")
    assert "reaches the target 8" in stopped.out
    again = hpo("resume", "t")
    assert again.code == 18
    assert "hpo resume t --target" in again.err
    more = hpo("resume", "t", "--target", "100", "--json").document
    assert (more["stopped_by"], more["trials"]) == ("n_trials", 9)
    assert hpo("resume", "simple#1", "--target", "3").code == 2


def test_repeats_show_how_far_the_value_is_known(hpo: Hpo, home: Path, folder: Path) -> None:
    arguments = ["-P", "x=choice(0.25,0.75)", "-P", f"folder={folder}", "--objective", "drawn.auc", "-n", "3"]
    ended = hpo("optimize", f"{STUDIED}:seeded", *arguments, "--seed", "0", "--repeats", "seed=3", "--name", "seeds")
    assert ended.code == 0
    assert "best drawn.auc = 0.85 ± 0.25 in seeded#" in ended.out
    assert "0.85 ± 0.25" in hpo("show", "seeds").out
    best = hpo("best", "seeds", "--json").document
    assert (round(best["std"], 6), round(best["ci95"], 6)) == (0.1, 0.248414)


def test_pruning_on_a_result_and_a_study_file_of_all_this(hpo: Hpo, home: Path, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "whole.yaml"
    path.write_text(
        f"""\
pipeline: {STUDIED}:staged
objectives: {{trained.score: maximize, trained.cost: minimize}}
constraints: [trained.cost <= 0.9]
params: {{x: {{low: 0.0, high: 1.0}}, folder: {folder}}}
n_trials: 12
plateau: 30
max_compute: 1h
prune_on: [checked.auc:maximize]
seed: 1
"""
    )
    found = hpo("optimize", str(path), "--json").document
    assert (found["study"], found["stopped_by"], found["trials"]) == ("whole", "n_trials", 12)
    assert found["completed"] < 12
    pruned = [run for run in hpo("ls", "--study", "whole", "--json").documents if run["status"] == "pruned"]
    assert pruned
    assert all(run["reason"].startswith("pruned at checked step 0: auc ") for run in pruned)
    one = hpo("optimize", str(path), "--objective", "trained.score", "--name", "one", "-n", "2", "--json").document
    assert (one["objective"], one["direction"]) == ("trained.score", "maximize")


def test_a_study_is_extended_and_gone_on_with(hpo: Hpo, home: Path) -> None:
    assert optimize(hpo, "-P", "x=int(1,5)", "-n", "2", "--name", "grows").code == 0
    refused = hpo("study", "stop", "grows")
    assert refused.code == 18
    assert "is not running" in refused.err
    extended = hpo("study", "extend", "grows", "3")
    assert (extended.code, extended.out) == (
        0,
        "grows is asked for 5 trials; nobody drives it: hpo resume grows does\n",
    )
    assert hpo("resume", "grows").code == 0
    with Workspace(home=home) as workspace:
        assert len(Study.called(workspace, "grows").runs) == 5
    assert hpo("study", "stop", "none").code == 18


def test_a_study_called_like_its_pipeline_goes_on_where_a_limit_is_given(home: Path, hpo: Hpo) -> None:
    assert hpo("optimize", f"{BODIES}:simple", "-P", "y=int(1,5)", "-n", "2", "--name", "simple").code == 0
    more = hpo("resume", "simple", "-n", "3", "--json")
    assert (more.code, more.document["trials"]) == (0, 3)
    refused = hpo("resume", "simple#1", "-n", "3")
    assert refused.code == 2
    assert "simple#1 is no study" in refused.err
