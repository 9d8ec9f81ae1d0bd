"""What every test gets: no setting of the person's own machine, and a home of its own when it asks for one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from hpo_pipelines.executors import ray_runtime

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("tests", deadline=None, max_examples=50)
hypothesis.settings.load_profile("tests")

FOREIGN = ("HPO_", "MLFLOW_", "RAY_")
"""Settings by these prefixes belong to the person who runs the tests, not to the tests."""


pytest_plugins = ("services", "containers")


@pytest.fixture(scope="session", autouse=True)
def _terminal() -> None:
    """Ctrl-C is heard as in a terminal, by what tests start too: who is started behind a shell's ``&`` ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _nobodys_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A test that forgets ``home`` still cannot write into the person's own home, nor meet their Ray or MLflow."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(FOREIGN)]:
            patch.delenv(name)
        path = tmp_path_factory.mktemp("nobodys")
        patch.setenv("HPO_HOME", str(path))
        # No mirror unless a test asks for it: importing MLflow costs its process 2.5 s of CPU.
        patch.setenv("MLFLOW_TRACKING_URI", "")
        yield path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A private, empty ``$HPO_HOME``; not for tests that use Ray in this process, which keeps one Ray for them all."""
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("HPO_HOME", str(path))
    before = ray_runtime._runtime
    yield path
    assert ray_runtime._runtime is before, "Ray was met below a private $HPO_HOME; use Workspace(home=...)"


@pytest.fixture
def tracked_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private ``$HPO_HOME`` whose runs are mirrored into an MLflow of its own."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    return home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder in which steps leave a file for each time they ran (:mod:`samples.sharing`)."""
    path = tmp_path / "ran"
    path.mkdir()
    return path
