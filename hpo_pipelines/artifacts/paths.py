"""The format of outputs that are files or folders: their content is stored, under the names they had."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hpo_pipelines.artifacts.codec import Codec
from hpo_pipelines.artifacts.container import FilePart, Part
from hpo_pipelines.artifacts.formats import Reading, Written
from hpo_pipelines.errors import NotSerializable

Entry = dict[str, Any]


class PathFormat:
    """A ``Path`` to a file or folder; read, it is a ``Path`` to a fresh copy with the same name, free to be changed.

    Part 0 is a manifest (JSON: ``kind``, ``name``, and for each file ``path``, ``digest``, ``executable``; for each
    empty folder ``path``), then each file is a part. Identity: the manifest without the path's own name, of which only
    a file's suffix counts, so that files written under temporary names compare equal. Times and owners are not kept. A
    link to a file is stored as the file.
    """

    name: ClassVar[str] = "path"
    indexed: ClassVar[bool] = True

    def matches(self, value: object) -> bool:
        return isinstance(value, Path)

    def write(self, value: Any, codec: Codec) -> Written:
        path = Path(os.path.abspath(value))
        if path.is_dir():
            kind, files = "folder", list(_walk(path, path))
        elif path.is_file():
            kind, files = "file", [path]
        else:
            raise NotSerializable(
                f"it is a path to no file or folder: {value}. Write it before returning its path, or return str(path)"
            )
        entries: list[Entry] = []
        parts: list[Part] = []
        for file in files:
            where = file.relative_to(path).as_posix()
            if file.is_dir():
                entries.append({"path": where})
                continue
            part = FilePart.of(file)
            entries.append(
                {"path": where, "digest": part.digest.hex(), "executable": bool(file.stat().st_mode & 0o100)}
            )
            parts.append(part)
        manifest = {"kind": kind, "name": path.name, "entries": entries}
        stand_in = ("hpo_pipelines.path", kind, path.suffix if kind == "file" else "", entries)
        return Written([memoryview(json.dumps(manifest).encode()), *parts], stand_in)

    def read(self, parts: Sequence[memoryview], source: Reading) -> Any:
        manifest = json.loads(bytes(parts[0]))
        root = source.folder() / manifest["name"]
        if manifest["kind"] == "folder":
            root.mkdir()
        contents = iter(parts[1:])
        for entry in manifest["entries"]:
            target = root / entry["path"]
            if "digest" not in entry:
                target.mkdir(parents=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(next(contents))
            if entry["executable"]:
                target.chmod(target.stat().st_mode | 0o111)
        return root


def _walk(folder: Path, root: Path) -> Iterator[Path]:
    """Files and empty folders below ``folder``, in one order everywhere."""
    children = sorted(folder.iterdir(), key=lambda child: child.name)
    if not children and folder != root:
        yield folder
    for child in children:
        if child.is_symlink() and not child.is_file():
            raise NotSerializable(f"{child} links to no file; store what it points to in its place")
        if child.is_dir():
            yield from _walk(child, root)
        elif child.is_file():
            yield child
        else:
            raise NotSerializable(f"{child} is neither a file nor a folder; remove it before returning the folder")
