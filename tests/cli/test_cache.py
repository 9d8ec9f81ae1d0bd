"""``hpo cache``: list, show, forget, collect and verify what is kept; and what a run says of what is gone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from cli.conftest import BODIES, Ended, Hpo

pytestmark = pytest.mark.usefixtures("quick")

CHURN = f"{Path(BODIES).parent}/kept.py:churn"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_pipelines.cache.collection.SETTLE", 0.0)


@pytest.fixture
def churn(home: Path, hpo: Hpo) -> str:
    """A pipeline whose ``load`` gives files; it has run twice, and the second run reused both of the first's."""
    assert hpo("run", CHURN).code == 0
    assert hpo("run", CHURN, "-P", "lr=0.25").code == 0
    return CHURN


def files(home: Path) -> dict[str, Path]:
    return {path.parent.name + path.name: path for path in (home / "artifacts").glob("*/*")}


def age(home: Path, hours: float = 3.0) -> None:
    at = time.time() - hours * 3600
    for path in files(home).values():
        os.utime(path, (at, at))


def steps(ended: Ended) -> dict[str, dict]:  # type: ignore[type-arg]
    return {step["step"]: step for step in ended.document["steps"]}


def key_of(hpo: Hpo, step: str) -> str:
    """The key of a step, as a person sees it."""
    (line,) = [line for line in hpo("show", step).out.splitlines() if line.startswith("  key ")]
    return line.split()[1]


# -- ls and show


def test_outcomes_one_by_one_with_their_keys(hpo: Hpo, churn: str) -> None:
    head, *rows = hpo("cache", "ls", "--keys", "--component", "size").out.splitlines()
    assert head.split()[:3] == ["key", "computed", "by"]
    documents = hpo("cache", "ls", "--keys", "--component", "size", "--json").documents
    assert [row.split()[0] for row in rows] == [document["key"][:12] for document in documents]
    for document, row in zip(documents, rows, strict=True):
        shown = hpo("cache", "show", row.split()[0], "--json").document
        assert shown["key"] == document["key"]
        run, _, step = row.split()[1].partition("/")
        assert steps(hpo("show", run, "--json"))[step]["key"] == document["key"]
    assert len(hpo("cache", "ls", "--keys", "--json").documents) == 4
    assert hpo("cache", "ls", "--keys", "--component", "nobody").out == ""


def test_ls_by_component(hpo: Hpo, churn: str) -> None:
    listed = hpo("cache", "ls")
    assert listed.code == 0
    head, load, size = listed.out.splitlines()
    assert head.split() == ["component", "outcomes", "size", "hits", "saved", "last", "used"]
    assert load.split()[:5] == ["load", "2", "59", "kB", "2"]
    assert size.split()[:2] == ["size", "2"]
    assert listed.err.startswith("4 outcomes, 59 kB in distinct artifacts, ")
    documents = hpo("cache", "ls", "--json").documents
    assert [(one["component"], one["outcomes"], one["size"], one["hits"]) for one in documents] == [
        ("load", 2, 59_000, 2),
        ("size", 2, 14, 0),
    ]
    assert documents[0]["saved"] > 0
    assert hpo("cache", "ls", "--component", "size", "--json").document["component"] == "size"


def test_ls_of_nothing(hpo: Hpo, home: Path) -> None:
    nothing = hpo("cache", "ls")
    assert (nothing.code, nothing.out) == (0, "")
    assert "Nothing is kept for reuse in" in nothing.err
    assert "of component 'fit'" in hpo("cache", "ls", "--component", "fit").err


def test_show_an_outcome_by_the_beginning_of_its_key(hpo: Hpo, churn: str, home: Path) -> None:
    key = key_of(hpo, "churn#1/load")
    shown = hpo("cache", "show", key)
    assert shown.code == 0
    assert shown.out.startswith(f"load  {key}")
    for text in (
        "computed by  churn#1/load",
        "hits         1, saving",
        "last hit",
        "(bytes, 50 kB)",
        "python = 3.",
        "n = ",
    ):
        assert text in shown.out
    assert "gone" not in shown.out
    found = hpo("cache", "show", key, "--json").document
    assert (found["component"], found["step"], found["hits"]) == ("load", "churn#1/load", 1)
    assert found["outputs"]["value"]["size"] == 50_000
    assert found["outputs"]["value"]["there"] is True
    assert found["saved"] == found["seconds"]
    assert found["parts"]["component"].endswith(":load")
    files(home)[found["outputs"]["value"]["digest"]].unlink()
    assert "its bytes are gone" in hpo("cache", "show", key).out


def test_show_what_is_not_there(hpo: Hpo, churn: str) -> None:
    refused = hpo("cache", "show", "zzz")
    assert (refused.code, refused.out) == (7, "")
    assert "no outcome has a key that begins with 'zzz'" in refused.err


# -- rm


