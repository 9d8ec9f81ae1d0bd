"""Standard output kept for JSON, and a polite end."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading

import pytest

from hpo_pipelines.cli.streams import Terminated, ending_politely, reserved_stdout

SCRIPT = """
import os, subprocess, sys
from hpo_pipelines.cli.streams import reserved_stdout
print("before")
with reserved_stdout() as ours:
    print("from Python")
    os.write(1, b"from C\\n")
    subprocess.run(["echo", "from a child"])
    ours.write("ours\\n")
    ours.flush()
    print("unflushed")
print("after")
"""


@pytest.mark.parametrize("closed", [False, True])
def test_what_others_write_goes_to_standard_error(closed: bool) -> None:
    command = [sys.executable, "-c", SCRIPT]
    if closed:
        command = ["bash", "-c", 'exec "$@" 2>&-', "bash", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "before\nours\nafter\n"
    assert sorted(done.stderr.splitlines()) == (
        [] if closed else ["from C", "from Python", "from a child", "unflushed"]
    )


def test_a_replaced_stdout_is_reserved_too(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with reserved_stdout() as ours:
        print("theirs")
        ours.write("ours")
    print("after")
    assert (out.getvalue(), err.getvalue()) == ("oursafter\n", "theirs\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_that_ask_to_end_raise(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Terminated, match=number.name), ending_politely():
        os.kill(os.getpid(), number)
        threading.Event().wait(5)
    assert signal.getsignal(number) == before


def test_other_threads_cannot_ask_for_signals() -> None:
    seen: list[object] = []

    def elsewhere() -> None:
        with ending_politely():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
