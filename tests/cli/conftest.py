"""``hpo`` called in this process, for speed, and as a process of its own, for what only a process has."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hpo_pipelines.cli import main

INTERRUPTED = (130, -signal.SIGINT)
"""How ``python -m hpo_pipelines`` ends after a Ctrl-C, in a shell both are 130. Python lets itself be killed, whatever
exit code it was given, where the interrupt came while text was executed, as for each dataclass that is imported."""

BODIES = str(Path(__file__).parents[1] / "samples" / "bodies.py")


@dataclass(frozen=True)
class Ended:
    """How a call of ``hpo`` ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[Any]:
        """Standard output as one JSON document a line; refuses what JSON does not know (NaN)."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        return [json.loads(line, parse_constant=refuse) for line in self.out.splitlines()]

    @property
    def document(self) -> Any:
        (only,) = self.documents
        return only


Hpo = Callable[..., Ended]


@pytest.fixture
def hpo(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Hpo:
    """``hpo`` in this process, with steps inline; its home is that of the test's ``home`` or ``recorded``."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setenv("HPO_EXECUTOR", "inline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")

    def call(*arguments: str) -> Ended:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        written = capfd.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Ended(code, written.out, written.err)

    return call


@contextmanager
def _without_mlflow() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "")
        yield


@pytest.fixture(scope="session")
def _recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a few runs in it, made once."""
    from samples import bodies

    from hpo_pipelines import Workspace, optimize

    path = tmp_path_factory.mktemp("recorded")
    with _without_mlflow(), Workspace(home=path) as place:
        bodies.simple.run(x=1, y=2, executor="inline", workspace=place, tags=["first"])
        bodies.simple.run(x=1, y=3, executor="inline", workspace=place)
        bodies.training.run(x=1, executor="inline", workspace=place)
        bodies.refusing.run(x=3, executor="inline", workspace=place)
        bodies.outer.run(x=4, executor="inline", workspace=place)
        bodies.loud.run(x=5, executor="inline", workspace=place)
        optimize(
            bodies.simple, {"x": [1, 2, 3]}, n_trials=3, seed=0, name="xs", executor="inline", workspace=place,
            progress=False,
        )  # fmt: skip
    return path


@pytest.fixture
def recorded(_recorded: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``$HPO_HOME`` with simple#1 and #2, training#1, refusing#1, outer#1 (around simple#3), loud#1, and the study xs.

    The study's trials are simple#4 to #6. Shared: whoever writes into it takes ``home``.
    """
    monkeypatch.setenv("HPO_HOME", str(_recorded))
    return _recorded


@dataclass(frozen=True)
class Shell:
    """Starts ``hpo`` as a process."""

    environment: dict[str, str]
    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __call__(self, *arguments: str) -> Ended:
        done = subprocess.run(
            [*HPO, *arguments], env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=120
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """``hpo`` running, its standard output and error in pipes; killed when the test ends before it."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        started = subprocess.Popen([*HPO, *arguments], env=self.environment, cwd=self.folder, text=True, **pipes)
        self.started.append(started)
        return started

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=60)

    def line(self, command: str) -> Ended:
        """A line of shell in which ``hpo`` is ``$HPO``."""
        done = subprocess.run(
            ["bash", "-c", command], env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=120
        )
        return Ended(done.returncode, done.stdout, done.stderr)


HPO = [sys.executable, "-m", "hpo_pipelines"]


@pytest.fixture
def shell(home: Path, tmp_path: Path) -> Iterator[Shell]:
    """``hpo`` as a process, in an empty folder and home."""
    folder = tmp_path / "folder"
    folder.mkdir()
    environment = {**os.environ, "HPO_HOME": str(home), "HPO": " ".join(HPO), "MLFLOW_TRACKING_URI": ""}
    made = Shell({**environment, "PYTHONPATH": str(Path(__file__).parents[2])}, folder)
    yield made
    made.close()
