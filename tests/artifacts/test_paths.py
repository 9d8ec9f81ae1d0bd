"""Outputs that are files and folders."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.artifacts.container import FilePart
from hpo_pipelines.errors import ArtifactError, NotSerializable


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a.bin").write_bytes(os.urandom(300_000))
    (root / "deep" / "er" / "é b.txt").write_text("text")
    (root / "deep" / "none").write_bytes(b"")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    return root


def snapshot(root: Path) -> dict[str, tuple[bytes, bool] | None]:
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), os.access(path, os.X_OK)) if path.is_file() else None
        for path in root.rglob("*")
    }


def test_a_folder(store: ArtifactStore, tree: Path) -> None:
    ref = store.put(tree)
    copy = store.get(ref)
    assert isinstance(copy, Path)
    assert copy.name == "model"
    assert snapshot(copy) == snapshot(tree)
    assert store.get(ref) != copy, "each reader has its own"
    store.verify(ref)


@pytest.mark.parametrize("content", [b"", b"x", os.urandom(500_000)], ids=["empty", "small", "large"])
def test_a_file(store: ArtifactStore, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.csv.gz").write_bytes(content)
    copy = store.get(store.put(tmp_path / "data.csv.gz"))
    assert copy.name == "data.csv.gz"
    assert copy.read_bytes() == content


def test_writing_into_a_copy_never_leaks(store: ArtifactStore, tree: Path) -> None:
    ref = store.put(tree)
    copy = store.get(ref)
    (copy / "a.bin").write_bytes(b"other")
    with (copy / "run.sh").open("a") as file:
        file.write("more")
    (copy / "new").write_text("")
    assert snapshot(store.get(ref)) == snapshot(tree)
    store.verify(ref)


def test_copies_go_where_they_are_wanted(store: ArtifactStore, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    first, second = (store.get(store.put(tree), folder=tmp_path / "work") for _ in range(2))
    assert first.is_relative_to(tmp_path / "work")
    assert second.is_relative_to(tmp_path / "work")
    assert first != second
    with pytest.raises(ArtifactError, match="cannot be unpacked"):
        store.get(store.put(tree), folder=tmp_path / "nowhere")


def test_identity_is_content_and_suffix(store: ArtifactStore, tree: Path, tmp_path: Path) -> None:
    def identity(name: str, content: bytes = b"x", mode: int = 0o644) -> str:
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(mode)
        return store.put(path).value_digest

    assert identity("a.csv") == identity("tmp123.csv")
    assert len({identity("a.csv"), identity("a.bin"), identity("b.csv", b"y"), identity("c.csv", mode=0o755)}) == 4
    before = store.put(tree)
    os.utime(tree / "a.bin", (1, 1))
    assert store.put(tree) == before
    (tree / "empty").rmdir()
    assert store.put(tree).value_digest != before.value_digest


def test_the_manifest_is_json(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("hello")
    data = store.read_bytes(store.put(tmp_path / "x.txt"))
    manifest, _ = json.JSONDecoder().raw_decode(data.decode("latin-1"))
    assert (manifest["kind"], manifest["name"], len(manifest["entries"])) == ("file", "x.txt", 1)


def test_links(store: ArtifactStore, tree: Path) -> None:
    (tree / "link.bin").symlink_to("a.bin")
    assert (store.get(store.put(tree)) / "link.bin").read_bytes() == (tree / "a.bin").read_bytes()
    (tree / "folder").symlink_to("deep")
    with pytest.raises(NotSerializable, match=r"output 'model' .*folder links to no file; store what it points to"):
        store.put(tree, name="model")
    (tree / "folder").unlink()
    (tree / "broken").symlink_to("nothing")
    with pytest.raises(NotSerializable, match="broken links to no file"):
        store.put(tree)


def test_what_is_no_file(store: ArtifactStore, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with pytest.raises(NotSerializable, match="s is neither a file nor a folder"):
            store.put(tree)
        with pytest.raises(NotSerializable, match="path to no file or folder: s"):
            store.put(Path("s"))


def test_a_relative_path_is_that_of_the_moment(
    store: ArtifactStore, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    assert store.get(store.put(Path("run.sh"))).read_text() == "#!/bin/sh\n"
    assert store.get(store.put(Path("."))).name == "model"


@pytest.mark.parametrize("change", ["content", "gone"])
def test_a_file_that_changes_while_it_is_stored(tmp_path: Path, change: str) -> None:
    path = tmp_path / "growing.log"
    path.write_text("one")
    part = FilePart.of(path)
    if change == "content":
        path.write_text("one, two")
    else:
        path.unlink()
    with (tmp_path / "out").open("wb") as file, pytest.raises(ArtifactError, match=r"growing\.log changed while"):
        part.write(file)


@pytest.mark.integration
def test_unasked_copies_go_when_their_process_goes(store: ArtifactStore, tree: Path) -> None:
    script = """
import os, sys, pickle
from hpo_pipelines.artifacts import ArtifactStore
from pathlib import Path
store = ArtifactStore(sys.argv[1])
copy = store.get(store.put(Path(sys.argv[2])))
if os.fork() == 0:
    sys.exit(0)  # A fork that exits must not take the folder with it.
os.wait()
print(copy, copy.is_dir())
"""
    out = subprocess.run(
        [sys.executable, "-c", script, store.url, str(tree)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert out[1] == "True"
    assert not Path(out[0]).exists()
    assert not Path(out[0]).parent.parent.exists()
