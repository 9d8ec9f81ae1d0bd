"""``hpo why``."""

from __future__ import annotations

from pathlib import Path

from cli.conftest import BODIES, Hpo


def test_why_of_a_run_is_a_line_for_each_step(hpo: Hpo, home: Path) -> None:
    hpo("run", f"{BODIES}:simple", "-P", "x=1")
    hpo("run", f"{BODIES}:simple", "-P", "x=1", "-P", "y=5")
    shown = hpo("why", "simple#2")
    assert shown.code == 0
    first, second = shown.out.splitlines()
    assert first.startswith("number  reused  from simple#1/number, 20")
    assert second == "add     ran     y 2 → 5"
    assert shown.err == ""


def test_why_of_a_step_says_what_it_is_compared_with(hpo: Hpo, home: Path) -> None:
    hpo("run", f"{BODIES}:simple", "-P", "x=1")
    hpo("run", f"{BODIES}:simple", "-P", "x=2")
    for arguments in (["simple#2", "add"], ["simple#2/add"]):
        lines = hpo("why", *arguments).out.splitlines()
        assert lines[0] == "simple#2/add ran: input x from number 1 → 2 (number ran: x 1 → 2)"
        assert lines[1].startswith("  compared with simple#1/add, completed at 20")


def test_why_as_json(hpo: Hpo, home: Path) -> None:
    hpo("run", f"{BODIES}:simple", "-P", "x=1")
    hpo("run", f"{BODIES}:simple", "-P", "x=2")
    document = hpo("why", "simple#2", "--json").document
    assert document["run"] == "simple#2"
    assert [step["cause"] for step in document["steps"]] == ["changed", "changed"]
    step = hpo("why", "simple#2", "number", "--json").document
    assert step == document["steps"][0]
    assert step["changes"][0] | {"text": "", "brief": ""} == {
        "kind": "inputs", "name": "x", "text": "", "brief": "", "old": 1, "new": 2, "diff": "", "source": None,
    }  # fmt: skip


def test_why_of_what_failed(hpo: Hpo, recorded: Path) -> None:
    refuse, add = hpo("why", "refusing#1").out.splitlines()
    assert refuse == "refuse  ran      never seen before; failed: Refused: refused 3"
    assert add == "add     skipped  upstream refuse failed"


def test_why_shows_the_steps_of_runs_inside(hpo: Hpo, recorded: Path) -> None:
    document = hpo("why", "outer#1", "--json").document
    assert [step["label"] for step in document["steps"]] == ["simple#3/number", "simple#3/add", "outer#1/add"]
    assert [step["path"] for step in document["steps"]] == ["simple/number", "simple/add", "add"]
    # As in a plan, and as what is printed of it is called.
    planned = hpo("plan", "outer#1", "--json").document["steps"]
    assert [step["name"] for step in planned] == ["simple/number", "simple/add", "add"]
    listed = [line.split()[0] for line in hpo("why", "outer#1").out.splitlines()]
    assert listed == ["simple/number", "simple/add", "add"]
    for name in ("simple/number", "simple#3/number"):
        assert hpo("why", f"outer#1/{name}").out == hpo("why", "simple#3/number").out
    assert "outer#1 has no step 'simpel'; did you mean 'simple'?" in hpo("show", "outer#1/simpel/number").err


def test_why_of_what_is_not_there(hpo: Hpo, recorded: Path) -> None:
    refused = hpo("why", "simple#1", "ad")
    assert refused.code != 0
    assert "'add'" in refused.err
