"""``hpo study``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from cli.conftest import BODIES, Hpo

STUDIED = str(Path(BODIES).parent / "studied.py")


@pytest.fixture
def both(hpo: Hpo, home: Path) -> str:
    ended = hpo(
        "optimize", f"{STUDIED}:weighed", "-P", "x=uniform(0,1)", "-P", "y=choice(1,2.5)", "--seed", "1", "-n", "8",
        "--objective", "fitted.auc", "--objective", "fitted.size", "--direction", "maximize", "--direction", "minimize",
        "--constraint", "fitted.size <= 9", "--name", "both",
    )  # fmt: skip
    assert ended.code == 0
    return "both"


def test_it_shows_what_hpo_show_and_hpo_best_do(hpo: Hpo, both: str) -> None:
    assert hpo("study", "show", both, "--json").document == hpo("show", both, "--json").document
    assert hpo("study", "best", both).out == hpo("best", both).out
    assert hpo("study", "show", "nowhere").code == 18


def test_trials_are_listed_by_number(hpo: Hpo, both: str) -> None:
    rows = hpo("study", "trials", both, "--json").documents
    assert [row["trial"] for row in rows] == list(range(8))
    assert set(rows[0]["values"]) == {"fitted.auc", "fitted.size"}
    assert rows[0]["seconds"] > 0
    lines = hpo("study", "trials", both, "-n", "3").out.splitlines()
    assert lines[0].split()[:3] == ["trial", "run", "status"]
    assert [line.split()[0] for line in lines[1:]] == ["5", "6", "7"]


def test_what_matters_is_said_for_each_objective(hpo: Hpo, both: str) -> None:
    shares = hpo("study", "importance", both, "--json").document["importance"]
    assert set(shares) == {"fitted.auc", "fitted.size"}
    assert sum(shares["fitted.auc"].values()) == pytest.approx(1.0)
    shown = hpo("study", "importance", both).out
    assert "fitted.size" in shown
    assert "█" * 30 in shown


def test_a_study_is_exported(hpo: Hpo, both: str, tmp_path: Path) -> None:
    csv, parquet = tmp_path / "both.csv", tmp_path / "both.parquet"
    assert hpo("study", "export", both, "--csv", str(csv), "--parquet", str(parquet)).code == 0
    written, kept = pd.read_csv(csv), pd.read_parquet(parquet)
    assert list(written.columns) == list(kept.columns)
    assert list(kept["number"]) == list(range(8))
    assert {"values.fitted.auc", "feasible", "params.x", "metrics.fitted.size", "seconds.fitted"} <= set(kept.columns)
    assert hpo("study", "export", both, "--csv", "-").out.splitlines()[0].startswith("number,run,status,reason,")


def test_where_to_is_to_be_said(hpo: Hpo, both: str, tmp_path: Path) -> None:
    assert "say where to" in hpo("study", "export", both).err
    refused = hpo("study", "export", both, "--csv", str(tmp_path / "none" / "x.csv"))
    assert (refused.code, "there is no folder" in refused.err) == (2, True)


def test_what_parquet_has_no_type_for_is_text(hpo: Hpo, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("program: {choices: [[[number, 0]], []]}\nstart: 3\n")
    hpo("optimize", f"{BODIES}:interpreted", "--space", str(path), "--name", "kinds", "--sampler", "grid", "-n", "2")
    path = tmp_path / "kinds.parquet"
    assert hpo("study", "export", "kinds", "--parquet", str(path)).code == 0
    assert set(pd.read_parquet(path)["params.program"]) == {"[['number', 0]]", "[]"}


def test_a_study_is_planned_and_then_held_against_its_plan(hpo: Hpo, home: Path) -> None:
    asked = "optimize", f"{BODIES}:simple", "-P", "x=choice(1,2)", "-P", "y=int(1,3)", "--sampler", "grid"
    plan = hpo(*asked, "--plan", "--json").document
    assert [(step["step"], step["executions"]["expected"]) for step in plan["steps"]] == [("number", 2), ("add", 6)]
    assert "No studies yet" in hpo("studies").err
    shown = hpo(*asked, "--plan").out.splitlines()
    assert shown[0].split() == ["step", "calls", "executions", "each"]
    assert shown[-1] == "expected: not timed yet, since no step has run"
    assert hpo(*asked, "--name", "held").code == 0
    document = hpo("study", "show", "held", "--json").document["plan"]
    assert [(row["step"], row["executions"], row["reused"]) for row in document["steps"]] == [
        ("number", 2, 4),
        ("add", 6, 0),
    ]
    assert "as planned, and as it went, of 6 and 6 trials:" in hpo("study", "show", "held").out
    reach = hpo("study", "reach", "held").out.splitlines()
    assert [line.split() for line in reach[:3]] == [["step", "x", "y"], ["number", "yes", "no"], ["add", "yes", "yes"]]
    assert hpo("study", "reach", "held", "--json").document["steps"]["number"]["y"]["keys"]["same"] > 0
    assert "how many trials" in hpo(*asked[:-1], "tpe", "--timeout", "9s", "--plan").err