def test_a_forgotten_outcome_is_computed_anew(hpo: Hpo, churn: str, home: Path) -> None:
    forgotten = hpo("cache", "rm", key_of(hpo, "churn#1/load"))
    assert (forgotten.code, forgotten.out) == (0, "forgot 1 outcome\n")
    assert len(files(home)) == 2
    again = steps(hpo("run", churn, "--json"))
    assert again["load"]["reused_from"] is None
    assert again["load.2"]["reused_from"] is not None
    assert again["size"]["reused_from"] is not None, "what it gave is what it had given"


def test_a_component_is_forgotten(hpo: Hpo, churn: str) -> None:
    assert hpo("cache", "rm", "--component", "load", "--json").document == {"forgotten": 2}
    assert [one["component"] for one in hpo("cache", "ls", "--json").documents] == ["size"]
    refused = hpo("cache", "rm", "--component", "load")
    assert refused.code == 7
    assert "no outcome of a component 'load' is kept" in refused.err


@pytest.mark.parametrize("arguments", [[], ["abc", "--component", "load"]])
def test_rm_wants_one_way_of_saying_what(hpo: Hpo, home: Path, arguments: list[str]) -> None:
    refused = hpo("cache", "rm", *arguments)
    assert refused.code == 2
    assert "either KEY…, or --component NAME" in refused.err


def test_rm_of_several_forgets_all_or_none(hpo: Hpo, churn: str) -> None:
    key = key_of(hpo, "churn#1/load")
    assert hpo("cache", "rm", key, "zzz").code == 7
    assert len(hpo("cache", "ls", "--json").documents) == 2
    assert hpo("cache", "rm", key, key, key_of(hpo, "churn#1/size"), "--json").document == {"forgotten": 2}


# -- gc


def test_gc_keeps_what_runs_returned_and_frees_the_rest(hpo: Hpo, churn: str, home: Path) -> None:
    age(home)
    planned = hpo("cache", "gc", "--older", "0s", "--dry-run")
    assert planned.out.splitlines() == [
        "4 outcomes would be forgotten: load 2, size 2",
        "1 file (50 kB) would be swept; 1 file (9 kB) left of outcomes, runs and code",
    ]
    assert len(files(home)) == 2
    done = hpo("cache", "gc", "--older", "0s")
    assert done.code == 0
    assert done.out.splitlines() == [
        "4 outcomes forgotten: load 2, size 2",
        "1 file (50 kB) swept; 1 file (9 kB) left of outcomes, runs and code",
    ]
    assert "9 kB of what is left stays as long as its runs" in done.err
    shown = hpo("show", "churn#1")
    assert (shown.code, "model = " in shown.out) == (0, True)
    assert hpo("cache", "verify").code == 0
    again = steps(hpo("run", churn, "--json"))
    assert [again[name]["reused_from"] for name in ("load", "size", "load.2")] == [None] * 3


def test_gc_until_a_size(hpo: Hpo, churn: str, home: Path) -> None:
    age(home)
    found = hpo("cache", "gc", "--keep-size", "20kB", "--json").document
    assert (len(found["outcomes"]), found["swept"], found["left"]["size"]) == (1, {"files": 1, "size": 50_000}, 9_000)
    assert hpo("cache", "gc", "--keep-size", "9000", "--json").document["outcomes"] == []


def test_gc_leaves_alone_what_is_new(hpo: Hpo, churn: str, home: Path) -> None:
    done = hpo("cache", "gc", "--older", "0")
    assert "0 files (0 B) swept; 2 files" in done.out
    assert "1 file (50 kB) nobody needs, written less than an hour ago: a later gc takes them" in done.err
    assert len(files(home)) == 2


def test_gc_deletes_old_runs_when_told_to(hpo: Hpo, churn: str, home: Path) -> None:
    age(home)
    assert hpo("cache", "gc", "--runs-older", "1d", "--json").document["runs"] == []
    assert hpo("cache", "gc", "--runs-older", "0s", "--dry-run").out.startswith("2 runs, 6 steps would be deleted\n")
    done = hpo("cache", "gc", "--runs-older", "0s")
    assert done.out.splitlines()[0] == "2 runs, 6 steps deleted"
    assert done.out.splitlines()[2] == "2 files (59 kB) swept; 0 files (0 B) left"
    assert hpo("ls", "--json").documents == []
    assert list((home / "consoles").iterdir()) == []


