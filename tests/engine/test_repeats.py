"""One number from several runs of a pipeline inside a run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import studied

from hpo_pipelines import Status, Workspace
from hpo_pipelines.engine import RunOptions
from hpo_pipelines.engine.options import asked, asked_again
from hpo_pipelines.engine.repeats import Repeats, Spread
from hpo_pipelines.run import Run
from hpo_pipelines.waiting import options_of, recorded

SEEDS = Repeats("seed", (0, 1, 2))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_law_the_spread_is_that_of_the_sample(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert spread.std == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)
    assert spread.ci95 >= 0


def test_the_interval_is_students() -> None:
    # Student's t for 4 degrees of freedom at 0.975 is 2.776 (any table).
    assert Spread.of([1, 2, 3, 4, 5]).ci95 == pytest.approx(2.776445 * math.sqrt(2.5) / math.sqrt(5))
    one = Spread.of([3.0])
    assert (one.mean, math.isnan(one.std), math.isnan(one.ci95)) == (3.0, True, True)
    with pytest.raises(ValueError, match="no values"):
        Spread.of([])


def test_repeats_go_round_through_what_is_recorded() -> None:
    assert Repeats.of_option(SEEDS.as_option()) == SEEDS
    assert Repeats.of_option(None) is None
    assert recorded(RunOptions(repeats=SEEDS)) == {"repeats": {"seed": [0, 1, 2]}}
    assert asked(RunOptions(repeats=SEEDS)) == {"repeats": {"seed": [0, 1, 2]}}


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


def test_a_repeated_run_is_its_pipeline_several_times_with_what_they_share_run_once(
    workspace: Workspace, folder: Path
) -> None:
    draft = studied.seeded.draft(folder=str(folder), x=0.5, workspace=workspace)
    run = workspace.start(draft.id, RunOptions(repeats=SEEDS))
    assert run.value == {"auc": pytest.approx(0.6), "x": 0.5}
    assert (folder / "prepared").read_text() == "once\n"
    assert (folder / "drawn").read_text().split("\n")[:-1] == ["0.5 0", "0.5 1", "0.5 2"]
    assert run.metrics["drawn.auc"] == pytest.approx(0.6)
    assert run.metrics["drawn.auc.std"] == run.metrics["auc.std"] == pytest.approx(0.1)
    assert run.metrics["drawn.auc.ci95"] == pytest.approx(Spread.of([0.5, 0.6, 0.7]).ci95)
    assert run.metrics["drawn.seed"] == 1
    inner = workspace.store.tasks.children(run.id)
    assert [task.params["seed"] for task in inner] == [0, 1, 2]
    assert {task.status for task in inner} == {Status.COMPLETED}


def test_the_first_repeat_that_fails_ends_the_run(workspace: Workspace, folder: Path) -> None:
    draft = studied.seeded.draft(folder=str(folder), x=-1.0, workspace=workspace)
    run = workspace.start(draft.id, RunOptions(repeats=Repeats("seed", (1, 2, 3))))
    assert run.status is Status.FAILED
    assert "seed 2 fails" in str(run.error)
    assert (folder / "drawn").read_text() == "-1.0 1\n"
    assert len(workspace.store.tasks.children(run.id)) == 2


def test_a_repeated_run_goes_on_after_an_interruption(workspace: Workspace, folder: Path) -> None:
    draft = studied.seeded.draft(folder=str(folder), x=-1.0, workspace=workspace)
    failed = workspace.start(draft.id, RunOptions(repeats=Repeats("seed", (1, 2, 3))))
    again = workspace.resume(failed.id)  # seed 2 fails again: what it repeats was kept with the run
    assert again.status is Status.FAILED
    assert (folder / "drawn").read_text() == "-1.0 1\n"
    options = asked_again(workspace.store, again.task, RunOptions())
    assert options.repeats == Repeats("seed", (1, 2, 3))


def test_what_waits_in_a_queue_keeps_its_repeats(workspace: Workspace, folder: Path) -> None:
    draft = studied.seeded.draft(folder=str(folder), workspace=workspace)
    workspace.enqueue(draft.id, options=RunOptions(repeats=SEEDS))
    entry = workspace.store.queues.entry(draft.id)
    assert entry is not None
    assert options_of(entry).repeats == SEEDS


def test_a_returned_number_has_a_mean_and_a_spread(workspace: Workspace) -> None:
    draft = studied.halved.draft(workspace=workspace)
    run: Run = workspace.start(draft.id, RunOptions(repeats=Repeats("x", (1.0, 3.0))))
    assert run.value == 1.0
    assert run.metrics["value.std"] == pytest.approx(math.sqrt(0.5))
