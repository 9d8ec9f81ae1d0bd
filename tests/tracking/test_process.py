"""The mirror's own process: it never holds up its driver, and does not outlive it for long."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from hpo_pipelines.settings import Settings
from hpo_pipelines.store import Store
from hpo_pipelines.tracking import process
from hpo_pipelines.tracking.process import ChildProcess, Message, MirrorProcess, settings_from
from hpo_pipelines.types import Status

from .conftest import Call, Recorder, Shown

SOON = 120.0
"""Seconds for what takes a few on a machine that is not shared."""

DRIVER = """
import sys, time
from hpo_pipelines.settings import Settings
from hpo_pipelines.tracking import MirrorProcess
mirror = MirrorProcess(Settings.load(sys.argv[1]))
mirror.start()
print(mirror._child._process.pid, flush=True)
sys.stdin.read()
"""


def wait_for(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SOON
    pause = threading.Event()
    while not true():
        assert time.monotonic() < deadline, f"waited {SOON} s for {what}"
        pause.wait(0.05)


def pid_of(mirror: MirrorProcess) -> int:
    assert mirror._child is not None
    assert mirror._child._process is not None
    return mirror._child._process.pid


@pytest.fixture
def mirror(settings: Settings, store: Store) -> Iterator[MirrorProcess]:
    mirror = MirrorProcess(settings)
    yield mirror
    assert mirror.stop(SOON)


# -- without MLflow


def test_with_tracking_off_there_is_no_process(settings: Settings) -> None:
    mirror = MirrorProcess(replace(settings, tracking_uri=""))
    mirror.start()
    assert mirror.drain()
    assert mirror.problem() is None
    assert mirror.stop()


def test_before_its_start_there_is_nothing_to_wait_for(settings: Settings) -> None:
    mirror = MirrorProcess(settings)
    assert not mirror.drain()
    assert mirror.stop()


def test_settings_travel_whole_and_with_absolute_paths(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    relative = replace(settings, artifacts="mine", tracking_uri="sqlite:///mine.db", store="postgresql://u:p@h/db")
    assert settings_from(process._settings_record(relative)) == replace(
        relative, artifacts=str(tmp_path / "mine"), tracking_uri=f"sqlite:///{tmp_path / 'mine.db'}"
    )
    assert settings_from(process._settings_record(settings)) == settings


def test_a_child_that_keeps_crashing_is_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "RESTARTS", (0.0, 0.0))
    heard: list[Message] = []
    child = ChildProcess("nonsense", settings, heard.append)
    child.start()
    assert child.join(SOON)
    assert child.problem is not None
    assert child.problem.startswith("the nonsense process ended 3 times, last with code 1; see ")
    assert heard == [{"down": child.problem}]
    assert not child.alive
    assert not child.tell({"drain": 1, "timeout": 1.0})
    assert child.log.read_text().count("KeyError: 'nonsense'") == 3


def test_threads_that_start_it_at_once_start_one(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two mirrors of one driver would wait for each other."""
    monkeypatch.setattr(process, "RESTARTS", ())
    child = ChildProcess("nonsense", settings, lambda message: None)
    spawn, both = child._spawn, threading.Barrier(2)

    def spawned() -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.5)  # the other thread has the time to come here, too
            raise AssertionError("both threads start it")
        spawn()

    monkeypatch.setattr(child, "_spawn", spawned)
    threads = [threading.Thread(target=child.start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert both.broken
    assert child.join(SOON)
    assert child.log.read_text().count("KeyError: 'nonsense'") == 1


def test_a_long_log_makes_room(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_LOG_LIMIT", 10)
    child = ChildProcess("nonsense", settings, lambda message: None)
    child.log.parent.mkdir()
    child.log.write_text("much that was said before")
    child._open_log().close()
    assert child.log.read_text() == ""
    assert child.log.with_suffix(".log.1").read_text() == "much that was said before"


def test_a_child_that_is_told_to_leave_before_it_reads_anything(settings: Settings, store: Store) -> None:
    mirror = MirrorProcess(replace(settings, tracking_uri="http://127.0.0.1:1"))
    mirror.start()
    # Nothing has happened in this store, so there is nothing to wait for.
    assert mirror.stop(SOON)
    assert mirror.problem() is None


def test_a_folder_as_backend_is_a_problem_and_no_error(settings: Settings, store: Store) -> None:
    mirror = MirrorProcess(replace(settings, tracking_uri="./mlruns"))
    mirror.start()
    wait_for(lambda: mirror.problem() is not None, "the problem")
    assert "no longer in a folder" in str(mirror.problem())
    assert not mirror.drain()
    assert mirror.stop(SOON)


# -- with MLflow


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mirrors_beside_the_driver_and_survives_a_kill(mirror: MirrorProcess, recorder: Recorder, shown: Shown) -> None:
    began = time.monotonic()
    mirror.start()
    assert time.monotonic() - began < 1.0
    first = recorder.run([Call("fit", {"auc": [0.5]})])
    assert mirror.drain(SOON)
    assert shown.run(first).info.status == "FINISHED"
    running = psutil.Process(pid_of(mirror))
    assert running.nice() == 10
    assert "secret" not in " ".join(running.cmdline())
    os.kill(running.pid, signal.SIGKILL)
    second = recorder.run([Call("fit", {"auc": [0.6]})])
    wait_for(lambda: pid_of(mirror) != running.pid, "a new process")
    assert mirror.drain(SOON)
    assert shown.run(second).info.status == "FINISHED"
    assert len(shown.runs()) == 4
    assert mirror.problem() is None
    # What there is has been mirrored, so it ends at once.
    assert mirror.stop(10.0)


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_after_its_drivers_death_it_finishes_and_leaves(
    recorder: Recorder, settings: Settings, shown: Shown, store: Store
) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(settings.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    child = psutil.Process(int(driver.stdout.readline()))
    run = recorder.run([Call("fit", {"auc": [0.5]})])
    wait_for(lambda: any(found.data.tags.get("hpo.task") == run.id for found in shown.runs()), "the first run")
    later = [recorder.run([Call("fit", {"auc": [0.5]})]) for _ in range(3)]
    driver.kill()
    driver.communicate()
    died = time.monotonic()
    child.wait(SOON)
    assert time.monotonic() - died < 12.0
    for run in later:
        assert shown.run(run).info.status == "FINISHED"
    # It gave its lease back.
    assert store.leases.holder(f"follower:{process_follower(settings)}") is None


def process_follower(settings: Settings) -> str:
    from hpo_pipelines.tracking.backend import Backend

    return Backend.of(settings).follower


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_second_drivers_mirror_waits_for_the_first(
    mirror: MirrorProcess, recorder: Recorder, settings: Settings, shown: Shown
) -> None:
    mirror.start()
    recorder.run()
    assert mirror.drain(SOON)
    other = MirrorProcess(settings)
    other.start()
    began = time.monotonic()
    assert not other.drain(SOON)
    assert time.monotonic() - began < SOON / 2
    assert mirror.stop(SOON)
    run = recorder.run()
    wait_for(lambda: other.drain(1.0), "the second mirror")
    assert other.stop(SOON)
    assert shown.run(run).info.status == "FINISHED"
    assert len(shown.runs()) == 2


@pytest.mark.integration
def test_a_server_that_is_down_is_a_problem_and_holds_nothing_up(settings: Settings, recorder: Recorder) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        # Bound but not listening: every connection is refused.
        mirror = MirrorProcess(replace(settings, tracking_uri=f"http://127.0.0.1:{taken.getsockname()[1]}"))
        mirror.start()
        recorder.run(status=Status.FAILED)
        wait_for(lambda: mirror.problem() is not None, "the problem")
        assert f"127.0.0.1:{taken.getsockname()[1]} does not take our runs" in str(mirror.problem())
        assert not mirror.drain(0.2)
        began = time.monotonic()
        assert mirror.stop(SOON)
        assert time.monotonic() - began < 15.0