def test_gc_sweeps_unknown_files_where_nobody_else_has_any(
    hpo: Hpo, churn: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpo_pipelines.artifacts import ArtifactStore

    ArtifactStore(home / "artifacts").put(b"x" * 10_000)
    age(home)
    assert hpo("cache", "gc", "--no-unknown", "--json").document["unknown"] == {"files": 1, "size": 10_000}
    assert hpo("cache", "gc", "--json").document["swept"] == {"files": 1, "size": 10_000}
    shared = tmp_path / "shared"
    monkeypatch.setenv("HPO_ARTIFACTS", str(shared))
    ArtifactStore(shared).put(b"y" * 10_000)
    for path in shared.glob("*/*"):
        os.utime(path, (1.0, 1.0))
    done = hpo("cache", "gc")
    assert "1 file (10 kB) no record names: --unknown sweeps them, unless they are another store's" in done.err
    assert hpo("cache", "gc", "--unknown", "--json").document["swept"]["files"] == 1


def test_gc_while_another_collects(hpo: Hpo, churn: str, home: Path) -> None:
    from hpo_pipelines.store import Store

    store = Store.open(f"sqlite:///{home}/store.db")
    store.leases.claim("cache gc", "elsewhere:1:x", 30.0)
    store.close()
    refused = hpo("cache", "gc")
    assert refused.code == 16
    assert "elsewhere:1 is collecting already" in refused.err


@pytest.mark.parametrize("option", ["--older", "--runs-older", "--keep-size"])
def test_gc_refuses_what_is_no_quantity(hpo: Hpo, home: Path, option: str) -> None:
    refused = hpo("cache", "gc", option, "soon")
    assert refused.code == 4
    assert "'soon'" in refused.err


# -- verify


def test_verify_reads_everything(hpo: Hpo, churn: str) -> None:
    verified = hpo("cache", "verify")
    assert verified.code == 0
    assert ": all are as written" in verified.out
    assert verified.err == "", "no bar where there is no terminal"
    found = hpo("cache", "verify", "--json").document
    assert (found["damaged"], found["gone"]) == ([], 0)
    assert found["size"] > 59_000


def test_a_damaged_outcome_is_repaired_by_computing_it_anew(hpo: Hpo, churn: str, home: Path) -> None:
    key = key_of(hpo, "churn#1/load")
    digest = hpo("cache", "show", key, "--json").document["outputs"]["value"]["digest"]
    path = files(home)[digest]
    path.chmod(0o644)
    path.write_bytes(b"1" + path.read_bytes()[1:])
    verified = hpo("cache", "verify")
    assert verified.code == 14
    assert f"corrupt  {digest}" in verified.out
    assert "output  churn#1/load.value, churn#2/load.value" in verified.out
    assert f"outcome {key}" in verified.out
    assert "0 missing, 1 corrupt" in verified.out
    repaired = hpo("cache", "verify", "--repair")
    assert repaired.code == 0
    assert "forgot 1 outcome, removed 1 damaged file" in repaired.err
    assert hpo("cache", "verify", "--json").document["gone"] == 1
    again = steps(hpo("run", churn, "--json"))
    assert again["load"]["reused_from"] is None
    assert again["size"]["reused_from"] is not None
    assert hpo("cache", "verify", "--json").document["gone"] == 0, "and the runs that had it have it again"


def test_what_a_run_returned_cannot_be_repaired(hpo: Hpo, churn: str, home: Path) -> None:
    digest = hpo("show", "churn#1", "--json").document["outputs"]["value.model"]["digest"]
    files(home)[digest].unlink()
    verified = hpo("cache", "verify", "--json")
    assert verified.code == 15
    (damage,) = verified.document["damaged"]
    assert (damage["what"], damage["lasting"], damage["outputs_in_all"]) == ("missing", True, 4)
    assert "churn#1.value.model" in damage["outputs"]
    assert hpo("cache", "verify", "--repair").code == 15
    hpo("run", churn)
    assert hpo("cache", "verify").code == 0


# -- what is gone


def test_a_removed_artifact_makes_a_miss_that_says_so(hpo: Hpo, churn: str, home: Path) -> None:
    found = hpo("cache", "show", key_of(hpo, "churn#1/load"), "--json").document
    files(home)[found["outputs"]["value"]["digest"]].unlink()
    again = steps(hpo("run", churn, "--json"))
    assert again["load"]["reused_from"] is None
    assert again["load"]["reason"].startswith("missing artifact: value of churn#1/load")
    assert again["size"]["reused_from"] is not None
    assert "missing artifact" in hpo("show", "churn#3/load").out
    assert steps(hpo("run", churn, "--json"))["load"]["reason"] == "reused from churn#3/load"


# -- accounting


def test_a_run_says_what_it_cost_and_saved(hpo: Hpo, churn: str) -> None:
    first, second = (hpo("show", f"churn#{number}", "--json").document for number in (1, 2))
    assert (first["accounting"]["executions"], first["accounting"]["reused"], first["accounting"]["saved"]) == (3, 0, 0)
    assert first["accounting"]["spent"] == pytest.approx(sum(step["seconds"] for step in first["steps"]), rel=0.2)
    assert (second["accounting"]["executions"], second["accounting"]["reused"]) == (1, 2)
    assert 0 < second["accounting"]["saved"] < first["accounting"]["spent"]
    assert " spent, " in hpo("show", "churn#2").out
    assert " saved by reuse" in hpo("show", "churn#2").out
