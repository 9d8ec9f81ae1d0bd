"""``hpo up`` in a process of its own, for tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Served:
    """A running ``hpo up`` and the home that it serves."""

    url: str
    home: Path
    process: subprocess.Popen[str]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def start(home: Path, *options: str, port: int = 0) -> Served:
    """``hpo up`` for ``home``, listening."""
    command = [sys.executable, "-m", "hpo_pipelines", "up", "--no-open", "--json", "--port", str(port), *options]
    root = Path(__file__).resolve().parents[1]
    paths = os.pathsep.join([str(root), str(root / "tests")])
    with (home / "up.log").open("a") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, "HPO_HOME": str(home), "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    said = process.stdout.readline()
    process.stdout.close()
    assert said, f"hpo up ended: {(home / 'up.log').read_text()}"
    return Served(json.loads(said)["url"], home, process)
