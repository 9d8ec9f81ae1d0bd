"""Decorators keep types: checkers accept a decorated body as it stands, and still find the mistakes in its use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SAMPLES = TESTS / "samples"

pytestmark = pytest.mark.integration


def mypy(name: str) -> subprocess.CompletedProcess[str]:
    # With the project's own settings and cache: the project itself has been read by then.
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(SAMPLES / name)],
        cwd=TESTS.parent, env={**os.environ, "MYPYPATH": str(TESTS)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_mypy_accepts_a_decorated_body() -> None:
    done = mypy("typed.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_finds_what_is_wrong() -> None:
    found = mypy("wrongly_typed.py").stdout
    assert 'Argument 1 to "__call__" of "Component" has incompatible type "int"' in found
    assert 'Unexpected keyword argument "lrr"' in found
    assert "Incompatible types in assignment" in found


@pytest.mark.parametrize(("name", "errors"), [("typed.py", 0), ("wrongly_typed.py", 3)])
def test_pyright_agrees(name: str, errors: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(SAMPLES / name)],
        cwd=TESTS, capture_output=True, text=True, check=False,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert report["summary"]["errorCount"] == errors, report["generalDiagnostics"]
