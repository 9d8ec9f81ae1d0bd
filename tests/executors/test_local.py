from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from executors import steps
from executors.bench import Bench, Heard
from executors.contract import ProcessContract, living
from services import wait_until

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.executors.base import Cancelled, Executor, Lost, Started
from hpo_pipelines.executors.local import LocalExecutor
from hpo_pipelines.types import Resources


class TestLocal(ProcessContract):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        local = LocalExecutor(cpus=2)
        yield local
        local.close()
        local.close()

    def test_a_worker_keeps_its_process(self, bench: Bench) -> None:
        first, second = (bench.run(steps.where)["pid"] for _ in range(2))
        assert first == second != os.getpid()

    def test_a_fresh_process_serves_other_code(self, bench: Bench, tmp_path: Path) -> None:
        other = Bench(bench.executor, tmp_path / "other", steps.nothing)
        other.digest = "another snapshot"
        pids = {bench.run(steps.where)["pid"], other.run(steps.where)["pid"]}
        assert len(pids) == 2

    def test_how_a_worker_died_is_said(self, bench: Bench) -> None:
        assert bench.submit(steps.die, 9).ended == Lost("its process was killed by signal 9 (Killed)")
        assert bench.submit(steps.exit_hard, 3).ended == Lost("its process exited with code 3")

    def test_what_a_dead_worker_leaves_behind_goes_too(self, bench: Bench) -> None:
        marker = bench.marker()
        heard = bench.submit(steps.family, str(marker))
        wait_until(marker.exists, "the family")
        pids = steps_pids(marker)
        os.kill(psutil.Process(pids[0]).ppid(), 9)
        assert isinstance(heard.ended, Lost)
        wait_until(lambda: living(pids) == [], "the family to be gone")

    def test_the_worker_says_why_it_could_not_start(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("hpo_pipelines.executors.local_process._BOOTSTRAP", "raise ValueError('no way')")
        local = LocalExecutor(cpus=1)
        own = Bench(local, bench.folder / "own", steps.nothing)
        end = own.submit(steps.identity, 1).ended
        assert isinstance(end, Lost)
        assert end.reason.startswith("its process exited with code 1: Traceback")
        assert end.reason.endswith("ValueError: no way")
        local.close()


def steps_pids(marker: Path) -> list[int]:
    from executors.bench import read_json

    return list(read_json(marker))


def test_no_process_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spawn() -> None:
        raise OSError("no more processes")

    local = LocalExecutor(cpus=2)
    bench = Bench(local, tmp_path, steps.nothing)
    go = bench.marker()
    first = bench.submit(steps.wait, str(go), resources=Resources(cpu=1.5))
    waiting = bench.submit(steps.identity, 1)
    other = Bench(local, tmp_path / "other", steps.nothing)
    monkeypatch.setattr("hpo_pipelines.executors.local.WorkerProcess", spawn)
    with pytest.raises(ConfigError, match="no worker process can be started for bench#1/identity: no more processes"):
        other.submit(steps.identity, 1, resources=Resources(cpu=0.5))
    os.kill(bench_worker(first), 9)
    assert isinstance(first.ended, Lost)
    assert waiting.ended == Lost("no worker process could be started: no more processes")
    local.close()


def bench_worker(heard: Heard) -> int:
    """The process that runs the step."""
    heard.wait(lambda: heard.messages, "the start")
    started = heard.messages[0]
    assert isinstance(started, Started)
    return int(started.worker.rpartition(":")[2])


def test_fractions_share_a_cpu(tmp_path: Path) -> None:
    local = LocalExecutor(cpus=1)
    bench = Bench(local, tmp_path, steps.nothing)
    go = bench.marker()
    pair = [bench.submit(steps.wait, str(go), resources=Resources(cpu=0.5)) for _ in range(2)]
    for heard in pair:
        heard.wait(lambda heard=heard: heard.messages, "the start")
    go.touch()
    assert [bench.value(heard) for heard in pair] == ["waited", "waited"]
    local.close()


def test_close_ends_what_runs_and_what_waits(tmp_path: Path) -> None:
    local = LocalExecutor(cpus=1)
    bench = Bench(local, tmp_path, steps.nothing)
    marker = bench.marker()
    running, waiting = bench.submit(steps.family, str(marker)), bench.submit(steps.identity, 1)
    wait_until(marker.exists, "the family")
    before = [thread for thread in threading.enumerate() if thread.name == "hpo-local"]
    pids = [child.pid for child in psutil.Process().children(recursive=True)]
    local.close()
    assert running.ended == waiting.ended == Cancelled()
    assert waiting.messages == [Cancelled()]
    assert living(pids) == []
    assert not set(before) & set(threading.enumerate())
    with pytest.raises(ConfigError, match="closed"):
        bench.submit(steps.identity, 1)
    local.cancel("anybody.1")


def test_a_listener_may_submit_cancel_and_close(tmp_path: Path) -> None:
    local = LocalExecutor(cpus=1)
    bench = Bench(local, tmp_path, steps.nothing)
    first, second = bench.assignment(steps.identity, 1), bench.assignment(steps.sleep, str(bench.marker()))
    told: list[str] = []
    done = threading.Event()

    def listen(assignment: object, message: object) -> None:
        told.append(f"{'first' if assignment is first else 'second'} {type(message).__name__}")
        if told[-1] == "first Completed":
            local.submit(second, listen)
            local.cancel(second.id)
        if told[-1] == "second Cancelled":
            local.close()
            done.set()

    local.submit(first, listen)
    assert done.wait(30)
    assert told == ["first Started", "first Completed", "second Started", "second Cancelled"]
    wait_until(lambda: all(t.name != "hpo-local" for t in threading.enumerate()), "the thread to end")


@pytest.mark.parametrize("value", ["many", "0", "-1"])
def test_an_impossible_number_of_cpus(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HPO_LOCAL_CPUS", value)
    with pytest.raises(ConfigError, match=f"HPO_LOCAL_CPUS='{value}'"):
        LocalExecutor()


def test_the_number_of_cpus_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_LOCAL_CPUS", "1.5")
    local = LocalExecutor()
    assert local.cpus == 1.5
    local.close()


DRIVER = """
import os, sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from executors import steps
from executors.bench import Bench, Heard
from hpo_pipelines.executors.local import LocalExecutor

folder = Path(sys.argv[1])
bench = Bench(LocalExecutor(cpus=1), folder, steps.nothing)
bench.submit(steps.family, str(folder / "marker"))
while not (folder / "marker").exists():
    pass
os.kill(os.getpid(), 9)
"""


@pytest.mark.integration
def test_nothing_outlives_a_killed_driver(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DRIVER, str(tmp_path), *sys.path], check=False, timeout=60)
    pids = steps_pids(tmp_path / "marker")
    wait_until(lambda: living(pids) == [], "the family to be gone", 10)


def test_it_is_ready_at_once(tmp_path: Path) -> None:
    begun = time.perf_counter()
    local = LocalExecutor()
    assert time.perf_counter() - begun < 0.5
    assert Bench(local, tmp_path, steps.nothing).run(steps.identity, 1) == 1
    local.close()
