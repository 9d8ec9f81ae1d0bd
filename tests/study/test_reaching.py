"""What reaches which step of a study: followed before it begins, and by the keys of its trials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from samples import reached

from hpo_pipelines import Categorical, Float, Int, Workspace, optimize
from hpo_pipelines.planning import Cell, Evidence, Reach
from hpo_pipelines.study.derivation import RunRecord, foreseen, holds
from hpo_pipelines.study.observed import StudyRecords
from hpo_pipelines.study.reaching import evidence
from hpo_pipelines.study.reuse import Stages
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status
from search_spaces import Space


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


def ran(number: int, params: dict[str, Any], **keys: str) -> RunRecord:
    steps = [
        Task(f"{number}-{name}", Kind.STEP, name, "p", status=Status.COMPLETED, key=key) for name, key in keys.items()
    ]
    return RunRecord(params, steps, [])


def test_two_runs_show_what_makes_a_difference_and_what_makes_none() -> None:
    runs = [
        ran(0, {"a": 1, "b": 1}, load="x", fit="p"),
        ran(1, {"a": 1, "b": 2}, load="x", fit="q"),
        ran(2, {"a": 2, "b": 2}, load="y", fit="r"),
    ]
    assert evidence(runs, ["a", "b"]) == {
        "load": {"a": Evidence(differ=1), "b": Evidence(same=1)},
        "fit": {"a": Evidence(differ=1), "b": Evidence(differ=1)},
    }


def test_a_study_says_both(workspace: Workspace) -> None:
    space = {"rows": Int(20, 21), "k": Int(1, 2), "lr": Categorical([0.25, 0.5])}
    study = optimize(
        reached.chain, space, sampler="grid", executor="inline", progress=False, workspace=workspace, name="both"
    )
    found = study.reach()
    assert found.params == ("k", "lr", "rows")
    assert {step: {name: cell.said for name, cell in row.items()} for step, row in found.cells.items()} == {
        "load": {"rows": "yes", "k": "no", "lr": "no"},
        "shrink": {"rows": "yes", "k": "yes", "lr": "no"},
        "fit": {"rows": "yes", "k": "yes", "lr": "yes"},
        "evaluate": {"rows": "yes", "k": "yes", "lr": "yes"},
    }
    assert found.cells["load"]["rows"].agrees is True
    assert found.cells["load"]["lr"].agrees is True
    assert found.cells["load"]["lr"].keys == Evidence(same=8)
    assert found.cells["fit"]["rows"].keys.same > 0  # shrink gives the same of more rows


CHAIN = Reach(
    ("rows", "k", "lr"),
    {
        "load": {"rows": Cell("yes"), "k": Cell("no"), "lr": Cell("no")},
        "shrink": {"rows": Cell("yes"), "k": Cell("maybe"), "lr": Cell("no")},
        "fit": {"rows": Cell("yes"), "k": Cell("yes"), "lr": Cell("yes")},
    },
)
SPACE = Space({"rows": Int(1, 9), "k": Int(1, 9), "lr": Float(0, 1)})


def test_what_was_followed_gives_stages_while_nothing_is_open_and_keys_agree() -> None:
    known = foreseen(CHAIN, SPACE)
    assert known is not None
    assert known.stages == Stages({"load": ["rows"], "shrink": ["k"], "fit": ["lr"]})
    one = {"rows": 1, "k": 1, "lr": 0.5}
    same = [ran(0, one, load="x", shrink="y", fit="p"), ran(1, {**one, "lr": 0.25}, load="x", shrink="y", fit="q")]
    assert holds(known, CHAIN.steps, same, SPACE)
    assert holds(known, CHAIN.steps, [], SPACE)
    differing = [same[0], ran(1, {**one, "lr": 0.25}, load="x", shrink="another", fit="q")]
    assert not holds(known, CHAIN.steps, differing, SPACE)
    assert not holds(known, CHAIN.steps, [ran(0, one, load="x", unheard="y")], SPACE)
    opened = Reach(("rows",), {"load": {"rows": Cell("unknown", "who knows")}})
    assert foreseen(opened, SPACE) is None


def test_samplers_know_the_stages_before_the_first_trial(workspace: Workspace) -> None:
    asked = []

    def follow() -> Reach:
        asked.append(1)
        return CHAIN

    records = StudyRecords(workspace.store, "study", SPACE, follow=follow)
    for _ in range(3):
        assert records.stages([]) == Stages({"load": ["rows"], "shrink": ["k"], "fit": ["lr"]})
    assert asked == [1]
    assert StudyRecords(workspace.store, "study", SPACE).stages([]) is None


@pytest.mark.integration
def test_a_sampler_that_shares_stages_begins_with_them(workspace: Workspace) -> None:
    study = optimize(
        reached.costly,
        {"rows": Int(20, 4000), "k": Int(1, 1000), "lr": Float(0.1, 1)},
        n_trials=10,
        sampler="memo-gp",
        seed=1,
        executor="inline",
        progress=False,
        workspace=workspace,
    )
    frame = study.trials_dataframe()
    assert frame["steps_reused"].sum() > 0
