"""What git says about the folder a run was started in."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpo_pipelines import provenance
from hpo_pipelines.provenance import git_state, python_version


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "FRESH", -1.0)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    git(tmp_path, "init", "--quiet", "--initial-branch=work")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", *identity, "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / name).write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "work")
    return git(folder, "rev-parse", "HEAD")


def test_a_clean_repository(repository: Path) -> None:
    made = commit(repository, a="1\n")
    assert git_state(repository) == {"commit": made, "branch": "work", "dirty": False, "diff": ""}


def test_changes_are_seen_from_a_folder_below(repository: Path) -> None:
    made = commit(repository, a="1\n", b="1\n")
    (repository / "a").write_text("2\n")
    (repository / "b").write_text("2\n")
    git(repository, "add", "b")
    (repository / "below").mkdir()
    state = git_state(repository / "below")
    assert state is not None
    assert (state["commit"], state["branch"], state["dirty"]) == (made, "work", True)
    assert state["diff"].count("-1\n+2\n") == 2


def test_an_untracked_file_makes_it_dirty_without_a_diff(repository: Path) -> None:
    commit(repository, a="1\n")
    (repository / "new").write_text("")
    state = git_state(repository)
    assert state is not None
    assert (state["dirty"], state["diff"]) == (True, "")


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    made = commit(repository, a="1\n")
    git(repository, "checkout", "--quiet", made)
    state = git_state(repository)
    assert state is not None
    assert (state["commit"], state["branch"]) == (made, "")


def test_before_the_first_commit(repository: Path) -> None:
    (repository / "a").write_text("1")
    assert git_state(repository) == {"commit": "", "branch": "work", "dirty": True, "diff": ""}


def test_no_repository(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None
    assert git_state(tmp_path / "absent") is None


def test_no_git(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_state(repository) is None


def test_a_git_that_hangs_is_left(repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _git_that(tmp_path / "bin", "sleep", monkeypatch)
    monkeypatch.setattr(provenance, "PATIENCE", 0.2)
    begun = time.monotonic()
    assert git_state(repository) is None
    assert time.monotonic() - begun < 5


def test_a_diff_that_hangs_is_left_and_says_so(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = commit(repository, a="1\n")
    (repository / "a").write_text("2\n")
    _git_that(tmp_path / "bin", "sleep in diff", monkeypatch)
    monkeypatch.setattr(provenance, "PATIENCE", 1.0)
    state = git_state(repository)
    assert state is not None
    assert state["commit"] == made
    assert "git took longer than 1 s" in state["diff"]


def _git_that(folder: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.run(["which", "git"], check=True, capture_output=True, text=True).stdout.strip()
    condition = "True" if what == "sleep" else "'diff' in sys.argv"
    folder.mkdir()
    fake = folder / "git"
    fake.write_text(
        f"#!{sys.executable} -S\nimport os, sys, time\n"
        f"if {condition}:\n    time.sleep(30)\nos.execv({real!r}, ['git', *sys.argv[1:]])\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_a_long_diff_is_cut_and_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(repository, a="1\n")
    (repository / "a").write_text("line\n" * 10_000)
    monkeypatch.setattr(provenance, "DIFF_LIMIT", 1000)
    state = git_state(repository)
    assert state is not None
    assert len(state["diff"]) < 1100
    assert state["diff"].endswith("[cut: the diff is longer than 1000 bytes]\n")


def test_an_answer_is_given_again_for_a_moment(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "FRESH", 60.0)
    before = git_state(repository)
    commit(repository, a="1\n")
    assert git_state(repository) == before
    monkeypatch.setattr(provenance, "FRESH", -1.0)
    assert git_state(repository) != before


def test_looking_takes_no_lock(repository: Path) -> None:
    commit(repository, a="1\n")
    (repository / ".git" / "index.lock").write_text("")
    assert git_state(repository) is not None


def test_python_version() -> None:
    assert python_version() == "{}.{}.{}".format(*sys.version_info[:3])
