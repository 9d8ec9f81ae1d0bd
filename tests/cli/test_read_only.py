"""A home that may be read and not written: what only looks works, what writes says what is to be done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli.conftest import Ended
from services import missing

from hpo_pipelines import Workspace

pytestmark = pytest.mark.integration

Read = Callable[..., Ended]
LEAVES_A_LOG = """
import os, sys
from hpo_pipelines import Workspace
workspace = Workspace(home=sys.argv[1])
workspace.runs(limit=1)[0].annotate(notes="only in the log")
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def home(recorded: Path) -> Iterator[Path]:
    yield recorded
    for folder, _, _ in os.walk(recorded):
        os.chmod(folder, 0o700)


@contextmanager
def write_protected(home: Path) -> Iterator[None]:
    modes = {path: path.stat().st_mode for path in (home, *home.rglob("*"))}
    for path, mode in modes.items():
        os.chmod(path, mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            os.chmod(path, mode)


@pytest.fixture
def read(home: Path) -> Read:
    """``hpo`` as somebody whom the permissions of files bind; root has to give up what sets it above them."""
    unprivileged: list[str] = []
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            missing("setpriv, without which root is not bound by permissions,", "apt-get install util-linux.")
        unprivileged = [setpriv, "--bounding-set=-all", "--inh-caps=-all"]
    environment = {**os.environ, "HPO_HOME": str(home), "MLFLOW_TRACKING_URI": "", "HPO_EXECUTOR": "inline"}

    def call(*arguments: str) -> Ended:
        command = [*unprivileged, sys.executable, "-m", "hpo_pipelines", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        return Ended(done.returncode, done.stdout, done.stderr)

    return call


def label(home: Path) -> str:
    with Workspace(home=home) as workspace:
        return next(run.label for run in workspace.runs() if run.steps)


def test_what_only_looks_works(home: Path, read: Read) -> None:
    run = label(home)
    with write_protected(home):
        for command in (
            ["ls"],
            ["show", run],
            ["why", run],
            ["plan", run],
            ["logs", run],
            ["studies"],
            ["cache", "ls"],
        ):
            ended = read(*command)
            assert (ended.code, ended.err.count("error")) == (0, 0), (command, ended.err)
        refused = read("rerun", run)
        assert refused.code != 0
        assert "It can be read, not written. Give this user the right to write the file and its folder." in refused.err
        assert "Traceback" not in refused.err
    assert sorted(path.name for path in home.iterdir() if path.name.startswith("store.db")) == ["store.db"]


def test_what_is_still_in_the_log_is_seen(home: Path, read: Read) -> None:
    left = subprocess.run([sys.executable, "-c", LEAVES_A_LOG, str(home)], check=False)
    assert left.returncode == -signal.SIGKILL
    run = label_of_latest(home, read)
    with write_protected(home):
        assert "only in the log" in read("show", run).out
        (shared,) = (path for path in home.iterdir() if path.name == "store.db-shm")
    shared.unlink()
    with write_protected(home):
        ended = read("ls")
        assert ended.code != 0
        assert "is opened once where that may be written" in ended.err


def label_of_latest(home: Path, read: Read) -> str:
    """Without opening the store in a way that would move its log into the file."""
    with write_protected(home):
        return str(read("ls", "--json", "-n", "1").documents[0]["run"])
