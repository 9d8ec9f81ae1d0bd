"""``hpo plan``."""

from __future__ import annotations

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
    assert shown.out.splitlines()[-1].startswith("1 will run, 0 reused, 1 unknown; expected: 0.0 s one after the other")
    assert "(2 never timed)" in shown.out
    assert "No runs yet" in hpo("ls").err


def test_plan_of_a_run_with_other_parameters(hpo: Hpo, recorded: Path) -> None:
    document = hpo("plan", "simple#1", "--json").document
    assert [step["verdict"] for step in document["steps"]] == ["reuse", "reuse"]
    assert document["complete"] is True
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
