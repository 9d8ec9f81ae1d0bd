"""A key is computed once, whoever asks for it: threads, trials, processes; and when its owner fails or goes away."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from engine.contract import eventually
from engine.going import Going, begun, executions, known_key
from samples import sharing

from hpo_pipelines import Float, Status, Workspace, optimize
from hpo_pipelines.engine import liveness
from hpo_pipelines.engine.flights import lease_of
from hpo_pipelines.run import Run
from hpo_pipelines.runstep import RunStep
from hpo_pipelines.task import CacheEntry

ELSEWHERE = "some-other-host:1:1.00:x"
"""The owner's name of a process of another machine: only time tells whether it is gone."""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("HPO_LOCAL_CPUS", "3")
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


# -- threads of one process


def test_a_step_that_another_run_computes_waits_says_for_whom_and_takes_all_of_the_outcome(
    workspace: Workspace, folder: Path
) -> None:
    first = Going(workspace, sharing.shared, folder=str(folder), x=1.0)
    begun(folder)
    second = Going(workspace, sharing.shared, folder=str(folder), x=2.0)
    assert second.wait_until_computed_elsewhere() == f"computing in {first.run.label}/prefix"
    (folder / "open").touch()
    one, two = first.end(), second.end()
    assert (one.value, two.value) == (101.0, 102.0)
    assert executions(folder) == 1
    waited = two.steps["prefix"]
    assert waited.reused_from == one.steps["prefix"].id
    assert waited.reason == f"computed meanwhile by {first.run.label}/prefix"
    assert waited.metrics == one.steps["prefix"].metrics == {"progress": 0.1}
    series = [(m.name, m.step, m.value) for m in workspace.store.metrics.of([waited.id])]
    assert series == [("progress", 0, 0.0), ("progress", 1, 0.1)]
    assert workspace.store.leases.holder(lease_of(str(waited.task.key))) is None


def test_the_owners_abort_lets_a_waiter_take_over(workspace: Workspace, folder: Path) -> None:
    first = Going(workspace, sharing.shared, executor="local", folder=str(folder), x=1.0)
    begun(folder)
    second = Going(workspace, sharing.shared, executor="local", folder=str(folder), x=2.0)
    third = Going(workspace, sharing.shared, executor="local", folder=str(folder), x=3.0)
    second.wait_until_computed_elsewhere()
    third.wait_until_computed_elsewhere()
    workspace.abort(first.run.id)
    begun(folder, count=2)
    (folder / "open").touch()
    assert first.end().status is Status.ABORTED
    assert {second.end().value, third.end().value} == {103.0, 104.0}
    assert executions(folder) == 2
    key = str(second.run.steps["prefix"].task.key)
    assert workspace.store.leases.holder(lease_of(key)) is None


@pytest.mark.parametrize("executor", ["inline", "local"])
def test_a_run_that_is_aborted_from_elsewhere_ends_with_all_of_its_steps(
    workspace: Workspace, folder: Path, executor: str
) -> None:
    aborted = Going(workspace, sharing.shared, executor=executor, folder=str(folder))
    begun(folder)
    with Workspace(home=workspace.home) as elsewhere:
        elsewhere.abort(aborted.run.id)
        waiter = Going(elsewhere, sharing.shared, folder=str(folder), x=2.0)
        (folder / "open").touch()
        ended = aborted.end()
        assert ended.status is Status.ABORTED
        assert not [step for step in ended.steps.values() if step.status is not Status.ABORTED]
        # An outcome of a run that was aborted is no outcome.
        assert waiter.end().value == 103.0
    assert workspace.store.check() == []


def test_a_waiter_can_be_aborted_and_the_others_go_on(workspace: Workspace, folder: Path) -> None:
    first = Going(workspace, sharing.shared, folder=str(folder), x=1.0)
    begun(folder)
    second = Going(workspace, sharing.shared, folder=str(folder), x=2.0)
    second.wait_until_computed_elsewhere()
    workspace.abort(second.run.id)
    assert second.end().status is Status.ABORTED
    (folder / "open").touch()
    assert first.end().value == 101.0
    assert executions(folder) == 1


