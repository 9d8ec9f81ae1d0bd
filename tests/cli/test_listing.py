"""``hpo ls`` and ``hpo show``."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.conftest import Hpo

pytestmark = pytest.mark.usefixtures("recorded")


def test_ls_lists_runs_newest_first(hpo: Hpo) -> None:
    listed = hpo("ls", "-n", "50")
    assert listed.code == 0
    names = [line.split()[0] for line in listed.out.splitlines()[1:]]
    assert names[-6:] == ["loud#1", "outer#1", "refusing#1", "training#1", "simple#2", "simple#1"]
    assert "simple#3" not in names  # it is inside outer#1
    assert len(names) == 9
    assert "x=1, y=2" in listed.out.splitlines()[-1]


def test_ls_as_json_is_a_document_a_line(hpo: Hpo) -> None:
    runs = hpo("ls", "--json", "-n", "50").documents
    assert len(runs) == 9
    assert {run["status"] for run in runs} == {"completed", "failed"}
    assert runs[-1]["tags"] == ["first"]
    assert next(run for run in runs if run["run"] == "training#1")["metrics"]["fit.auc"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--status", "failed"], ["refusing#1"]),
        (["--tag", "first"], ["simple#1"]),
        (["--pipeline", "training"], ["training#1"]),
        (["--study", "xs"], ["simple#6", "simple#5", "simple#4"]),
        (["--project", "samples", "--pipeline", "simple", "--status", "completed", "-n", "1"], ["simple#6"]),
        (["--project", "nothing"], []),
        (["--tag", "firs"], []),
    ],
)
def test_ls_filters(hpo: Hpo, options: list[str], names: list[str]) -> None:
    assert [run["run"] for run in hpo("ls", *options, "--json").documents] == names


def test_ls_says_when_there_is_more_or_nothing(hpo: Hpo) -> None:
    assert "-n 10 shows them" in hpo("ls", "-n", "2").err
    assert hpo("ls", "-n", "9").err == ""
    assert hpo("ls", "--status", "running", "--tag", "x").err == "No runs with --status running --tag x.\n"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--status", "fail"], 4, "did you mean 'failed'?"),
        (["--status", "zzz"], 4, "known: draft, queued, running"),
        (["--study", "nope"], 18, "there are: xs"),
        (["-n", "0"], 2, "not in the range"),
        (["extra"], 2, "unexpected extra argument"),
    ],
)
def test_ls_refuses(hpo: Hpo, options: list[str], code: int, said: str) -> None:
    refused = hpo("ls", *options)
    assert refused.code == code
    assert said in refused.err


def test_show_a_run(hpo: Hpo) -> None:
    shown = hpo("show", "training#1")
    assert shown.code == 0
    assert shown.out.startswith("training#1  completed  ")
    for text in ("x = 1", "epochs = 2", "model = 5", "├─ ↻ number.2", "└─ ✓ fit.2", "auc=0.4", "4 steps"):
        assert text in shown.out


def test_show_a_failed_run(hpo: Hpo) -> None:
    shown = hpo("show", "refusing")
    assert shown.code == 0  # showing a failure is no failure
    for text in ("refusing#1  failed", "✗ refuse", "refused 3", "○ add", "upstream refuse failed", "raise Refused(x)"):
        assert text in shown.out


def test_show_a_run_inside_a_run(hpo: Hpo) -> None:
    shown = hpo("show", "outer#1").out.splitlines()
    assert [line.split()[-1] for line in shown if "number" in line]
    assert any(line.startswith("  ├─ ✓ simple ") and line.endswith("simple#3") for line in shown)
    assert any(line.startswith("  │  └─ ✓ add") for line in shown)
    inner = hpo("show", "outer#1/simple#3")
    assert inner.out.startswith("simple#3  completed")
    assert "inside       outer#1" in inner.out


@pytest.mark.parametrize(
    "reference", [["training#1/fit"], ["training#1", "fit"], ["training/fit"], ["samples/training#1/fit"]]
)
def test_show_a_step(hpo: Hpo, reference: list[str]) -> None:
    shown = hpo("show", *reference)
    assert shown.out.startswith("training#1/fit  completed")
    for text in ("data = from number.value", "epochs = 2", "auc = 0.2", "value = 3", "(json, 1 bytes)"):
        assert text in shown.out
    found = hpo("show", *reference, "--json").document
    assert (found["step"], found["metrics"]) == ("fit", {"auc": pytest.approx(0.2)})
    assert found["attempts"][0]["status"] == "completed"


def test_show_by_id(hpo: Hpo) -> None:
    run = hpo("show", "training#1", "--json").document
    assert hpo("show", run["id"], "--json").document == run
    assert hpo("show", f"{run['id']}/fit", "--json").document["run"] == run["id"]


def test_show_a_reused_step(hpo: Hpo) -> None:
    shown = hpo("show", "simple#2/number")
    assert "reused from  simple#1/number" in shown.out


def test_show_a_study(hpo: Hpo) -> None:
    shown = hpo("show", "xs")
    assert shown.out.startswith("xs  completed  3 of 3 trials")
    assert len([line for line in shown.out.splitlines() if "simple#" in line]) == 4  # three trials and the best
    found = hpo("show", "xs", "--json").document
    assert [trial["run"] for trial in found["trials"]] == ["simple#4", "simple#5", "simple#6"]
    assert found["best"]["value"] == max(trial["value"] for trial in found["trials"])


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (["training#9"], "The latest: samples/training#1"),
        (["trainin"], "Did you mean training?"),
        (["training#1/fitt"], "training#1 has no step 'fitt'; did you mean 'fit'?"),
        (["training#1", "zzz"], "training#1 has no step 'zzz'; known: number, fit, number.2, fit.2."),
        (["training#1/fit", "fit"], "fit is a step, and has no 'fit' inside"),
        (["nope#1/fit"], "no task 'nope#1'"),
        (["nope/fit"], "no task 'nope/fit'"),
        (["01ARZ3NDEKTSV4RRFFQ69G5FAV"], "no task"),
        ([""], "no task"),
        (["/"], "no task"),
    ],
)
def test_show_what_is_not_there(hpo: Hpo, reference: list[str], said: str) -> None:
    refused = hpo("show", *reference)
    assert refused.code == 7
    assert said in refused.err
    assert refused.out == ""


def test_a_study_is_no_run_and_a_step_is_none(hpo: Hpo, recorded: Path) -> None:
    assert "is a study" in hpo("rerun", "xs").err
    assert "is the step fit" in hpo("rerun", "training#1/fit").err
    assert "is the step fit" in hpo("abort", "training#1/fit").err
