"""A run that failed, was aborted or lost its driver goes on from its journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from samples import resuming
from samples.resuming import ran

from hpo_pipelines import Status, Workspace
from hpo_pipelines.engine import RunOptions
from hpo_pipelines.engine.journal import lease_of
from hpo_pipelines.errors import IllegalTransition, NonDeterministicBody, TaskNotFound
from hpo_pipelines.run import Run


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


def start(workspace: Workspace, pipeline: Any, folder: Path) -> Run:
    return pipeline.run(folder=str(folder), executor="inline", workspace=workspace)  # type: ignore[no-any-return]


def broken(folder: Path, name: str) -> Path:
    file = folder / f"break.{name}"
    file.touch()
    return file


def test_only_the_failure_that_ended_the_run_is_tried_again(workspace: Workspace, folder: Path) -> None:
    broken(folder, "b")
    cause = broken(folder, "c")
    failed = start(workspace, resuming.chain, folder)
    assert (failed.status, failed.reason) == (Status.FAILED, "step work.3 failed")
    cause.unlink()
    resumed = failed.resume()
    assert resumed.id == failed.id
    assert resumed.status is Status.COMPLETED
    # 1 + 3: the caught failure came back as what it was, with its attributes, though nothing here is reused.
    assert resumed.value == 4.0
    assert ran(folder) == ["a", "b", "c", "c"]
    assert [step.status for step in resumed.steps.values()] == ["completed", "failed", "completed"]
    assert [len(step.attempts) for step in resumed.steps.values()] == [1, 1, 2]
    assert resumed.metrics["bonus"] == 3.0
    assert len(workspace.store.metrics.of([resumed.id])) == 1  # reported once, though the body ran twice
    assert workspace.store.check() == []


def test_a_failure_that_nobody_looked_at_is_tried_again(workspace: Workspace, folder: Path) -> None:
    cause = broken(folder, "lost")
    failed = start(workspace, resuming.unseen, folder)
    assert failed.status is Status.FAILED
    assert failed.resume().status is Status.FAILED  # still broken: the same again
    cause.unlink()
    assert failed.refreshed().resume().status is Status.COMPLETED
    assert ran(folder) == ["lost", "kept", "lost", "lost"]


def test_resuming_is_repeatable_when_it_is_interrupted_before_it_did_anything(
    workspace: Workspace, folder: Path
) -> None:
    cause = broken(folder, "c")
    failed = start(workspace, resuming.chain, folder)
    cause.unlink()
    workspace.resumed(failed.task)  # and the driver dies
    workspace.engine.liveness.release(lease_of(failed.id))
    assert failed.refreshed().resume().value == 1.0
    assert ran(folder) == ["a", "b", "c", "c"]


def test_a_run_inside_a_run_goes_on_too(workspace: Workspace, folder: Path) -> None:
    broken(folder, "b")
    cause = broken(folder, "c")
    failed = start(workspace, resuming.outer, folder)
    assert failed.status is Status.FAILED
    with pytest.raises(IllegalTransition, match="inside another run"):
        inner = next(task for task in workspace.store.tasks.children(failed.id) if task.component is None)
        workspace.resume(inner.id)
    cause.unlink()
    last = broken(folder, "last")
    again = failed.resume()
    assert again.status is Status.FAILED
    last.unlink()
    resumed = again.resume()
    assert resumed.value == 4.0
    assert ran(folder) == ["a", "b", "c", "c", "last", "last"]
    children = workspace.store.tasks.children(resumed.id)
    assert [task.status for task in children] == ["completed", "completed"]


def test_an_aborted_run_goes_on(workspace: Workspace, folder: Path) -> None:
    broken(folder, "c")
    failed = start(workspace, resuming.chain, folder)
    # As `hpo abort` leaves it: everything that had not ended is aborted.
    workspace.store.tasks.transition(failed.id, Status.RUNNING)
    workspace.abort(failed.id)
    (folder / "break.c").unlink()
    workspace.store.tasks.transition(failed.steps["work.3"].id, Status.RUNNING)
    workspace.store.tasks.transition(failed.steps["work.3"].id, Status.ABORTED)
    assert failed.refreshed().resume().value == 1.0


def test_what_completed_never_started_or_is_driven_is_refused(workspace: Workspace, folder: Path) -> None:
    done = start(workspace, resuming.chain, folder)
    with pytest.raises(IllegalTransition, match=r"nothing to resume. `hpo rerun chain#1`"):
        done.resume()
    draft = resuming.chain.draft(folder=str(folder), workspace=workspace)
    with pytest.raises(IllegalTransition, match="is draft"):
        draft.resume()
    broken(folder, "c")
    failed = start(workspace, resuming.chain, folder)
    workspace.store.leases.claim(lease_of(failed.id), "elsewhere:1:2.00:x", 60.0)
    with pytest.raises(IllegalTransition, match="being driven by the process 1 on elsewhere"):
        failed.resume()
    assert failed.refreshed().status is Status.FAILED


def test_another_path_than_the_journals_is_an_error_that_names_the_first_step_that_differs(
    workspace: Workspace, folder: Path
) -> None:
    cause = broken(folder, "c")
    failed = start(workspace, resuming.wandering, folder)
    cause.unlink()
    (folder / "left").touch()
    again = failed.resume()
    assert again.status is Status.FAILED
    assert again.error is not None
    assert again.error["type"] == NonDeterministicBody.__name__
    assert [step.status for step in again.steps.values()] == ["completed", "completed", "failed"]  # as it was
    message = again.error["message"]
    assert "as call 2 its journal has work.2(name='right', value=work.value" in message
    assert "its body now calls work.2(name='left', value=work.value" in message
    assert "hpo resume wandering#1 --from work.2" in message
    chosen = again.resume(from_step="work.2")
    assert chosen.status is Status.COMPLETED
    assert ran(folder) == ["a", "right", "c", "left", "c"]
    assert workspace.store.check() == []


def test_a_body_that_ends_before_its_journal_does_is_an_error(workspace: Workspace, folder: Path) -> None:
    cause = broken(folder, "c")
    failed = start(workspace, resuming.wandering, folder)
    cause.unlink()
    assert failed.resume().status is Status.COMPLETED
    other = start(workspace, resuming.wandering, folder)
    # As if its driver had gone away after everything was done, before the run was closed.
    workspace.store.tasks.update(other.id, notes="")
    with workspace.store._database.transaction() as transaction:
        transaction.connection.exec_driver_sql(f"UPDATE hpo_tasks SET status = 'running' WHERE id = '{other.id}'")
    (folder / "short").touch()
    again = other.refreshed().resume()
    assert again.error is not None
    assert "its journal has work.3(name='c'" in again.error["message"]
    assert "now ends without calling it" in again.error["message"]


def test_an_unknown_step_to_resume_from_is_refused_and_changes_nothing(workspace: Workspace, folder: Path) -> None:
    broken(folder, "c")
    failed = start(workspace, resuming.chain, folder)
    with pytest.raises(TaskNotFound, match=r"no step 'nowhere' to resume from; it has work, work.2, work.3"):
        failed.resume(from_step="nowhere")
    assert failed.refreshed().status is Status.FAILED
    assert replace(failed.refreshed().task) == failed.task


def test_a_removed_artifact_makes_its_step_run_again(workspace: Workspace, folder: Path) -> None:
    cause = broken(folder, "score1")
    failed = start(workspace, resuming.twelve, folder)
    cause.unlink()
    step = failed.steps["halves"]
    gone = replace(next(iter(workspace.store.tasks.outputs(step.id).values())), digest="0" * 64, inline=None)
    workspace.store.tasks.set_outputs(step.id, {"low": gone, "high": gone})
    resumed = failed.resume()
    assert resumed.status is Status.COMPLETED
    assert ran(folder).count("split") == 2
    assert ran(folder).count("load") == 1


def test_no_reuse_neither_takes_nor_leaves_outcomes(workspace: Workspace, folder: Path) -> None:
    def run(*, reuse: bool) -> Run:
        draft = resuming.cached_off.draft(folder=str(folder), executor="inline", workspace=workspace)
        return workspace.start(draft.id, RunOptions(reuse=reuse))

    assert run(reuse=False).steps["shared"].reason == "reuse is off for this run"
    assert run(reuse=True).steps["shared"].reason == "never seen before"
    assert run(reuse=False).steps["shared"].reused_from is None
    assert run(reuse=True).steps["shared"].reused_from is not None
    assert ran(folder).count("a") == 3


def test_a_driver_that_was_taken_over_records_nothing_more(workspace: Workspace, folder: Path) -> None:
    """Its machine slept for longer than its lease; meanwhile another process resumed the run."""
    taken: list[str] = []

    def watch(component: str, metric: str, value: float, step: int) -> str | None:
        if not taken:
            (task,) = workspace.runs()
            taken.append(task.id)
            with workspace.store._database.transaction() as transaction:
                transaction.connection.exec_driver_sql("UPDATE hpo_leases SET owner = 'elsewhere:1:2.00:x'")
        return None

    draft = resuming.chain.draft(folder=str(folder), executor="inline", workspace=workspace)
    left = workspace.start(draft.id, RunOptions(watch=watch))
    assert left.status is Status.RUNNING  # whoever has it now says how it ends
    assert ran(folder) == ["a"]
    assert [step.status for step in left.steps.values()] == ["running"]
    assert workspace.store.leases.last(lease_of(left.id)).owner == "elsewhere:1:2.00:x"


def test_a_skipped_step_takes_an_outcome_that_was_recorded_meanwhile(workspace: Workspace, folder: Path) -> None:
    cause = broken(folder, "a")
    failed = start(workspace, resuming.below, folder)
    assert [step.status for step in failed.steps.values()] == ["failed", "skipped"]
    cause.unlink()
    twin = start(workspace, resuming.below, folder)
    resumed = failed.resume()
    assert (resumed.status, resumed.error, resumed.value) == (Status.COMPLETED, None, twin.value)
    assert resumed.steps["shared"].reused_from == twin.steps["shared"].id
    assert ran(folder) == ["a", "a", "b", "a"]


def test_from_a_step_runs_it_anew_although_its_outcome_is_recorded(workspace: Workspace, folder: Path) -> None:
    cause = broken(folder, "off")
    failed = start(workspace, resuming.cached_off, folder)
    cause.unlink()
    resumed = failed.resume(from_step="shared")
    assert resumed.status is Status.COMPLETED
    assert ran(folder) == ["a", "off", "a", "off"]
    assert resumed.steps["shared"].reused_from is None
    assert len(resumed.steps["shared"].attempts) == 2


def test_an_inner_body_that_failed_by_itself_is_run_again(workspace: Workspace, folder: Path) -> None:
    hiccup = folder / "hiccup"
    hiccup.touch()
    failed = start(workspace, resuming.around, folder)
    assert failed.status is Status.FAILED
    hiccup.unlink()
    resumed = failed.resume()
    assert (resumed.status, resumed.value) == (Status.COMPLETED, 1.0)
    assert ran(folder) == ["a"]


def test_a_caught_failure_is_not_tried_again_when_its_handlers_step_ended_the_run(
    workspace: Workspace, folder: Path
) -> None:
    broken(folder, "first")
    cause = broken(folder, "second")
    failed = start(workspace, resuming.handling, folder)
    (folder / "break.first").unlink()
    cause.unlink()
    resumed = failed.resume()
    assert (resumed.status, resumed.value) == (Status.COMPLETED, 2.0)
    assert ran(folder) == ["first", "second", "second"]


def test_an_inner_run_whose_failure_was_caught_is_not_run_again(workspace: Workspace, folder: Path) -> None:
    """Not even the step of it that was stopped when it failed."""
    cause = broken(folder, "after")
    failed = resuming.caught.run(folder=str(folder), executor="local", workspace=workspace)
    assert failed.status is Status.FAILED
    cause.unlink()
    resumed = failed.resume()
    assert (resumed.status, resumed.value) == (Status.COMPLETED, 3.0)
    assert sorted(ran(folder)) == ["after", "after", "beside", "hold"]
