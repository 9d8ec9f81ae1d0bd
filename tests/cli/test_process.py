"""``hpo`` as a process: exit codes, signals, pipes, and processes that look at each other's runs."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from cli.conftest import INTERRUPTED, Shell

pytestmark = pytest.mark.integration

PIPELINES = """
import os, subprocess, sys, time
from hpo_pipelines import component, pipeline

print("import print")
os.system("echo import child")

@component(cache=False)
def quick(x: int): return float("nan")

@component(cache=False)
def hold(gate: str):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open(gate + ".pids", "w").write(f"{os.getpid()} {child.pid} ")
    for count in range(100000):
        print("tick", count, flush=True)
        if os.path.exists(gate):
            child.kill()
            return count
        time.sleep(0.05)

@component(cache=False)
def dies(): os.kill(os.getpid(), 9)

@component(cache=False, timeout="200ms")
def slow(): time.sleep(60)

@pipeline
def loud(x: int = 1):
    print("body print"); os.system("echo body child"); os.write(1, b"raw\\n")
    return quick(x)

@pipeline
def holding(gate: str, x: float = 0.0):
    print("begun")
    return hold(gate)

@pipeline
def dying(): return dies()

@pipeline
def late(): return slow()
"""


@pytest.fixture
def there(shell: Shell) -> Shell:
    """A shell in a folder with ``pipes.py``."""
    (shell.folder / "pipes.py").write_text(PIPELINES)
    return shell


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition never came to hold"
        threading.Event().wait(0.02)
    return found


def pids(shell: Shell) -> list[int]:
    """Of the step ``hold`` and its child, once they run."""
    file = shell.folder / "gate.pids"
    return until(lambda: file.exists() and len(found := [int(pid) for pid in file.read_text().split()]) == 2 and found)  # type: ignore[no-any-return]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_exit_codes(there: Shell) -> None:
    codes = {
        ("run", "pipes.py:loud"): 0,
        ("run", "pipes.py:dying"): 11,
        ("run", "pipes.py:late"): 12,
        ("run", "pipes.py:nothing"): 19,
        ("run", "pipes.py:loud", "-P", "x=a"): 4,
        ("show", "nope#1"): 7,
        ("run",): 2,
    }
    assert {command: there(*command).code for command in codes} == codes


def test_json_alone_is_on_standard_output(there: Shell) -> None:
    run = there("run", "pipes.py:loud", "--json")
    assert run.document["outputs"]["value"]["preview"]["repr"] == "nan"
    for text in ("import print", "import child", "body print", "body child", "raw"):
        assert text in run.err.splitlines()
    clone = there("clone", "loud#1", "--json")  # loads the recorded code, whose module prints too
    assert clone.document["run"] == "loud#2"
    study = there("optimize", "pipes.py:loud", "-P", "x=int(1,3)", "-n", "2", "--json")
    assert (study.code, study.document["completed"]) == (10, 0)  # NaN is no value
    for command in (["ls"], ["show", "loud"], ["show", "loud/quick"], ["compare", "loud#1", "loud#2"], ["studies"]):
        assert there(*command, "--json").documents


@pytest.mark.parametrize("executor", ["local", "inline"])
def test_ctrl_c_aborts_the_run_and_its_processes(there: Shell, executor: str) -> None:
    options = ["-P", "gate=gate", "--executor", executor]
    running = there.start("run", "pipes.py:holding", *options, "--json")
    step, child = pids(there)
    running.send_signal(signal.SIGINT)
    if executor == "inline":
        psutil.Process(child).kill()  # inline, the step's children are the user's own
    code, out, err = ended(running)
    assert code in INTERRUPTED
    assert json.loads(out)["status"] == "aborted"
    assert "Traceback" not in err
    assert there("show", "holding#1", "--json").document["reason"] == "interrupted"
    until(lambda: gone(step) and gone(child))


def test_a_killed_driver_leaves_a_run_that_goes_on_where_it_was(there: Shell) -> None:
    killed = there.start("run", "pipes.py:holding", "-P", "gate=gate", "--executor", "local")
    step, child = pids(there)
    refused = there("resume", "holding#1")
    assert refused.code == 8
    assert "is being driven by the process" in refused.err
    killed.kill()
    ended(killed)
    until(lambda: gone(step) and gone(child))
    assert "running, abandoned" in there("ls").out
    assert "its driver is gone; hpo resume holding#1" in there("show", "holding#1").out
    assert there("show", "holding#1", "--json").document["abandoned"] is True
    (there.folder / "gate").touch()
    (there.folder / "pipes.py").unlink()  # its code is recorded
    resumed = there("resume", "holding#1", "--json")
    assert (resumed.code, resumed.document["status"], resumed.document["run"]) == (0, "completed", "holding#1")
    attempts = resumed.document["steps"][0]["attempts"]
    assert [attempt["status"] for attempt in attempts] == ["aborted", "completed"]
    assert there("resume", "holding#1").code == 8


def test_sigterm_aborts_the_run_too(there: Shell) -> None:
    running = there.start("run", "pipes.py:holding", "-P", "gate=gate")
    step, child = pids(there)
    running.terminate()
    code, _, err = ended(running)
    assert code == 143
    assert err.splitlines()[-1].startswith("holding#1  aborted")
    assert "SIGTERM" in (there("show", "holding#1", "--json").document["reason"] or "")
    until(lambda: gone(step) and gone(child))


def test_abort_from_another_process(there: Shell) -> None:
    running = there.start("run", "pipes.py:holding", "-P", "gate=gate")
    step, child = pids(there)
    aborted = there("abort", "holding")
    assert (aborted.code, aborted.out) == (0, "holding#1 is aborted\n")
    code, _, err = ended(running)
    assert code == 13
    assert "holding#1  aborted" in err
    until(lambda: gone(step) and gone(child))


def test_logs_follow_a_run_to_its_end(there: Shell) -> None:
    running = there.start("run", "pipes.py:holding", "-P", "gate=gate")
    pids(there)
    following = there.start("logs", "-f", "holding", "hold")
    assert following.stdout is not None
    lines = [following.stdout.readline() for _ in range(6)]  # while the step is running
    assert running.poll() is None
    (there.folder / "gate").touch()
    lines += following.stdout.readlines()
    code, _, err = ended(following)
    assert (code, err) == (0, "")
    ticks = [line for line in lines if line.startswith("tick")]
    assert ticks == [f"tick {count}\n" for count in range(len(ticks))]
    finished, _, _ = ended(running)
    assert finished == 0
    everything = there("logs", "holding").out.splitlines()
    assert everything[0] == "body | begun"
    assert f"hold | tick {len(ticks) - 1}" in everything


def test_ctrl_c_while_following_leaves_the_run_alone(there: Shell) -> None:
    running = there.start("run", "pipes.py:holding", "-P", "gate=gate")
    pids(there)
    following = there.start("logs", "-f", "holding")
    assert following.stdout is not None
    following.stdout.readline()
    following.send_signal(signal.SIGINT)
    code, _, err = ended(following)
    assert (code, err.strip()) == (130, "")
    (there.folder / "gate").touch()
    assert ended(running)[0] == 0


def test_readers_that_have_seen_enough(there: Shell) -> None:
    for _ in range(3):
        there("run", "pipes.py:loud")
    done = there.line("$HPO ls | head -1; echo ${PIPESTATUS[0]}")
    assert done.out.splitlines()[0].split()[0] == "run"
    assert done.err == ""
    gone = there.line("$HPO ls | true; echo ${PIPESTATUS[0]}; $HPO ls --json | true; echo ${PIPESTATUS[0]}")
    assert set(gone.out.split()) <= {"0", "141"}
    assert gone.err == ""


def test_streams_that_are_closed_or_full(there: Shell) -> None:
    there("run", "pipes.py:loud")
    assert there.line("$HPO ls >&-").code == 0
    assert there.line("$HPO run pipes.py:loud >&- 2>&-").code == 0
    assert there.line("$HPO run pipes.py:loud --json <&- 2>&-").document["run"] == "loud#3"
    if Path("/dev/full").exists():
        full = there.line("$HPO ls >/dev/full")
        assert full.code == 1
        assert "No space left" in full.err
        assert "Traceback" not in full.err


def test_letters_that_the_terminal_does_not_have(there: Shell) -> None:
    there("run", "pipes.py:loud")
    shown = there.line("PYTHONIOENCODING=ascii $HPO show loud")
    assert shown.code == 0
    assert "?? quick" in shown.out or "quick" in shown.out


def test_a_study_that_is_interrupted_can_be_resumed(there: Shell) -> None:
    arguments = ["optimize", "pipes.py:holding", "-P", "gate=gate", "-P", "x=uniform(0,1)", "-n", "3", "--name", "s"]
    running = there.start(*arguments)
    pids(there)
    running.send_signal(signal.SIGINT)
    (there.folder / "gate").touch()  # the trial that runs is let finish
    code, out, err = ended(running)
    assert code in INTERRUPTED
    assert "study s  aborted" in out
    assert "finishing what runs" in err
    resumed = there(*arguments, "--json")
    assert (resumed.code, resumed.document["trials"]) == (0, 3)
