"""The artifacts of many runs: what is the same is one file, and nobody's file changes with another's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpo_pipelines.tracking import files
from hpo_pipelines.tracking.files import Files


def inode(path: Path) -> int:
    return path.stat().st_ino


def test_what_runs_share_is_one_file(tmp_path: Path) -> None:
    here = Files()
    for run in ("1", "2"):
        here.write(str(tmp_path / run), {"code.py": "def fit(): ...\n", "outputs.json": f"run {run}\n", "a/b": "below"})
    assert inode(tmp_path / "1" / "code.py") == inode(tmp_path / "2" / "code.py")
    assert inode(tmp_path / "1" / "outputs.json") != inode(tmp_path / "2" / "outputs.json")
    assert (tmp_path / "2" / "outputs.json").read_text() == "run 2\n"
    assert (tmp_path / "2" / "a" / "b").read_text() == "below"


def test_writing_anew_changes_no_other_run(tmp_path: Path) -> None:
    here = Files()
    one, two = tmp_path / "1", tmp_path / "2"
    for folder in (one, two):
        here.write(str(folder), {"code.py": "old"})
    here.write(str(two), {"code.py": "new"})
    assert ((one / "code.py").read_text(), (two / "code.py").read_text()) == ("old", "new")
    # And back: there is a file already, and one to link to.
    here.write(str(two), {"code.py": "old"})
    here.write(str(one), {"code.py": "old"})
    assert ((one / "code.py").read_text(), (two / "code.py").read_text()) == ("old", "old")


@pytest.mark.parametrize("spoil", [lambda path: path.write_text("edited by hand"), lambda path: path.unlink()])
def test_a_file_that_somebody_touched_is_not_linked_to(tmp_path: Path, spoil: object) -> None:
    here = Files()
    here.write(str(tmp_path / "1"), {"code.py": "as it was"})
    assert callable(spoil)
    spoil(tmp_path / "1" / "code.py")
    here.write(str(tmp_path / "2"), {"code.py": "as it was"})
    assert (tmp_path / "2" / "code.py").read_text() == "as it was"


def test_where_there_are_no_links_files_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError("too many links")

    monkeypatch.setattr(os, "link", refuse)
    here = Files()
    for run in ("1", "2"):
        here.write(str(tmp_path / run), {"code.py": "same"})
        assert (tmp_path / run / "code.py").read_text() == "same"


def test_what_is_remembered_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_LONGEST", 10)
    here = Files()
    here.write(str(tmp_path), {"long": "x" * 11})
    for number in range(100):
        here.write(str(tmp_path), {f"f{number}": str(number)})
    assert len(here._known) == 64
    assert "x" * 11 not in here._known
    assert (tmp_path / "long").read_text() == "x" * 11


def test_text_that_is_no_unicode_is_written(tmp_path: Path) -> None:
    Files().write(str(tmp_path), {"error.txt": "\ud800 ü"})
    assert (tmp_path / "error.txt").read_text("utf-8") == "\\ud800 ü"
