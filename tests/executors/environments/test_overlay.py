"""Folders of packages: built once, by one process, whole or not at all."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from executors.environments.wheels import requirement, wheel
from services import missing, wait_until

from hpo_pipelines.errors import StepFailed
from hpo_pipelines.executors.environments import overlay
from hpo_pipelines.executors.environments.overlay import Overlay
from hpo_pipelines.types import Environment


def version_in(folder: Path) -> str:
    code = "import tinything; print(tinything.VERSION)"
    return subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=True
    ).stdout.strip()


def built(environment: Environment, root: Path) -> tuple[Path, str]:
    said: list[bytes] = []
    folder = Overlay(environment, root).build(said.append)
    return folder, b"".join(said).decode()


def test_two_versions_have_two_folders_each_built_once(tmp_path: Path) -> None:
    folders = []
    for version in ("1.0", "2.0"):
        environment = Environment(packages=(requirement(tmp_path / "wheels", version),))
        folder, said = built(environment, tmp_path / "root")
        assert "building an environment with tinything @ file:" in said
        assert version_in(folder) == version
        assert built(environment, tmp_path / "root") == (folder, "")
        folders.append(folder)
    assert folders[0] != folders[1]
    assert {path.suffix for path in (tmp_path / "root").iterdir()} == {"", ".lock"}


def test_what_the_folder_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = requirement(tmp_path, "1.0")

    def digest(**options: object) -> str:
        return Overlay(Environment(**{"packages": (asked, "six==1.16"), **options})).digest  # type: ignore[arg-type]

    first = digest()
    assert first == digest(packages=("Six ==1.16", asked))
    assert first == digest(env={"OMP_NUM_THREADS": "1"}, secrets=("TOKEN",), image="name")
    assert first != digest(packages=(asked, "six==1.17"))
    assert first != digest(env={"UV_INDEX": "elsewhere"})
    wheel(tmp_path, "1.0", "VERSION = 'other'")
    other = digest()
    assert other != first
    monkeypatch.setattr(overlay.platform, "machine", lambda: "abacus")
    assert digest() != other


def test_a_build_that_fails_leaves_nothing_and_says_what_the_builder_said(tmp_path: Path) -> None:
    asked = f"tinything @ {(tmp_path / 'tinything-9.0-py3-none-any.whl').as_uri()}"
    with pytest.raises(StepFailed) as failure:
        built(Environment(packages=(asked,)), tmp_path / "root")
    said = str(failure.value)
    assert "could not be built on" in said
    assert "tinything-9.0-py3-none-any.whl" in said.partition("It said:\n")[2]
    assert {path.suffix for path in (tmp_path / "root").iterdir()} == {".lock"}


def test_half_a_folder_of_a_killed_builder_is_not_used(tmp_path: Path) -> None:
    environment = Environment(packages=(requirement(tmp_path / "wheels", "1.0"),))
    partial = Overlay(environment, tmp_path / "root").folder.with_suffix(".partial")
    partial.mkdir(parents=True)
    (partial / "tinything.py").write_text("raise ImportError('half of it')")
    (partial / "left.py").touch()
    folder, _ = built(environment, tmp_path / "root")
    assert version_in(folder) == "1.0"
    assert not (folder / "left.py").exists()
    assert not partial.exists()


def fake_builder(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> Path:
    """A ``uv`` that runs ``script``, and the file that it appends its arguments to."""
    folder.mkdir(exist_ok=True)
    told, program = folder / "told", folder / "uv"
    program.write_text(f'#!/bin/sh\necho "$@" >> {told}\nwhile [ "$1" != --target ]; do shift; done\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setattr(overlay.shutil, "which", lambda name, path: str(program))
    return told


def test_processes_that_want_one_folder_build_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    told = fake_builder(monkeypatch, tmp_path / "bin", f'mkdir "$2"; while [ ! -e {go} ]; do sleep 0.01; done')
    environment = Environment(packages=("anything==1",))
    said: list[list[bytes]] = [[], [], []]
    folders: list[Path] = []

    def build(number: int) -> None:
        folders.append(Overlay(environment, tmp_path / "root").build(said[number].append))

    threads = [threading.Thread(target=build, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    waiting = b"waiting for another process to build the environment\n"
    wait_until(lambda: sum(waiting in words for words in said) == 2, "two to wait")
    go.touch()
    for thread in threads:
        thread.join(60)
    assert len(set(folders)) == 1
    assert len(told.read_text().splitlines()) == 1


def test_an_interrupt_ends_the_builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_builder(monkeypatch, tmp_path / "bin", 'mkdir "$2"; echo $$; sleep 120 & wait')
    pids: list[int] = []

    def write(data: bytes) -> None:
        if data.strip().isdigit():
            pids.append(int(data))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Overlay(Environment(packages=("anything==1",)), tmp_path / "root").build(write)
    assert not Path(f"/proc/{pids[0]}").exists()
    assert {path.suffix for path in (tmp_path / "root").iterdir()} == {".lock"}


def test_pip_builds_where_there_is_no_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay.shutil, "which", lambda name, path: None)
    monkeypatch.setattr(overlay.importlib.util, "find_spec", lambda name: name)
    command = overlay._builder(Path("target"))
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert command[-2:] == ["--target", "target"]
    monkeypatch.setattr(overlay.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StepFailed, match=r"has neither uv nor pip to install them\. Install uv on that node"):
        overlay._builder(Path("target"))


def test_a_place_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "root").touch()
    with pytest.raises(StepFailed, match=r"cannot be kept in .*/root on .*set HPO_ENVIRONMENTS"):
        built(Environment(packages=("anything==1",)), tmp_path / "root")


def test_where_they_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HPO_ENVIRONMENTS", str(tmp_path / "own"))
    assert overlay.folder_of_environments() == tmp_path / "own"
    monkeypatch.delenv("HPO_ENVIRONMENTS")
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    assert overlay.folder_of_environments() == tmp_path / "environments"
    monkeypatch.delenv("HPO_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert overlay.folder_of_environments() == tmp_path / "cache" / "hpo_pipelines" / "environments"


@pytest.mark.integration
def test_a_package_of_the_registry_in_two_versions(tmp_path: Path) -> None:
    for version in ("1.16.0", "1.17.0"):
        try:
            folder, _ = built(Environment(packages=(f"six=={version}",)), tmp_path)
        except StepFailed as error:
            missing("a registry with the package six", f"let the installer reach one. {error}")
        assert f'__version__ = "{version}"' in (folder / "six.py").read_text()
