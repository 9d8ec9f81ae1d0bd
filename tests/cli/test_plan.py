"""``hpo plan``."""

from __future__ import annotations

import sys
from pathlib import Path

from cli.conftest import BODIES, Hpo


def test_plan_of_a_pipeline_is_a_table_and_a_line_of_totals(hpo: Hpo, home: Path) -> None:
    shown = hpo("plan", f"{BODIES}:simple", "-P", "x=1")
    assert shown.code == 0
    assert [line.split(maxsplit=3) for line in map(str.strip, shown.out.splitlines()[:2])] == [
        ["step", "verdict", "expected", "reason"],
        ["number", "will", "run", "?         never seen before"],
    ]
    assert shown.out.splitlines()[2].split() == ["add", "unknown", "?", "depends", "on", "number"]
    assert shown.out.splitlines()[-1] == "1 will run, 0 reused, 1 unknown; expected: not timed yet"
    assert "No runs yet" in hpo("ls").err


def test_plan_of_a_run_with_other_parameters(hpo: Hpo, recorded: Path) -> None:
    document = hpo("plan", "simple#1", "--json").document
    assert [step["verdict"] for step in document["steps"]] == ["reuse", "reuse"]
    assert document["complete"] is True
    words = hpo("plan", "simple#1", "-P", "y=90").out.splitlines()
    assert words[-1].endswith(" one after the other, 0.0 s in parallel")
    assert words[2].endswith(" → 90")
    changed = hpo("plan", "simple#1", "-P", "y=90", "--json").document
    assert changed["params"] == {"x": 1, "y": 90}
    assert [step["verdict"] for step in changed["steps"]] == ["reuse", "run"]
    assert changed["totals"]["untimed"] == 0


def test_plan_with_refresh(hpo: Hpo, recorded: Path) -> None:
    document = hpo("plan", "simple#1", "--refresh", "add", "--json").document
    assert [step["verdict"] for step in document["steps"]] == ["reuse", "run"]
    assert document["steps"][1]["reason"] == "refresh"


def test_where_a_plan_ends_is_said(hpo: Hpo, recorded: Path) -> None:
    shown = hpo("plan", "training#1", "-P", "x=77")
    assert shown.code == 0
    assert "the plan ends at bodies.py:" in shown.out
    assert "the body looks at the value of fit, which is not known before fit has run" in shown.out
    assert shown.out.splitlines()[-1].endswith("and what comes after")


def test_what_the_body_prints_is_no_part_of_a_plan(hpo: Hpo, recorded: Path) -> None:
    assert "controller" not in hpo("plan", "loud#1").out
    assert hpo("plan", "loud#1", "--json").document["complete"] is True


def test_plan_of_what_is_not_there(hpo: Hpo, recorded: Path) -> None:
    assert "no pipeline 'simpel'" in hpo("plan", f"{BODIES}:simpel").err
    assert hpo("plan", "nothing#1").code != 0
    assert "depth" in hpo("plan", "simple#1", "-P", "depth=1").err


def test_a_plan_of_changed_code_says_what_changed_as_why_does(hpo: Hpo, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "changing.py"
    text = (
        "from hpo_pipelines import component, pipeline\nRATE = 2\ndef scaled(x):\n    return x * RATE\n"
        "@component\ndef made(x: int):\n    return scaled(x)\n"
        "@pipeline\ndef changing(x: int = 1):\n    return made(x)\n"
    )
    file.write_text(text)
    assert hpo("run", f"{file}:changing").code == 0
    file.write_text(text.replace("x * RATE", "x * RATE + 1"))
    del sys.modules["changing"]  # as in another process
    (planned,) = hpo("plan", f"{file}:changing", "--json").document["steps"]
    assert planned["reason"] == "helper scaled in changing.py changed"
    assert hpo("run", f"{file}:changing").code == 0
    (why,) = hpo("why", "changing", "--json").document["steps"]
    assert why["reason"] == planned["reason"]


def test_what_reaches_which_step(hpo: Hpo, recorded: Path) -> None:
    lines = hpo("plan", f"{BODIES}:simple", "--reach").out.splitlines()
    assert [line.split() for line in lines] == [["step", "x", "y"], ["number", "yes", "no"], ["add", "yes", "yes"]]
    document = hpo("plan", "simple#1", "--reach", "--json").document
    assert document["complete"] is True
    assert document["steps"]["number"]["y"]["reaches"] == "no"
    assert "depth" in hpo("plan", f"{BODIES}:simple", "--reach", "-P", "depth=1").err
