"""Files beside a module: found in its folder, or in the snapshot that it is from."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo_pipelines import DefinitionError
from hpo_pipelines.snapshot import Content, Unit, identity
from hpo_pipelines.snapshot.beside import Beside, inside, kept


@pytest.fixture
def beside(tmp_path: Path) -> Beside:
    for name in ("a.py", "b.txt", "folder/c.py", "folder/__pycache__/c.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return Beside.of({"__name__": "beside_here", "__file__": str(tmp_path / "beside_here.py")})


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.py", {"a.py"}),
        ("./a.py", {"a.py"}),
        ("folder", {"folder/c.py"}),
        ("folder/", {"folder/c.py"}),
        ("*.txt", {"b.txt"}),
        ("folder/*.py", {"folder/c.py"}),
        ("nothing", set()),
        ("*.nothing", set()),
    ],
)
def test_what_is_found_live_and_in_a_snapshot(beside: Beside, name: str, found: set[str]) -> None:
    live = beside.find(name)
    assert set(live) == found
    assert all(content == path.encode() for path, content in live.items())
    carried = {path: path.encode() for path in ("a.py", "b.txt", "folder/c.py")}
    assert Beside("m", Path("nowhere"), carried).find(name) == live


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.py", "folder/../../a", "", "a\0b"])
def test_a_name_stays_inside(name: str) -> None:
    with pytest.raises(DefinitionError, match="lies below"):
        inside(name)


def test_what_is_kept_travels_with_the_module(beside: Beside) -> None:
    beside.keep(beside.find("b.txt"))
    beside.keep({"a.py": b"\0\xff"})
    assert kept("beside_here") == {"a.py": b"\0\xff", "b.txt": b"b.txt"}
    units = {"m": Unit("x = 1", False, "m.py", kept("beside_here"))}
    content = Content(identity("m:x", units, ""), "m:x", units)
    assert Content.decode(content.encode()).modules == units


def test_files_count_in_what_identifies_code() -> None:
    plain, first, second = (Unit("x = 1", False, "m.py", files) for files in ({}, {"a": b"1"}, {"a": b"2"}))
    digests = {identity("m:x", {"m": unit}, "") for unit in (plain, first, second)}
    assert len(digests) == 3
    assert b'"files"' not in Content("d", "m:x", {"m": plain}).encode()
