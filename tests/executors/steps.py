"""Components that the contract suite runs. Workers load this module from a snapshot."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from hpo_pipelines import component, pipeline, report


class Broken(ValueError):
    """An exception class of the user's own."""

    def __init__(self, code: int) -> None:
        super().__init__(f"broken with code {code}")
        self.code = code


class Brittle(Exception):
    """An exception that cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("brittle")
        self.lock = threading.Lock()


@component
def identity(x: Any) -> Any:
    return x


@component(outputs=("low", "high"))
def halves(n: int):  # type: ignore[no-untyped-def]
    return n // 2, n - n // 2


@component
def fail(code: int) -> None:
    raise Broken(code)


@component
def fail_brittle() -> None:
    raise Brittle


@component
def unstorable() -> Any:
    return threading.Lock()


@component
def leave(code: int) -> None:
    sys.exit(code)


@component
def reports(name: str, values: list[float], pause: float = 0.0) -> int:
    for value in values:
        report(name, value)
        time.sleep(pause)
    return len(values)


@component
def say(words: str) -> None:
    print(words)


@component
def say_in_every_way(tag: str) -> None:
    print(f"{tag} print")
    print(f"{tag} stderr", file=sys.stderr)
    os.write(1, f"{tag} write\n".encode())
    ctypes.CDLL(None).printf(f"{tag} printf\n".encode())
    ctypes.CDLL(None).fflush(None)
    subprocess.run(["sh", "-c", f"echo {tag} child; echo {tag} child-err >&2"], check=True)


@component
def say_and_wait(words: str, signal_file: str) -> None:
    print(words)
    _wait_for(signal_file)
    print("over")


@component
def say_much(lines: int) -> None:
    for number in range(lines):
        print(f"line {number:08d} {'x' * 80}")


@component
def spoil(array: np.ndarray) -> float:
    array *= 2
    return float(array.sum())


@component
def variable(name: str) -> str | None:
    return os.environ.get(name)


@component
def initial_variable(name: str) -> str | None:
    """What it was when this process began."""
    pairs = Path("/proc/self/environ").read_text().split("\0")
    return dict(pair.partition("=")[::2] for pair in pairs).get(name)


@component
def where() -> dict[str, Any]:
    return {"pid": os.getpid(), "folder": os.getcwd()}


@component
def wait(signal_file: str) -> str:
    """Sit in Python until the file is there."""
    _wait_for(signal_file)
    return "waited"


@component
def sleep(marker: str, seconds: float = 60.0) -> None:
    Path(marker).write_text(str(os.getpid()))
    time.sleep(seconds)


@component
def spin(marker: str) -> None:
    Path(marker).write_text(str(os.getpid()))
    while True:
        pass


@component
def tidy(marker: str, tidied: str) -> None:
    Path(marker).write_text(str(os.getpid()))
    try:
        time.sleep(60)
    finally:
        Path(tidied).write_text("tidied")


@component
def stubborn(marker: str) -> str:
    """Take no notice of an interrupt, and go on."""
    Path(marker).write_text(str(os.getpid()))
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            continue


@component
def swallow(marker: str) -> str:
    """Take an interrupt for a reason to return."""
    Path(marker).write_text(str(os.getpid()))
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted")
    return "half of it"


FAMILY = """
import json, os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
orphan = subprocess.Popen(["sh", "-c", "sleep 120 & echo $!"], stdout=subprocess.PIPE)
pids = [os.getpid(), child.pid, int(orphan.stdout.readline())]
with open(sys.argv[1] + ".part", "w") as file:
    json.dump(pids, file)
os.rename(sys.argv[1] + ".part", sys.argv[1])
time.sleep(120)
"""


@component
def family(marker: str) -> int:
    """Wait for a child that has a child and has left an orphan behind; ``marker`` gets their ids."""
    return subprocess.run([sys.executable, "-c", FAMILY, marker]).returncode


@component
def die(number: int, words: str = "") -> None:
    if words:
        print(words)
    os.kill(os.getpid(), number)
    time.sleep(60)


@component
def exit_hard(code: int) -> None:
    os._exit(code)


@component
def take_memory(megabytes: int) -> int:
    held = []
    for _ in range(megabytes // 10):
        held.append(b"x" * 10_000_000)
        time.sleep(0.01)
    return len(held)


@component
def child_takes_memory(megabytes: int) -> int:
    code = f"import time; held = b'x' * ({megabytes} * 10**6); time.sleep(60)"
    return subprocess.run([sys.executable, "-c", code]).returncode


@pipeline
def nothing() -> None:
    """Stands for this module when its snapshot is taken."""


def _wait_for(path: str) -> None:
    while not os.path.exists(path):
        time.sleep(0.01)