def spans(folder: Path) -> list[tuple[float, float]]:
    """From when to when each execution of a stumbling step ran, in order."""
    lines = (folder / "spans").read_text().splitlines()
    return sorted((float(began), float(ended)) for began, ended in (line.split() for line in lines))


def one_at_a_time(folder: Path) -> bool:
    return all(ended <= began for (_, ended), (began, _) in itertools.pairwise(spans(folder)))


def test_each_waiter_tries_after_a_failure_one_after_the_other(workspace: Workspace, folder: Path) -> None:
    runs = [Going(workspace, sharing.stumbled, folder=str(folder), times=9) for _ in range(4)]
    begun(folder, "stumbling")
    (folder / "open").touch()
    ended = [run.end() for run in runs]
    assert [run.status for run in ended] == [Status.FAILED] * 4
    assert sorted(str((run.error or {})["message"]) for run in ended) == [f"execution {i}" for i in (1, 2, 3, 4)]
    assert one_at_a_time(folder)
    assert len(spans(folder)) == 4
    key = str(ended[0].steps["stumbling"].task.key)
    assert workspace.store.leases.holder(lease_of(key)) is None
    assert workspace.store.cache.lookup(key) is None


def test_the_first_waiter_that_succeeds_serves_the_rest(workspace: Workspace, folder: Path) -> None:
    runs = [Going(workspace, sharing.stumbled, folder=str(folder), times=1) for _ in range(4)]
    begun(folder, "stumbling")
    (folder / "open").touch()
    ended = [run.end() for run in runs]
    assert sorted(run.status for run in ended) == [Status.COMPLETED] * 3 + [Status.FAILED]
    assert {run.value for run in ended if run.status is Status.COMPLETED} == {1}
    assert executions(folder, "stumbling") == 2


def test_each_waiter_keeps_to_its_own_retry_policy(workspace: Workspace, folder: Path) -> None:
    owner = Going(workspace, sharing.hastily, folder=str(folder), times=3)
    begun(folder, "stumbling")
    patient = Going(workspace, sharing.patiently, folder=str(folder), times=3)
    patient.wait_until_computed_elsewhere("again")
    (folder / "open").touch()
    assert owner.end().status is Status.FAILED
    ended = patient.end()
    assert ended.value == 3
    assert [each.status for each in ended.steps["again"].attempts] == [Status.FAILED] * 2 + [Status.COMPLETED]


def test_an_owner_between_two_attempts_still_is_the_owner(workspace: Workspace, folder: Path) -> None:
    (folder / "open").touch()
    with Workspace(home=workspace.home) as elsewhere:
        owner = Going(workspace, sharing.patiently, folder=str(folder), times=1)
        eventually(lambda: "again in" in owner.reason("again"))
        waiter = Going(elsewhere, sharing.hastily, folder=str(folder), times=1)
        assert owner.end().value == waiter.end().value == 1
    assert executions(folder, "stumbling") == 2


# -- refresh and ttl


def test_a_refresh_runs_anew_and_its_outcome_replaces_the_older(workspace: Workspace, folder: Path) -> None:
    (folder / "open").touch()
    values = [Going(workspace, sharing.shared, folder=str(folder), refresh=True).end().value for _ in range(3)]
    assert values == [100.0, 101.0, 102.0]
    again = Going(workspace, sharing.shared, folder=str(folder)).end()
    assert again.value == 102.0
    assert executions(folder) == 3
    assert len(workspace.store.cache.list("prefix")) == 1


