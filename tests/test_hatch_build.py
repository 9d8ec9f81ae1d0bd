"""The build hook: what it brings is what the pages ask for, and it says the cure where it cannot bring it."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from hpo_pipelines.server.app import STATIC

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path, hook: ModuleType) -> Path:
    for name in hook.INPUTS:
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def filled(root: Path, hook: ModuleType) -> Path:
    folder: Path = root / hook.VENDOR
    folder.mkdir(parents=True)
    for name in hook.FILES:
        (folder / name).write_text(name)
    (folder / hook.STAMP).write_text(hook.wanted(root))
    return folder


def test_the_files_of_this_checkout_are_those_of_the_lock_file(hook: ModuleType) -> None:
    assert hook.is_current(ROOT), "run `python hatch_build.py`"


def test_everything_that_the_pages_ask_for_is_brought(hook: ModuleType) -> None:
    asked = set()
    for path in [*STATIC.glob("*.*"), *(STATIC.parent / "templates").glob("*.html")]:
        asked |= set(re.findall(r"vendor/([\w.\-]+\w)", path.read_text()))
    assert asked
    assert asked <= set(hook.FILES)
    assert {f"{name.split('.')[0]}.LICENSE" for name in asked} <= set(hook.FILES)


def test_the_lock_file_pins_every_package_and_names_no_address() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert len(packages) >= 4
    for package in packages.values():
        assert package["integrity"].startswith("sha512-")
        assert "resolved" not in package


def test_files_are_brought_again_only_when_something_changed(root: Path, hook: ModuleType) -> None:
    assert not hook.is_current(root)
    folder = filled(root, hook)
    assert hook.is_current(root)
    hook.vendor(root)  # needs no npm
    (folder / "echarts.js").unlink()
    assert not hook.is_current(root)
    (folder / "echarts.js").touch()
    (root / "package-lock.json").write_text("{}")
    assert not hook.is_current(root)


def test_without_npm_the_install_fails_with_the_cure(
    root: Path, hook: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook.shutil, "which", lambda name: None)
    monkeypatch.setattr(hook.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"Install Node\.js"):
        hook.vendor(root)


def test_an_npm_that_fails_is_quoted(root: Path, hook: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = subprocess.CompletedProcess([], 1, "", "npm error network")
    monkeypatch.setattr(hook.subprocess, "run", lambda *arguments, **options: failing)
    with pytest.raises(SystemExit, match="npm error network"):
        hook.vendor(root)


def test_where_there_is_no_npm_the_build_asks_for_one(
    root: Path, hook: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = hook.PageFilesHook.__new__(hook.PageFilesHook)
    monkeypatch.setattr(hook.PageFilesHook, "root", str(root), raising=False)
    monkeypatch.setattr(hook.shutil, "which", lambda name: None)
    assert asking.dependencies() == [hook.NODE]
    filled(root, hook)
    assert asking.dependencies() == []
