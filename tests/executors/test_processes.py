from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from executors.contract import living
from services import wait_until

from hpo_pipelines.executors import processes
from hpo_pipelines.executors.processes import Watchdog

TREE = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
orphan = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!"], stdout=subprocess.PIPE)
print(os.getpid(), child.pid, int(orphan.stdout.readline()), flush=True)
ended = subprocess.Popen(["true"])
time.sleep(60)
"""

PROC = [pytest.param(True, marks=pytest.mark.skipif(not processes._PROC, reason="no /proc")), False]


@pytest.fixture
def tree() -> Iterator[list[int]]:
    """A process, its child, its orphaned grandchild (not below it, unless somebody adopts it), one that has ended."""
    root = subprocess.Popen([sys.executable, "-c", TREE], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert root.stdout is not None
    yield [int(pid) for pid in root.stdout.readline().split()]
    processes.kill_tree(root.pid)
    processes.kill_session(root.pid)
    root.wait()
    root.stdout.close()


@pytest.mark.parametrize("proc", PROC)
def test_descendants_are_the_living_ones(tree: list[int], monkeypatch: pytest.MonkeyPatch, proc: bool) -> None:
    monkeypatch.setattr(processes, "_PROC", proc)
    root, child, _ = tree
    wait_until(lambda: processes.descendants(root) == [child], "the one that has ended to be left out")
    assert set(tree) - {tree[2]} <= set(processes.descendants(os.getpid()))
    assert processes.descendants(2**22 + 1) == []


@pytest.mark.parametrize("proc", PROC)
def test_memory_is_that_of_the_tree(tree: list[int], monkeypatch: pytest.MonkeyPatch, proc: bool) -> None:
    monkeypatch.setattr(processes, "_PROC", proc)
    root, child, _ = tree
    one, both = processes.memory_of_tree(child), processes.memory_of_tree(root)
    assert 1e6 < one < both
    assert processes.memory_of_tree(2**22 + 1) == 0


@pytest.mark.skipif(not processes._PROC, reason="no /proc")
def test_pages_that_forks_share_count_once_where_it_matters() -> None:
    code = (
        "import os, sys, time; held = b'x' * 100_000_000\n"
        "forks = [os.fork() for _ in range(2)]\n"
        "print(os.getpid(), flush=True) if 0 not in forks else None\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as root:
        assert root.stdout is not None
        root.stdout.readline()
        wait_until(lambda: len(processes.descendants(root.pid)) == 3, "the forks")
        assert processes.memory_of_tree(root.pid) > 350e6
        assert processes.memory_of_tree(root.pid, enough=2**40) > 350e6
        assert processes.memory_of_tree(root.pid, enough=200_000_000) < 200e6
        processes.kill_tree(root.pid)


def test_kill_tree(tree: list[int]) -> None:
    processes.kill_tree(tree[0])
    wait_until(lambda: living(tree[:2]) == [], "the tree to be gone")
    processes.kill_tree(2**22 + 1)


def test_kill_session_finds_the_orphans(tree: list[int]) -> None:
    os.kill(tree[0], signal.SIGKILL)
    processes.kill_session(tree[0])
    wait_until(lambda: living(tree) == [], "the session to be gone")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux adopts orphans")
def test_who_adopts_orphans_has_them_below() -> None:
    code = (
        "import subprocess; from hpo_pipelines.executors import processes; import os\n"
        "processes.adopt_orphans()\n"
        "pid = int(subprocess.check_output(['sh', '-c', 'sleep 60 >&2 & echo $!']))\n"
        "assert processes.descendants(os.getpid()) == [pid], pid\n"
        "processes.kill_children(os.getpid())\n"
        "assert processes.descendants(os.getpid()) == []\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


class TestWatchdog:
    def test_past_the_timeout(self) -> None:
        ended: list[str | None] = []
        told = threading.Event()

        def end(reason: str | None) -> None:
            ended.append(reason)
            told.set()

        with Watchdog(None, 0.05, end):
            assert told.wait(10)
        assert ended == [None]

    def test_a_time_that_waits_to_begin(self) -> None:
        told = threading.Event()
        with Watchdog(None, 0.05, lambda reason: told.set(), waits=True) as watchdog:
            assert not told.wait(0.3)
            watchdog.begin()
            assert told.wait(10)

    def test_a_time_that_never_began(self) -> None:
        ended: list[str | None] = []
        with Watchdog(None, 0.0, ended.append, waits=True):
            pass
        assert ended == []

    def test_past_the_memory(self) -> None:
        ended: list[str | None] = []
        told = threading.Event()

        def end(reason: str | None) -> None:
            ended.append(reason)
            told.set()

        with Watchdog(1_000_000, None, end):
            assert told.wait(10)
        assert len(ended) == 1
        assert ended[0] is not None
        assert ended[0].startswith("out of memory: used ")
        assert ended[0].endswith(" of 1 MB")

    @pytest.mark.parametrize(("memory", "timeout"), [(None, None), (10**15, None), (None, 60.0), (10**15, 60.0)])
    def test_within_the_limits(self, memory: int | None, timeout: float | None) -> None:
        ended: list[str | None] = []
        with Watchdog(memory, timeout, ended.append):
            names = {thread.name for thread in threading.enumerate()}
        assert ("hpo-watchdog" in names) == (memory is not None or timeout is not None)
        assert ended == []
        assert all(thread.name != "hpo-watchdog" for thread in threading.enumerate())


def test_amounts_are_written_for_people() -> None:
    assert processes._amount(7_900_000_000) == "7.9 GB"
    assert processes._amount(123_400_000) == "123 MB"
