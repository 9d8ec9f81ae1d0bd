"""``hpo run``, ``clone``, ``rerun`` and ``abort``, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.conftest import BODIES, Hpo

from hpo_pipelines import Workspace

pytestmark = pytest.mark.usefixtures("home")


def test_what_a_run_returns_is_all_that_goes_to_standard_output(hpo: Hpo) -> None:
    ended = hpo("run", f"{BODIES}:simple", "-P", "x=40", "--param", "y=2")
    assert (ended.code, ended.out) == (0, "42\n")
    assert "simple#1  completed" in ended.err.splitlines()[-1]
    assert "2 steps" in ended.err
    assert "simple#1/add  completed" in ended.err


def test_a_returned_dict_is_a_line_for_each_key(hpo: Hpo) -> None:
    ended = hpo("run", f"{BODIES}:training")
    assert ended.out.splitlines()[-2:] == ["model = 5", "epochs = 4"]
    assert "fit.2  completed" in ended.err
    assert "auc=0.4" in ended.err


def test_json_is_all_there_is_on_standard_output(hpo: Hpo) -> None:
    ended = hpo("run", f"{BODIES}:training", "--json", "--tag", "a", "--tag", "b")
    assert ended.code == 0
    run = ended.document
    assert (run["run"], run["status"], run["tags"]) == ("training#1", "completed", ["a", "b"])
    assert run["params"] == {"x": 1, "epochs": 2}
    assert [step["step"] for step in run["steps"]] == ["number", "fit", "number.2", "fit.2"]
    assert ended.err == "the body says 5\n"


FAILING = [
    (["refusing", "-P", "x=3"], 10, "Refused", "raise Refused(x)"),
    (["unseen", "-P", "x=3"], 10, "Refused", "nobody looked"),
    (["overdue", "-P", "pids=unused"], 19, "ConfigError", "timeout=0.3"),
]


@pytest.mark.parametrize(("arguments", "code", "kind", "said"), FAILING)
def test_a_failed_run_has_the_code_of_its_error_and_says_why(
    hpo: Hpo, arguments: list[str], code: int, kind: str, said: str
) -> None:
    ended = hpo("run", f"{BODIES}:{arguments[0]}", *arguments[1:])
    assert ended.code == code
    assert ended.out == ""
    assert said in ended.err
    assert f"hpo rerun {arguments[0]}#1 --failed" in ended.err
    again = hpo("run", f"{BODIES}:{arguments[0]}", *arguments[1:], "--json")
    assert again.code == code
    assert again.document["status"] == "failed"
    assert again.document["error"]["type"] == kind


def test_a_body_that_exits_is_an_aborted_run(hpo: Hpo, tmp_path: Path) -> None:
    file = tmp_path / "leaving_body.py"
    file.write_text("import sys\nfrom hpo_pipelines import pipeline\n@pipeline\ndef p():\n    sys.exit(0)\n")
    ended = hpo("run", str(file))
    assert ended.code == 13
    assert "left with sys.exit(0)" in ended.err
    assert hpo("show", "p#1", "--json").document["status"] == "aborted"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-P", "x"], "NAME=VALUE"),
        (["-P", "x=1", "-P", "x=2"], "given twice"),
        (["-P", "x=many"], "takes int"),
        (["-P", "z=1"], "no parameter 'z'"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_recorded(hpo: Hpo, arguments: list[str], said: str) -> None:
    refused = hpo("run", f"{BODIES}:simple", *arguments)
    assert refused.code == 4
    assert said in refused.err
    assert hpo("ls", "--json").documents == []


def test_clone_changes_some_parameters(hpo: Hpo) -> None:
    hpo("run", f"{BODIES}:simple", "-P", "x=5")
    ended = hpo("clone", "simple#1", "-P", "y=10", "--json")
    clone = ended.document
    assert (clone["run"], clone["params"]) == ("simple#2", {"x": 5, "y": 10})
    assert clone["cloned_from"] == hpo("show", "simple#1", "--json").document["id"]
    assert [step["reused_from"] is not None for step in clone["steps"]] == [True, False]
    refused = hpo("clone", "simple#1", "-P", "zz=1")
    assert refused.code == 4
    assert len(hpo("ls", "--json").documents) == 2


def test_clone_as_a_draft_runs_nothing(hpo: Hpo) -> None:
    hpo("run", f"{BODIES}:simple")
    assert hpo("clone", "simple#1", "--draft").out == "simple#2 is a draft of simple#1\n"
    assert hpo("clone", "simple#1", "--draft", "--json").document["status"] == "draft"
    assert hpo("show", "simple#2", "--json").document["steps"] == []


def test_rerun_keeps_what_is_unchanged(hpo: Hpo) -> None:
    hpo("run", f"{BODIES}:simple")
    first = hpo("show", "simple#1", "--json").document
    again = hpo("rerun", "simple#1", "--json").document
    assert again["rerun_of"] == first["id"]
    assert all(step["reused_from"] for step in again["steps"])
    from_step = hpo("rerun", "simple", "--from", "number", "--json").document
    assert not any(step["reused_from"] for step in from_step["steps"])
    kept = hpo("rerun", "simple#1", "--failed", "--json").document
    assert all(step["reused_from"] for step in kept["steps"])


def test_rerun_refuses_unknown_steps_and_contradictions(hpo: Hpo) -> None:
    hpo("run", f"{BODIES}:simple")
    for wrong in (["--from", "numbr"], ["--refresh", "numbr"]):
        refused = hpo("rerun", "simple#1", *wrong)
        assert refused.code == 7
        assert "'numbr'" in refused.err
    for both in (["--failed", "--refresh"], ["--failed", "--from", "add"], ["--from", "add", "--refresh", "add"]):
        assert hpo("rerun", "simple#1", *both).code == 2
    assert len(hpo("ls", "--json").documents) == 1


def test_abort_ends_drafts_and_names_what_it_cannot_end(hpo: Hpo) -> None:
    hpo("run", f"{BODIES}:simple")
    hpo("clone", "simple#1", "--draft")
    hpo("clone", "simple#1", "--draft")
    ended = hpo("abort", "simple#2", "simple#1", "simple#3")
    assert ended.code == 8
    assert ended.out == "simple#2 is aborted\nsimple#3 is aborted\n"
    assert "simple#1 is completed and cannot become aborted" in ended.err
    assert "draft -> running" in ended.err  # the story of the run
    assert hpo("show", "simple#3", "--json").document["status"] == "aborted"
    assert hpo("abort", "simple#2", "--json").code == 8


def test_nothing_there_yet(hpo: Hpo, home: Path) -> None:
    for command in (["show", "churn#1"], ["logs", "churn"], ["rerun", "churn#1"], ["abort", "churn#1"]):
        refused = hpo(*command)
        assert refused.code == 7
        assert f"No runs yet in {home}" in refused.err
        assert refused.out == ""
    listed = hpo("ls")
    assert (listed.code, listed.out) == (0, "")
    assert "hpo run FILE.py:PIPELINE starts one" in listed.err
    assert hpo("ls", "--json").out == ""


@pytest.mark.parametrize("where", ["/dev/null/home", __file__])
def test_a_home_that_cannot_be(hpo: Hpo, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setenv("HPO_HOME", where)
    refused = hpo("ls")
    assert refused.code == 19
    assert "set HPO_HOME" in refused.err


def test_settings_that_cannot_be(hpo: Hpo, home: Path) -> None:
    (home / "config.toml").write_text('exekutor = "local"\n')
    refused = hpo("ls")
    assert refused.code == 19
    assert "did you mean 'executor'" in refused.err


def test_a_run_shows_itself_from_python_too(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from samples import bodies

    from hpo_pipelines.cli.live import shown

    with Workspace(home=home) as place:
        draft = bodies.simple.draft(workspace=place, executor="inline")
        with shown(draft):
            draft.run()
    assert "simple#1  completed" in capsys.readouterr().err


def test_a_draft_is_started_by_its_name(hpo: Hpo) -> None:
    hpo("run", f"{BODIES}:simple", "-P", "x=1")
    assert "is a draft of simple#1" in hpo("clone", "simple#1", "-P", "x=5", "--draft").out
    refused = hpo("resume", "simple#2")
    assert refused.code == 8
    assert "`hpo run simple#2` starts it" in refused.err
    assert hpo("run", "simple#2", "-P", "x=6").code == 2
    started = hpo("run", "simple#2", "--json")
    assert (started.code, started.document["run"], started.document["params"]["x"]) == (0, "simple#2", 5)
    again = hpo("run", "simple#2")
    assert again.code == 19  # it is a run by now


def test_a_refreshed_step_that_is_not_there_is_said(hpo: Hpo) -> None:
    ended = hpo("run", f"{BODIES}:simple", "--refresh", "numbr")
    assert ended.code == 0
    assert "warning: --refresh numbr: the run has no such step" in ended.err
    assert "number" in ended.err