def test_two_refreshes_at_the_same_time_both_run_and_one_outcome_stays(workspace: Workspace, folder: Path) -> None:
    (folder / "open").touch()
    Going(workspace, sharing.shared, folder=str(folder)).end()
    (folder / "open").unlink()
    both = [Going(workspace, sharing.shared, folder=str(folder), refresh=True) for _ in range(2)]
    begun(folder, count=3)
    (folder / "open").touch()
    ended = [run.end() for run in both]
    assert all(run.status is Status.COMPLETED for run in ended)
    (entry,) = workspace.store.cache.list("prefix")
    assert entry.task in {run.steps["prefix"].id for run in ended}
    assert {run.value for run in ended} == {workspace.artifacts.get(entry.outputs["value"])}


def grow_old(workspace: Workspace, component: str) -> CacheEntry:
    """Two hours pass for the one outcome of ``component``."""
    (entry,) = workspace.store.cache.list(component)
    old = replace(entry, created_at=entry.created_at - 7200)
    assert workspace.store.cache.delete(entry.key)
    assert workspace.store.cache.record(old)
    return old


def test_an_outcome_past_its_ttl_is_computed_once_and_gives_way(workspace: Workspace, folder: Path) -> None:
    (folder / "open").touch()
    assert Going(workspace, sharing.aged, folder=str(folder)).end().value == 0
    old = grow_old(workspace, "aging")
    (folder / "open").unlink()
    with Workspace(home=workspace.home) as elsewhere:
        first = Going(workspace, sharing.aged, folder=str(folder))
        begun(folder, "aging", 2)
        others = [Going(where, sharing.aged, folder=str(folder)) for where in (workspace, elsewhere)]
        for other in others:
            # Not the old outcome, though it is there: that of the step that is on its way.
            assert other.wait_until_computed_elsewhere("aging") == f"computing in {first.run.label}/aging"
        (folder / "open").touch()
        assert first.end().value == 1
        assert "ttl" in str(first.run.steps["aging"].reason)
        assert [other.end().value for other in others] == [1, 1]
    later = Going(workspace, sharing.aged, folder=str(folder)).end()
    assert later.steps["aging"].reason == f"reused from {first.run.label}/aging"
    assert executions(folder, "aging") == 2
    (entry,) = workspace.store.cache.list("aging")
    assert entry.task != old.task


# -- other machines, whose processes only time tells to be gone


def test_the_lease_of_another_machine_is_waited_for_until_it_has_run_out(workspace: Workspace, folder: Path) -> None:
    entry = known_key(workspace, folder, sharing.shared, "prefix")
    leases, name = workspace.store.leases, lease_of(entry.key)
    assert leases.claim(name, ELSEWHERE, 0.8, "shared#99/prefix")
    lease = leases.holder(name)
    assert lease is not None
    waiter = Going(workspace, sharing.shared, folder=str(folder))
    assert waiter.wait_until_computed_elsewhere() == "computing in shared#99/prefix"
    ended = waiter.end()
    assert ended.value == 101.0
    assert float(ended.steps["prefix"].task.started_at or 0) >= lease.expires_at
    assert executions(folder) == 2


def test_the_outcome_of_another_machine_is_taken_as_soon_as_it_is_there(workspace: Workspace, folder: Path) -> None:
    entry = known_key(workspace, folder, sharing.shared, "prefix")
    workspace.store.leases.claim(lease_of(entry.key), ELSEWHERE, 60.0, "shared#99/prefix")
    waiter = Going(workspace, sharing.shared, folder=str(folder))
    waiter.wait_until_computed_elsewhere()
    assert workspace.store.cache.record(entry)
    ended = waiter.end()
    assert ended.value == 100.0
    assert ended.steps["prefix"].reused_from == entry.task
    assert executions(folder) == 1


