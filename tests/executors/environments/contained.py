"""Components that run in an image with nothing but Python in it. Workers load this module from a snapshot."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hpo_pipelines import component, pipeline, report


class Broken(ValueError):
    """An exception class of the user's own."""


@component
def look_around(value: Any) -> dict[str, Any]:
    """Where it is; and say so, and report."""
    print("printed")
    os.write(2, b"written\n")
    subprocess.run([sys.executable, "-c", "print('child')"], check=True)
    report("size", float(len(value)))
    return {
        "value": value * 2,
        "python": sys.executable,
        "libraries": os.path.exists("/hpo/libraries/blake3"),
        "variable": os.environ.get("HPO_TEST_VARIABLE"),
        "packages": os.path.exists("/usr/lib/python3/site-packages"),
    }


@component
def fail() -> None:
    raise Broken("broken in there")


@component
def tiny() -> str:
    import tinything  # type: ignore[import-not-found]

    return str(tinything.VERSION)


@component
def whisper() -> int:
    print("it is", os.environ["HPO_TEST_TOKEN"])
    return len(os.environ["HPO_TEST_TOKEN"])


@component
def hold(marker: str) -> None:
    """Wait for long, with a child."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    Path(marker).write_text(str(child.pid))
    child.wait()


@component
def hold_on(marker: str) -> None:
    """Take no notice of an interrupt."""
    Path(marker).write_text("here")
    while True:
        try:
            time.sleep(300)
        except KeyboardInterrupt:
            continue


@component
def take_memory(megabytes: int) -> int:
    held = []
    for _ in range(megabytes // 10):
        held.append(b"x" * 10_000_000)
        time.sleep(0.01)
    return len(held)


@component
def die() -> None:
    print("last words", flush=True)
    os._exit(7)


@pipeline
def nothing() -> None:
    """Stands for this module when its snapshot is taken."""
