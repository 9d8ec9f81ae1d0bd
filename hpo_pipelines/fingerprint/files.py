"""What files and folders hold, as a digest, whatever their times and owners."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

from blake3 import blake3

from hpo_pipelines.fingerprint.source import text_of_file

_SETTLED = 2.0
"""Seconds after which a file's time of change tells two contents of it apart."""

_PIECE = 1 << 20
_KEPT = 4096
_known: dict[str, tuple[tuple[int, ...], str]] = {}


def file_digest(path: Path) -> str:
    """The content of the file at ``path`` or, for a folder, of every file below it with its name there.

    Links count as what they lead to; empty folders and ``__pycache__`` do not count. A file is read again when its
    times, size or inode have changed. Raises OSError for what is not there, cannot be read, or is neither of the two.
    """
    if path.is_dir():
        lines = [f"{name} {_content(file)}" for name, file in sorted(_below(path, "", frozenset()))]
        return blake3("\n".join(["folder", *lines]).encode("utf-8", "surrogateescape")).hexdigest()
    return _content(str(path))


def requirement_digests(requirements: Iterable[str]) -> dict[str, str]:
    """The content of what each ``name @ file:…`` among ``requirements`` names, where it is on this machine."""
    digests = {}
    for requirement in requirements:
        url = urlsplit(requirement.partition(" @ ")[2].partition(" ;")[0].strip())
        if url.scheme == "file":
            # One that is not here is for the installer to complain of, wherever the step runs.
            with contextlib.suppress(OSError):
                digests[requirement] = file_digest(Path(unquote(url.path)))
    return digests


def _below(folder: str | Path, prefix: str, above: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Every file below ``folder``: its name, with slashes, and its path."""
    real = os.path.realpath(folder)
    if real in above:
        raise OSError(f"{folder} is a link to a folder that it lies in")
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir():
                yield prefix + entry.name, entry.path
            elif entry.name != "__pycache__":
                yield from _below(entry.path, f"{prefix}{entry.name}/", above | {real})


def _content(file: str) -> str:
    status = os.stat(file)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{file} is neither a file nor a folder")
    version = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)
    path = os.path.abspath(file)
    known = _known.get(path)
    if known is not None and known[0] == version:
        return known[1]
    hasher = blake3()
    with open(file, "rb") as opened:
        while piece := opened.read(_PIECE):
            hasher.update(piece)
    digest: str = hasher.hexdigest()
    if time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED:
        if len(_known) >= _KEPT:
            _known.clear()
        _known[path] = version, digest
    return digest


def package_digests(package: ModuleType) -> dict[str, str]:
    """The text of every module below ``package``, by name (``steps.fit:*``), formatting and docstrings aside.

    None of them is imported. Empty for a module that is no package. Raises OSError for a folder that cannot be read.
    """
    found = {}
    for folder in getattr(package, "__path__", ()):
        for name, file in _below(folder, "", frozenset()):
            if name.endswith(".py"):
                module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                text = text_of_file(file, {})
                digest = _content(file) if text is None else text.whole.digest
                found[f"{package.__name__}.{module}:*"] = digest
    found.pop(f"{package.__name__}.__init__:*", None)
    return found
