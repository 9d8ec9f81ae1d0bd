"""``hpo study``."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pandas as pd
import pytest
from cli.conftest import BODIES, Hpo

from hpo_pipelines.cli import charts
from hpo_pipelines.cli.study_group import FIGURES, complete_figure
from hpo_pipelines.study.figures import KINDS

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


def test_what_matters_is_said_for_each_objective(hpo: Hpo, both: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = hpo("study", "importance", both, "--json").document["importance"]
    assert set(shares) == {"fitted.auc", "fitted.size"}
    assert sum(shares["fitted.auc"].values()) == pytest.approx(1.0)
    shown = hpo("study", "importance", both).out
    assert "fitted.size" in shown
    assert "█" not in shown
    monkeypatch.setattr(charts, "wanted", lambda: True)
    assert "█" * 30 in hpo("study", "importance", both).out


def test_charts_are_for_a_terminal_alone(hpo: Hpo, both: str, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = [("study", "show", both), ("study", "trials", both), ("best", both)]
    plain = [hpo(*command).out for command in commands]
    assert not set("".join(plain)) & set("▁▂▃▄▅▆▇█●")
    documents = [hpo(*command, "--json").out for command in commands]
    monkeypatch.setattr(charts, "wanted", lambda: True)
    for command, text, document in zip(commands, plain, documents, strict=True):
        assert "█" in hpo(*command).out
        assert len(hpo(*command).out) > len(text)
        assert hpo(*command, "--json").out == document
    assert "fitted.auc by trial" in hpo("study", "show", both).out


def test_the_best_is_shown_in_its_ranges(hpo: Hpo, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hpo("optimize", f"{STUDIED}:halved", "-P", "x=uniform(0,2)", "--direction", "minimize", "-n", "1", "--name", "one")
    monkeypatch.setattr(charts, "wanted", lambda: True)
    assert "0 ────────────●─────────── 2" in hpo("best", "one").out


@pytest.mark.integration
def test_figures_are_written(hpo: Hpo, both: str, tmp_path: Path) -> None:
    page, data = tmp_path / "front.html", tmp_path / "slice.json"
    assert hpo("study", "figure", both, "pareto", "-o", str(page)).code == 0
    assert "both: Pareto front" in page.read_text("utf-8")
    assert hpo("study", "figure", both, "slice", "-o", str(data), "--objective", "fitted.size").code == 0
    assert "fitted.size" in json.loads(data.read_text())["layout"]["yaxis"]["title"]["text"]


def test_figures_that_cannot_be_written_are_refused(hpo: Hpo, both: str, tmp_path: Path) -> None:
    refused = hpo("study", "figure", both, "slise", "-o", str(tmp_path / "x.html"))
    assert (refused.code, "Did you mean 'slice'?" in refused.err) == (18, True)
    refused = hpo("study", "figure", both, "slice", "-o", str(tmp_path / "x.png"))
    assert (refused.code, ".html, or as Plotly's .json" in refused.err) == (2, True)
    assert hpo("study", "figure", "nowhere", "slice", "-o", str(tmp_path / "x.html")).code == 18


def test_the_kinds_of_figures_are_completed() -> None:
    assert FIGURES == KINDS
    assert complete_figure(click.Context(click.Command("figure")), click.Option(["-k"]), "s") == ["slice", "sharing"]


def test_the_best_is_promoted(hpo: Hpo, home: Path) -> None:
    hpo("optimize", f"{STUDIED}:halved", "-P", "x=uniform(0,1)", "--seed", "1", "-n", "2", "--name", "one")
    best = hpo("best", "one", "--json").document
    made = hpo("best", "one", "--promote", "--json").document
    assert made == {"study": "one", "run": "halved#3", "id": made["id"], "model": None}
    shown = hpo("show", "halved#3", "--json").document
    assert (shown["tags"], shown["params"]) == (["promoted"], {"x": best["params"]["x"]})
    assert hpo("study", "best", "one", "--promote", "--trial", "0").out == "halved#4 is promoted\n"
    for wrong in (("--register", "m"), ("--output", "half"), ("--trial", "0")):
        refused = hpo("best", "one", *wrong)
        assert (refused.code, "give --promote, too" in refused.err) == (2, True)
    assert hpo("best", "one", "--promote", "--trial", "9").code == 18


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