def test_a_lost_lease_that_comes_back_takes_the_first_recorded_outcome(workspace: Workspace, folder: Path) -> None:
    entry = known_key(workspace, folder, sharing.shared, "prefix")
    (folder / "open").unlink()
    slow = Going(workspace, sharing.shared, executor="local", folder=str(folder), x=1.0)
    begun(folder, count=2)
    leases, name = workspace.store.leases, lease_of(entry.key)
    lease = leases.holder(name)
    assert lease is not None
    # What happens to a process that was asleep for longer than its lease, before it has looked around.
    ours = workspace.engine.liveness
    ours.close()
    ours._beaten -= liveness.LEASE_SECONDS
    leases.release(name, lease.owner)
    assert leases.claim(name, ELSEWHERE, 60.0)
    assert workspace.store.cache.record(entry)
    (folder / "open").touch()
    ended = slow.end()
    step = ended.steps["prefix"]
    assert step.outputs == {"value": 100}
    assert step.reason == "never seen before; dropped: another step's outcome was recorded first"
    assert ended.value == 101.0
    assert [each.task for each in workspace.store.cache.list("prefix")] == [entry.task]
    # Nor is the lease taken from whom it belongs to now.
    holder = leases.holder(name)
    assert holder is not None
    assert holder.owner == ELSEWHERE


# -- other processes


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> str | None:
    """The URL of a store that processes share; None for that of the home."""
    return None if request.param == "sqlite" else str(request.getfixturevalue("postgresql_database"))


