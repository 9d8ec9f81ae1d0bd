"""Files and folders by content."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from hpo_pipelines.fingerprint import file_digest, package_digests


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data/words").mkdir(parents=True)
    (tmp_path / "data/words/en.txt").write_text("one\n")
    (tmp_path / "data/table.csv").write_text("a,b\n")
    return tmp_path / "data"


def age(path: Path, seconds: int = 3600) -> None:
    """Make ``path`` look old, so that what it holds is remembered; ctime cannot be set and is what it is."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_a_file_counts_by_its_bytes(folder):
    before = file_digest(folder / "table.csv")
    age(folder / "table.csv")
    assert file_digest(folder / "table.csv") == before
    (folder / "table.csv").write_text("a,c\n")
    assert file_digest(folder / "table.csv") != before
    (folder / "table.csv").write_text("a,b\n")
    assert file_digest(folder / "table.csv") == before


def test_a_file_that_settled_is_read_once(folder, monkeypatch):
    file = folder / "table.csv"
    monkeypatch.setattr("hpo_pipelines.fingerprint.files._SETTLED", -1.0)
    before = file_digest(file)
    monkeypatch.setattr("builtins.open", lambda *arguments: pytest.fail("it was read again"))
    assert file_digest(file) == before
    monkeypatch.undo()
    replaced = file.with_suffix(".new")
    replaced.write_text("x,y\n")
    os.utime(replaced, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    replaced.rename(file)  # As long, with the same time of change: another inode.
    assert file_digest(file) != before


@pytest.mark.parametrize(
    "edit",
    [
        lambda folder: (folder / "words/en.txt").write_text("two\n"),
        lambda folder: (folder / "words/fr.txt").write_text("un\n"),
        lambda folder: (folder / "words/en.txt").unlink(),
        lambda folder: (folder / "words").rename(folder / "lexicon"),
        lambda folder: (folder / "table.csv").rename(folder / "words/table.csv"),
        lambda folder: (folder / "link.txt").symlink_to(folder / "words/en.txt"),
        lambda folder: (folder / ".hidden").write_text(""),
    ],
    ids=["bytes", "added", "gone", "renamed folder", "moved", "link", "hidden"],
)
def test_a_folder_counts_by_names_and_bytes(folder, edit):
    before = file_digest(folder)
    edit(folder)
    assert file_digest(folder) != before


def test_where_a_folder_lies_and_what_python_leaves_in_it_do_not_count(folder, tmp_path):
    before = file_digest(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/x.pyc").write_bytes(b"x")
    (folder / "empty").mkdir()
    assert file_digest(folder) == before
    folder.rename(tmp_path / "elsewhere")
    assert file_digest(tmp_path / "elsewhere") == before
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert file_digest(tmp_path / "link") == before


def test_a_link_to_a_folder_counts_as_that_folder_unless_it_lies_in_it(folder, tmp_path):
    (tmp_path / "more").mkdir()
    (folder / "more").symlink_to(tmp_path / "more")
    before = file_digest(folder)
    (tmp_path / "more/x").write_text("x")
    assert file_digest(folder) != before
    (folder / "again").symlink_to(folder)
    with pytest.raises(OSError, match="a link to a folder that it lies in"):
        file_digest(folder)


def test_what_is_no_file_has_no_digest(folder):
    with pytest.raises(FileNotFoundError):
        file_digest(folder / "absent")
    os.mkfifo(folder / "pipe")
    with pytest.raises(OSError, match="neither a file nor a folder"):
        file_digest(folder / "pipe")
    (folder / "pipe").unlink()
    (folder / "broken").symlink_to(folder / "absent")
    with pytest.raises(FileNotFoundError):
        file_digest(folder)


def test_the_modules_of_a_package_count_by_their_meaning(write, load):
    files = {
        "steps/__init__.py": "",
        "steps/one.py": "def step(x):\n    '''Doc.'''\n    return x  # comment\n",
        "steps/deep/__init__.py": "A = 1\n",
        "steps/deep/two.py": "not python (\n",
        "steps/table.csv": "a\n",
    }
    before = package_digests(load(write("before", files), "steps"))
    assert set(before) == {"steps.one:*", "steps.deep:*", "steps.deep.two:*"}
    assert "steps.one" not in sys.modules
    reworded = {**files, "steps/one.py": "def step(x):\n    return (x)\n", "steps/table.csv": "b\n"}
    assert package_digests(load(write("reworded", reworded), "steps")) == before
    edited = {**files, "steps/deep/two.py": "not python [\n"}
    after = package_digests(load(write("edited", edited), "steps"))
    assert {name for name in before if before[name] != after[name]} == {"steps.deep.two:*"}
    assert package_digests(load(write("plain", {"plain.py": ""}), "plain")) == {}
