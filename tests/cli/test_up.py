from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest


def up(home: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hpo_pipelines", "up", "--no-open", "--no-mlflow", *options],
        env={**os.environ, "HPO_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.integration
def test_it_says_what_to_open_and_ends_with_ctrl_c(home: Path) -> None:
    process = up(home, "--port", "0", "--json")
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    with urllib.request.urlopen(f"{said['api']}/pipelines") as answer:
        assert json.load(answer) == {"items": []}
    with urllib.request.urlopen(said["url"]) as answer:
        assert "No pipeline yet" in answer.read().decode()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, ""), err


@pytest.mark.integration
def test_a_port_that_is_taken_is_refused_with_the_cure(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = up(home, "--port", str(taken.getsockname()[1]))
        _, err = process.communicate(timeout=60)
    assert process.returncode == 19
    assert "--port" in err