@pytest.fixture
def both(store: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("HPO_LOCAL_CPUS", "2")
    with Workspace(store, home=tmp_path / "home") as opened:
        yield opened


Drive = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    """See :func:`samples.sharing.drive`; what still runs at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str, params: dict[str, Any], **options: Any) -> subprocess.Popen[str]:
        started.append(sharing.drive(tmp_path / "home", name, params, **options))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def told(driver: subprocess.Popen[str], workspace: Workspace) -> Run:
    """The run of another process, once it has ended."""
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 0, output
    found = workspace.get(json.loads(output.splitlines()[-1])["run"])
    assert isinstance(found, Run)
    return found


@pytest.mark.integration
def test_two_processes_compute_a_shared_step_once(
    both: Workspace, store: str | None, drive: Drive, folder: Path
) -> None:
    driver = drive("shared", {"folder": str(folder), "x": 1.0}, store=store)
    begun(folder)
    (owner,) = both.runs()
    waiter = Going(both, sharing.shared, executor="local", folder=str(folder), x=2.0)
    assert waiter.wait_until_computed_elsewhere() == f"computing in {owner.label}/prefix"
    (folder / "open").touch()
    first, second = told(driver, both), waiter.end()
    assert (first.value, second.value) == (101.0, 102.0)
    assert executions(folder) == 1
    assert second.steps["prefix"].reused_from == first.steps["prefix"].id
    assert second.steps["prefix"].metrics == {"progress": 0.1}
    assert both.store.check() == []


@pytest.mark.integration
def test_a_killed_owner_is_followed_at_once_and_its_workers_end(
    both: Workspace, store: str | None, drive: Drive, folder: Path
) -> None:
    driver = drive("shared", {"folder": str(folder), "x": 1.0}, store=store)
    begun(folder)
    workers = psutil.Process(driver.pid).children(recursive=True)
    waiter = Going(both, sharing.shared, executor="local", folder=str(folder), x=2.0)
    waiter.wait_until_computed_elsewhere()
    assert workers
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    killed = time.monotonic()
    begun(folder, count=2)
    assert time.monotonic() - killed < liveness.LEASE_SECONDS / 3
    eventually(lambda: not any(worker.is_running() for worker in workers))
    (folder / "open").touch()
    ended = waiter.end()
    assert ended.value == 103.0
    assert [entry.task for entry in both.store.cache.list("prefix")] == [ended.steps["prefix"].id]
    assert executions(folder) == 2
    assert both.store.check() == []


@pytest.mark.integration
def test_a_process_that_slept_longer_than_its_lease_gives_way_when_it_wakes(
    both: Workspace, store: str | None, drive: Drive, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(liveness, "BEAT_SECONDS", 0.3)
    driver = drive("shared", {"folder": str(folder), "x": 1.0}, store=store, lease=1.0, beat=0.3)
    begun(folder)
    waiter = Going(both, sharing.shared, executor="local", folder=str(folder), x=2.0)
    waiter.wait_until_computed_elsewhere()
    driver.send_signal(signal.SIGSTOP)
    try:
        begun(folder, count=2)
        (folder / "open").touch()
        taken = waiter.end()
    finally:
        driver.send_signal(signal.SIGCONT)
    woken = told(driver, both)
    assert taken.steps["prefix"].outputs == {"value": 101}
    assert taken.steps["prefix"].reason == "never seen before"
    assert woken.steps["prefix"].outputs == {"value": 101}
    assert "dropped: another step's outcome was recorded first" in str(woken.steps["prefix"].reason)
    assert (taken.value, woken.value) == (103.0, 102.0)
    assert [entry.task for entry in both.store.cache.list("prefix")] == [taken.steps["prefix"].id]
    assert both.store.check() == []


@pytest.mark.integration
def test_the_failure_of_another_process_lets_one_waiter_try_for_all(
    both: Workspace, store: str | None, drive: Drive, folder: Path
) -> None:
    driver = drive("stumbled", {"folder": str(folder), "times": 1}, store=store)
    begun(folder, "stumbling")
    waiters = [Going(both, sharing.stumbled, folder=str(folder), times=1) for _ in range(3)]
    for waiter in waiters:
        waiter.wait_until_computed_elsewhere("stumbling")
    (folder / "open").touch()
    assert told(driver, both).status is Status.FAILED
    assert [waiter.end().value for waiter in waiters] == [1, 1, 1]
    assert executions(folder, "stumbling") == 2
    assert one_at_a_time(folder)


@pytest.mark.integration
def test_a_run_of_another_process_that_is_aborted_lets_a_waiter_take_over(
    both: Workspace, store: str | None, drive: Drive, folder: Path
) -> None:
    driver = drive("shared", {"folder": str(folder), "x": 1.0}, store=store)
    begun(folder)
    (owner,) = both.runs()
    waiter = Going(both, sharing.shared, folder=str(folder), x=2.0)
    waiter.wait_until_computed_elsewhere()
    both.abort(owner.id)
    aborted = time.monotonic()
    begun(folder, count=2)
    assert time.monotonic() - aborted < liveness.LEASE_SECONDS / 3
    (folder / "open").touch()
    assert waiter.end().value == 103.0
    assert told(driver, both).status is Status.ABORTED


# -- a study


@pytest.mark.integration
def test_32_trials_at_a_time_compute_what_they_share_once(workspace: Workspace, folder: Path) -> None:
    space = {"x": Float(0, 1), "folder": str(folder)}
    options = {"n_trials": 32, "n_jobs": 32, "seed": 0, "executor": "local", "name": "sharing", "progress": False}
    study = threading.Thread(
        target=optimize, args=(sharing.shared, space), kwargs={**options, "workspace": workspace}, daemon=True
    )
    study.start()
    prefixes: list[RunStep] = []

    def all_there() -> bool:
        prefixes[:] = [step for run in workspace.runs() if (step := run.steps.get("prefix")) is not None]
        waiting = [step for step in prefixes if "computing in shared#" in (step.reason or "")]
        return len(waiting) == 31

    eventually(all_there, 60)
    (owner,) = [step for step in prefixes if step.status is Status.RUNNING]
    label = workspace.store.tasks.get(str(owner.task.parent)).label
    assert {step.reason for step in prefixes if step is not owner} == {f"computing in {label}/prefix"}
    assert all(step.status is Status.QUEUED for step in prefixes if step is not owner)
    (folder / "open").touch()
    study.join(60)
    assert not study.is_alive()
    assert executions(folder) == 1
    runs = workspace.runs()
    assert len(runs) == 32
    for run in runs:
        assert run.status is Status.COMPLETED
        x = run.params["x"]
        assert run.value == 100 + x
        assert run.metrics == {
            "prefix.progress": 0.1, "suffix.score": 100 + x,
        }  # fmt: skip
        step = run.steps["prefix"]
        assert step.outputs == {"value": 100}
        assert step.reused_from == (None if step.id == owner.id else owner.id)
    assert workspace.store.check() == []
