"""A user's project in a folder of its own, imported here, and worker processes that know nothing of that folder."""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import hpo_pipelines

ROOT = Path(hpo_pipelines.__file__).parents[1]

WORKER = """
import pickle, sys
from hpo_pipelines.snapshot import install
with open(sys.argv[1], "rb") as file:
    content, script, inputs = pickle.load(file)
names = {"code": None if content is None else install(content), "inputs": inputs, "outputs": {}}
exec(compile(script, "<worker>", "exec"), names)
with open(sys.argv[2], "wb") as file:
    pickle.dump(names["outputs"], file)
"""


@dataclass
class Project:
    """A folder with a user's modules."""

    folder: Path

    def write(self, **files: str) -> None:
        """Write modules; ``__`` in a name stands for a folder: ``pkg__init`` is ``pkg/__init__.py``."""
        for name, text in files.items():
            parts = name.split("__")
            path = self.folder.joinpath(*parts[:-1], "__init__.py" if parts[-1] == "init" else f"{parts[-1]}.py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        importlib.invalidate_caches()

    def module(self, name: str) -> ModuleType:
        return importlib.import_module(name)

    def forget(self) -> None:
        """Leave this process as if none of the project's modules had been imported."""
        here = str(self.folder)
        for name, module in list(sys.modules.items()):
            origin = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")
            if type(name) is str and str(origin).startswith(here):
                del sys.modules[name]

    def python(self, script: str, *args: str, seed: str = "0", path: Path | None = None) -> str:
        """Run ``script`` (a file's text) in a new process that can import the project; returns what it prints."""
        file = (path or self.folder) / "script.py"
        file.write_text(textwrap.dedent(script))
        return _run([str(file), *args], [ROOT, path or self.folder], seed)

    def worker(self, content: bytes | None, script: str, **inputs: Any) -> dict[str, Any]:
        """Run ``script`` in a new process that serves ``content`` and cannot import the project.

        It sees ``code`` and ``inputs``, and fills ``outputs`` with plain values.
        """
        told, answer = self.folder.parent / "told", self.folder.parent / "answer"
        told.write_bytes(pickle.dumps((content, textwrap.dedent(script), inputs)))
        _run(["-c", WORKER, str(told), str(answer)], [ROOT], "0")
        return pickle.loads(answer.read_bytes())  # type: ignore[no-any-return]


def _run(arguments: list[str], path: list[Path], seed: str) -> str:
    extra = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*map(str, path), *extra]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": seed,
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd="/",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """An empty project on ``sys.path``."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    # A file that is edited within a second to a text of the same length must not be taken from its old bytecode.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    project = Project(folder)
    yield project
    project.forget()
    importlib.invalidate_caches()


@dataclass(frozen=True)
class Made:
    """Stands in for a pipeline: what :func:`capture` asks of one."""

    function: Any
    name: str


@pytest.fixture
def pipeline_of() -> Any:
    """Makes a pipeline of a function that no module holds as one."""
    return lambda function: Made(function, function.__name__)
