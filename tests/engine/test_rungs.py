"""Runs that climb the rungs of a parameter."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import studied

from hpo_pipelines import Status, Workspace
from hpo_pipelines.engine import RunOptions
from hpo_pipelines.engine.options import asked, asked_again
from hpo_pipelines.engine.rungs import Ladder
from hpo_pipelines.waiting import options_of, recorded

LADDER = Ladder("rows", (10, 30, 90), 3, "grown.auc")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.sampled_from([2, 3, 4.0]), st.booleans())
def test_law_of_a_rung_the_best_share_goes_on(values: list[float], eta: float, minimize: bool) -> None:
    """Of all who came, looking back, exactly ⌊n/η⌋ go on, one at least: the best, of equals who came first."""
    ladder = Ladder("rows", (1, 2), eta, None, "minimize" if minimize else "maximize")
    on = {place for place in range(len(values)) if ladder.refusal(0, values, place) is None}
    sign = 1 if minimize else -1
    ranked = sorted(range(len(values)), key=lambda place: (sign * values[place], place))
    assert on == set(ranked[: max(1, math.floor(len(values) / eta))])


def test_why_a_run_goes_no_further_is_said() -> None:
    assert LADDER.refusal(1, [0.9, 0.71, 0.8], 1) == ("pruned at rows=30: auc 0.71 not in the top 1/3 of rung (3 of 3)")
    assert Ladder("n", (1, 2), 3, None).refusal(0, [math.nan], 0) == "pruned at n=1: value is not a number"
    assert LADDER.refusal(0, [math.nan, 0.1], 1) is None


def test_whole_numbers_are_the_steps_and_other_rungs_are_counted() -> None:
    assert [LADDER.step(rung) for rung in range(3)] == [10, 30, 90]
    parts = Ladder("share", (0.1, 0.3, 1), 3, None)
    assert parts.steps == (0, 1, 2)


def test_brackets_cost_about_the_same() -> None:
    ladder = Ladder("rows", (1, 3, 9, 27), 3, None, brackets=4)
    begun = Counter(ladder.first("study", trial) for trial in range(4000))
    # Hyperband's table for R = 27, eta = 3 (Li et al. 2018): 27, 12, 6 and 4 configurations.
    expected = {0: 27, 1: 12, 2: 6, 3: 4}
    for bracket, share in expected.items():
        assert begun[bracket] / 4000 == pytest.approx(share / 49, abs=0.04)
    assert {LADDER.first("study", trial) for trial in range(50)} == {0}


def test_a_ladder_goes_round_through_what_is_recorded() -> None:
    assert Ladder.of_option(LADDER.as_option()) == LADDER
    assert Ladder.of_option(None) is None
    assert recorded(RunOptions(ladder=LADDER)) == asked(RunOptions(ladder=LADDER)) == {"ladder": LADDER.as_option()}


def test_a_run_of_no_study_climbs_to_the_top(workspace: Workspace, folder: Path) -> None:
    draft = studied.rising.draft(folder=str(folder), x=2.0, workspace=workspace)
    run = workspace.start(draft.id, RunOptions(ladder=LADDER))
    assert run.status is Status.COMPLETED
    assert run.value == {"auc": 180.0, "x": 2.0}
    assert (folder / "grown").read_text().splitlines() == ["2 10", "2 30", "2 90"]
    assert (folder / "prepared").read_text() == "once\n"
    heard = [
        (metric.step, metric.value) for metric in workspace.store.metrics.of([run.id]) if metric.name == "grown.auc"
    ]
    assert heard == [(10, 20.0), (30, 60.0), (90, 180.0)]
    assert run.metrics["grown.auc"] == 180.0


def test_a_run_without_the_number_fails_at_its_first_rung(workspace: Workspace, folder: Path) -> None:
    draft = studied.rising.draft(folder=str(folder), workspace=workspace)
    run = workspace.start(draft.id, RunOptions(ladder=Ladder("rows", (10, 30), 3, "grown.acu")))
    assert run.status is Status.FAILED
    assert "at rows=10 has no metric or returned value called 'grown.acu'; it has auc, grown.auc, x" in str(run.error)
    assert (folder / "grown").read_text() == "0.5 10\n"


def test_a_run_that_climbs_goes_on_where_it_was(workspace: Workspace, folder: Path) -> None:
    draft = studied.rising.draft(folder=str(folder), x=13.0, workspace=workspace)
    failed = workspace.start(draft.id, RunOptions(ladder=LADDER))
    assert "too many rows for 13" in str(failed.error)
    (folder / "cured").touch()
    again = workspace.resume(failed.id)  # what it climbs was kept with the run
    assert again.value["auc"] == 13 * 90
    assert (folder / "grown").read_text().splitlines() == ["13 10", "13 30", "13 90"]
    assert asked_again(workspace.store, again.task, RunOptions()).ladder == LADDER


def test_what_waits_in_a_queue_keeps_its_ladder(workspace: Workspace, folder: Path) -> None:
    draft = studied.rising.draft(folder=str(folder), workspace=workspace)
    workspace.enqueue(draft.id, options=RunOptions(ladder=LADDER))
    entry = workspace.store.queues.entry(draft.id)
    assert entry is not None
    assert options_of(entry).ladder == LADDER
