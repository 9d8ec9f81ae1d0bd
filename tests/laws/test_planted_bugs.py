"""The list of bugs that the suite must notice cannot rot: every one can still be planted, and its tests are there."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("planted_bugs", ROOT / "scripts" / "planted_bugs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


script = _script()
BUGS = script.load()


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len(BUGS) >= 20
    assert [name for name, count in Counter(bug.name for bug in BUGS).items() if count > 1] == []


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_can_be_planted_and_has_tests(bug: object) -> None:
    assert script.problem(bug) is None


def made(tmp_path: Path, text: str = "x = 1\n") -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_x.py").write_text("class TestX:\n    def test_one(self): ...\n")
    (tmp_path / "x.py").write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "changes", "wrong"),
    [
        ("x = 1\n", {}, None),
        ("x = 1\nx = 1\n", {}, "occurs 2 times"),
        ("y = 1\n", {}, "occurs 0 times"),
        ("x = 1\n", {"file": "y.py"}, "is not there"),
        ("x = 1\n", {"new": "x ="}, "no Python"),
        ("x = 1\n", {"new": "x = 1  # the same"}, "means the same"),
        ("x = 1\n", {"tests": ("tests/test_y.py",)}, "no test tests/test_y.py"),
        ("x = 1\n", {"tests": ("tests/test_x.py::TestX::test_one[a]",)}, None),
        ("x = 1\n", {"tests": ("tests/test_x.py::TestX::test_two",)}, "no test"),
        ("x = 1\n", {"tests": ("tests/test_x.py::test_two",)}, "no test"),
    ],
)
def test_what_cannot_be_planted_is_said(
    tmp_path: Path, text: str, changes: dict[str, object], wrong: str | None
) -> None:
    fields = {"name": "x", "file": "x.py", "old": "x = 1", "new": "x = 2", "tests": ("tests/test_x.py",)}
    found = script.problem(script.Bug(**{**fields, **changes}), made(tmp_path, text))
    assert (found is None) if wrong is None else wrong in found


def test_a_verdict_needs_red_tests() -> None:
    bug = BUGS[0]
    noticed = {status: script._verdict(bug, status, "FAILED a::b - c", 1.0).noticed for status in (None, 0, 1, 2, 4, 5)}
    assert noticed == {None: True, 0: False, 1: True, 2: False, 4: False, 5: False}
    assert script._verdict(bug, 1, "…\nFAILED tests/a.py::test_b[c] - why", 1.0).line.endswith("(test_b[c], 1.0 s)")


@pytest.mark.integration
def test_a_bug_is_planted_in_a_copy_and_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    (bug,) = [bug for bug in BUGS if bug.name == "dict-order-in-keys"]
    before = (ROOT / bug.file).read_bytes()
    assert script.main(["--only", bug.name]) == 0
    printed = capsys.readouterr().out
    assert "green without a bug" in printed
    assert "1 of 1 noticed" in printed
    assert (ROOT / bug.file).read_bytes() == before


@pytest.mark.integration
def test_a_bug_that_no_test_notices_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (bug,) = [bug for bug in BUGS if bug.name == "dict-order-in-keys"]
    blind = script.Bug(**{**vars(bug), "tests": ("tests/test_canonical.py::test_every_nan_is_one",)})
    monkeypatch.setattr(script, "load", lambda: [blind])
    assert script.main([]) == 1
    assert "Not noticed: dict-order-in-keys" in capsys.readouterr().out
