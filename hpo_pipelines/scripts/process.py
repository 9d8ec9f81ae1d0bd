"""Running a command: its console is the step's, and with the step end all of its processes."""

from __future__ import annotations

import codecs
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from hpo_pipelines.errors import CommandFailed

_LAST_LINES = 20


def run(words: Sequence[str], folder: Path, name: str) -> None:
    """Run ``words`` in ``folder`` to the end; what it prints is printed here, as it comes.

    Raises CommandFailed, with its last lines, for an exit code other than 0 and for a program that is not there.
    However this is left, no process of the command's group is.
    """
    try:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,  # and not a session: what kills a worker looks for its session, too
        )
    except OSError as error:
        raise CommandFailed(f"{name} cannot be run: {words[0]}: {error.strerror or error}.") from None
    assert process.stdout is not None, "piped"
    last = _Tail()
    waiting = threading.Thread(target=_wait, args=(process,), name="hpo-command", daemon=True)
    waiting.start()
    try:
        while data := os.read(process.stdout.fileno(), 65536):
            last.print(data)
        waiting.join()  # it may have closed its console and go on
    finally:
        _kill(process)
        waiting.join()
        process.stdout.close()
        last.print(b"", final=True)
    if process.returncode != 0:
        raise CommandFailed(f"{name} {_ended(process.returncode)}: {shlex.join(words):.500}{last.shown()}")


def _wait(process: subprocess.Popen[bytes]) -> None:
    """When the command itself has ended, so have its children: one that holds its console would keep it open."""
    process.wait()
    _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _environment() -> dict[str, str]:
    """Ours, with ``python`` the Python that runs this, and what a script prints there at once."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


class _Tail:
    """Prints what comes, and keeps the last lines."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._open = ""

    def print(self, data: bytes, *, final: bool = False) -> None:
        text = self._decoder.decode(data, final)
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()
        *lines, self._open = (self._open + text).split("\n")
        self._open = self._open[-4000:]
        self._lines.extend(line[-500:] for line in lines)

    def shown(self) -> str:
        lines = [*self._lines, *([self._open] if self._open else [])][-_LAST_LINES:]
        return "".join(f"\n  {line.rstrip()}" for line in lines)
