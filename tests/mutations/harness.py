"""Applies a case's edits between two runs and judges what the second run did."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutations.case import Case

from hpo_pipelines.engine.keys import Difference, differences

KINDS = ("code", "packages", "inputs", "environment", "version", "depends", "outputs")

_MODULE = '''"""Stands for an installed distribution: any function of it gives its first argument back."""

__version__ = {version!r}


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)

    def function(*args, **options):
        return args[0] if args else options

    function.__name__ = function.__qualname__ = name
    return globals().setdefault(name, function)
'''


@dataclass(frozen=True)
class Outcome:
    """What one run did with the step: the ``parts`` of its key (None if it has none), and the recorded ``reason``."""

    status: str
    reused: bool
    reason: str
    parts: Mapping[str, Any] | None


class Runs:
    """Runs projects, one fresh process each, over a server of :mod:`mutations.runs`."""

    def __init__(self, folder: Path) -> None:
        self._template = folder
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        tests = str(Path(__file__).parents[1])
        environment |= {"PYTHONHASHSEED": "random", "PYTHONPATH": os.pathsep.join([str(Path(tests).parent), tests])}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("runs.py")), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def run(self, case: Case, params: Mapping[str, object], **folders: Path) -> Outcome:
        request = {name: str(folder) for name, folder in folders.items()}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**request, "step": case.step, "params": dict(params)}) + "\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline() or '{"error": "the server died"}')
        assert "error" not in found, f"{case.name}: {found['error']}"
        return Outcome(**found)

    def new_home(self, folder: Path) -> Path:
        """A home with an empty store; copied, since making the tables takes longer than a case."""
        folder.mkdir()
        for file in self._template.glob("store.db*"):
            shutil.copy(file, folder / file.name)
        return folder

    def close(self) -> None:
        with self._process:  # Closes the pipes, at which the server ends, and waits for it.
            pass


def write(folder: Path, files: Mapping[str, str | None]) -> None:
    """Write ``files`` below ``folder``; None deletes."""
    for name, text in files.items():
        path = folder / name
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8", newline="")


def install(site: Path, packages: Mapping[str, str]) -> None:
    """Install distributions as an installer would: a module each, with its metadata."""
    for name, version in packages.items():
        metadata = f"{name}-{version}.dist-info"
        files = {
            f"{name}.py": _MODULE.format(version=version),
            f"{metadata}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{metadata}/RECORD": f"{name}.py,,\n{metadata}/METADATA,,\n{metadata}/RECORD,,\n",
            f"{metadata}/top_level.txt": f"{name}\n",
            f"{metadata}/INSTALLER": "pip\n",
        }
        write(site, files)


def outcomes(case: Case, runs: Runs, folder: Path) -> tuple[Outcome, Outcome]:
    """What the runs before and after the edit did with the step."""
    project, home = folder / "project", runs.new_home(folder / "home")
    write(project, case.files)
    install(folder / "before", case.packages)
    before = runs.run(case, {}, project=project, site=folder / "before", home=home)
    write(project, case.edits)
    install(folder / "after", {**case.packages, **case.upgraded})
    return before, runs.run(case, case.params, project=project, site=folder / "after", home=home)


def judge(case: Case, before: Outcome, after: Outcome) -> None:
    """Fail unless the second run did with the step what the case expects, for the reason that it expects."""
    assert before.status == after.status == "completed"
    assert not before.reused, "the store was not fresh"
    assert before.parts is not None, f"the step before the edit has no key: {before.reason}"
    assert case.expect in ("hit", "miss")
    found = () if after.parts is None else differences(before.parts, after.parts)
    verdict = "hit" if after.reused else "miss"
    assert verdict == case.expect, f"{case.why}; {after.reason}; differing: {_shown(found)}"
    if case.expect == "hit":
        assert not found, "a hit whose parts differ"
        return
    assert case.changed is not None, "a miss has its reason"
    kind, what = case.changed
    if after.parts is None:  # Not reusable any more; the reason names what has no identity.
        assert what in after.reason, after.reason
        return
    assert found, f"unknown: the step ran again and no part of its key differs; {after.reason}"
    assert all(piece.kind in KINDS for piece in found)
    assert any(piece.kind == kind and what in piece.name for piece in found), _shown(found)


def _shown(found: tuple[Difference, ...]) -> str:
    return ", ".join(f"{piece.kind} {piece.name}" for piece in found) or "nothing"
