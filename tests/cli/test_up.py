from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from hpo_pipelines.server.launch import HOST, PORT


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
def test_the_command_of_the_readme_starts_what_it_says(home: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    command = re.search(r"^    hpo (up\b.*?) +# pages, .*: (\S+)$", readme, re.MULTILINE)
    assert command is not None, "README.md no longer says how the pages are opened"
    assert command[2] == f"http://{HOST}:{PORT}"
    process = subprocess.Popen(
        [sys.executable, "-m", "hpo_pipelines", *shlex.split(command[1]), "--port", "0"],
        env={**os.environ, "HPO_HOME": str(home), "BROWSER": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.readline().split()
    assert said[0] == "Pages", process.communicate(timeout=60)
    with urllib.request.urlopen(said[1]) as answer:
        assert answer.url.endswith("/pipelines"), "page 1"
        assert "No pipeline yet" in answer.read().decode()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == "Ctrl-C ends it.\n"
    assert process.returncode == 0


@pytest.mark.integration
def test_it_says_where_mlflow_is_when_that_is_elsewhere(home: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hpo_pipelines", "up", "--no-open", "--port", "0"],
        env={**os.environ, "HPO_HOME": str(home), "MLFLOW_TRACKING_URI": "http://me:secret@127.0.0.1:9/shown"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert said[2] == "MLflow  http://127.0.0.1:9/shown\n"


@pytest.mark.integration
def test_a_port_that_is_taken_is_refused_with_the_cure(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = up(home, "--port", str(taken.getsockname()[1]))
        _, err = process.communicate(timeout=60)
    assert process.returncode == 19
    assert "--port" in err
