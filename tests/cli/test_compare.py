"""``hpo compare``."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.conftest import Hpo

from hpo_pipelines.cli.compare import _about, _same


def rows(hpo: Hpo, *arguments: str) -> dict[str, list[object]]:
    return {row["what"]: row["values"] for row in hpo("compare", *arguments, "--json").document["rows"]}


def test_only_differences(hpo: Hpo, recorded: Path) -> None:
    found = rows(hpo, "simple#1", "simple#2")
    assert found["param y"] == [2, 3]
    assert found["step number"] == ["completed", "reused"]
    assert "param x" not in found
    assert "status" not in found


def test_everything(hpo: Hpo, recorded: Path) -> None:
    found = rows(hpo, "simple#1", "simple#2", "--all")
    assert found["param x"] == [1, 1]
    assert found["status"] == ["completed", "completed"]
    assert found["seconds"][0] is not None


def test_three_runs_of_two_pipelines(hpo: Hpo, recorded: Path) -> None:
    found = rows(hpo, "simple#1", "training#1", "refusing#1")
    assert found["status"] == ["completed", "completed", "failed"]
    assert found["param epochs"] == [None, 2, None]
    assert found["metric fit.auc"] == [None, pytest.approx(0.4), None]
    text = hpo("compare", "simple#1", "training#1", "refusing#1").out.splitlines()
    assert text[0].split() == ["simple#1", "training#1", "refusing#1"]
    assert next(line for line in text if line.startswith("param epochs")).split()[2:] == ["—", "2", "—"]


def test_a_run_and_itself(hpo: Hpo, recorded: Path) -> None:
    compared = hpo("compare", "simple#1", "simple#1")
    assert (compared.code, compared.out, compared.err) == (0, "", "no differences\n")
    # Two columns of one name are still two columns.
    header = hpo("compare", "simple#1", "simple#1", "--all").out.splitlines()[0].split()
    assert header == ["simple#1", "simple#1"]


def test_one_run_is_too_few(hpo: Hpo, recorded: Path) -> None:
    assert hpo("compare", "simple#1").code == 2
    assert hpo("compare", "simple#1", "nope#1").code == 7


CODE = """
from hpo_pipelines import component, pipeline

@component
def kept(x: int): return x

@component
def step(x: int):
    return x + {added}

@pipeline
def changing(x: int = 1): return step(kept(x))
"""


def test_the_source_of_changed_components(
    hpo: Hpo, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    file = tmp_path / "changing_code.py"
    for added in (1, 2):
        file.write_text(CODE.format(added=added) + "#" * added)  # another size: no stale bytecode
        hpo("run", str(file))
        del sys.modules["changing_code"]
    compared = hpo("compare", "changing#1", "changing#2")
    assert "-    return x + 1" in compared.out
    assert "+    return x + 2" in compared.out
    assert "kept" not in compared.out.split("param")[-1].split("--- ")[-1]
    found = hpo("compare", "changing#1", "changing#2", "--json").document
    assert list(found["code"]) == ["step"]
    assert hpo("compare", "changing#1", "changing#2", "--no-code", "--json").document["code"] == {}


def test_what_counts_as_different() -> None:
    nan = float("nan")
    assert _same(nan, nan)
    assert not _same(nan, 1.0)
    assert not _same(None, 0)
    assert not _same(None, nan)
    assert _about(1.0, 1.05)
    assert _about(0.01, 0.09)
    assert not _about(1.0, 2.0)
    assert _about(None, 3.0)
