"""Where the bytes of artifacts lie: a local folder, or whatever fsspec has a name for.

A file appears under its name whole or not at all, also when its writer is killed or two write it at once.

Files that nobody needs are swept while others write: a writer that finds its content there already makes the file as
good as new (:meth:`Location.keep`), and what was made a moment ago is never swept. In a local folder the two cannot
miss each other; elsewhere a sweeper looks at the age of each file once more right before it removes it, which leaves
the time of one request.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from hpo_pipelines.errors import ArtifactError

KEEP_FOR = 1800.0
"""Seconds for which a remote file counts as just written; an older one is written again by :meth:`Location.keep`."""

_MAPPED_FROM = 1 << 18  # Smaller files are read: a map holds a file descriptor and whole pages.

# Stores in which an upload appears whole or not at all; elsewhere it needs a temporary name.
_ATOMIC = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "r2"}


_NAME = re.compile(r"[0-9a-f]{64}")
_LEFT = re.compile(r"\.?[0-9a-f]{62}\.[0-9a-f]{12}\.tmp")
"""What a writer that was killed leaves behind."""


@dataclass(frozen=True)
class StoredFile:
    """A file as it was listed; ``changed_at`` in seconds since the epoch, None where the place does not say."""

    name: str
    size: int
    changed_at: float | None
    leftover: bool = False
    """Half a file, of a writer that was killed (or is at it still); ``name`` is where it lies, not a digest."""


class Location(Protocol):
    """A flat set of named files."""

    def size(self, name: str) -> int | None:
        """Bytes of the file, None if there is none."""

    def keep(self, name: str, size: int) -> bool:
        """Make the file as good as just written, if it is there in this size; else, or if that cannot be, False."""

    def write(self, name: str, content: Callable[[BinaryIO], None]) -> None:
        """Make the file, replacing one of this name. Raises ArtifactError; then nothing is left behind."""

    def open(self, name: str) -> BinaryIO:
        """A readable file with a descriptor. Raises FileNotFoundError."""

    def delete(self, name: str) -> None:
        """Remove the file, if there is one."""

    def files(self) -> Iterator[StoredFile]:
        """Every file that is ours, in any order."""

    def sweep(self, file: StoredFile, before: float) -> bool:
        """Remove the file unless it was written, or kept, since ``before``; whether it was removed now."""


def normal_url(url: str | os.PathLike[str]) -> str:
    """The absolute path of a local folder, given as a path or as ``file://``; any other URL as it is."""
    text = os.fspath(url)
    if text.startswith("file:"):
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise ArtifactError(
                f"{text!r} names no local folder: a file URL has three slashes, as file:///data/artifacts."
            )
        return os.path.abspath(unquote(parts.path))
    if "://" in text or "::" in text:
        return text.rstrip("/")
    return os.path.abspath(os.path.expanduser(text))


def location_of(url: str) -> Location:
    """The location of a :func:`normal_url`."""
    return LocalFolder(Path(url)) if is_local(url) else RemoteFolder(url)


def is_local(url: str) -> bool:
    """Whether a :func:`normal_url` is the path of a folder."""
    return "://" not in url and "::" not in url


class LocalFolder:
    """Files ``ab/cdef…`` below a folder, read-only once written."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _path(self, name: str) -> Path:
        return self._root / name[:2] / name[2:]

    def size(self, name: str) -> int | None:
        with _explained(str(self._root)):
            try:
                return self._path(name).stat().st_size
            except FileNotFoundError:
                return None

    def keep(self, name: str, size: int) -> bool:
        path = self._path(name)
        with _explained(str(self._root)):
            try:
                if path.stat().st_size != size:
                    return False
                os.utime(path)
            except (FileNotFoundError, PermissionError):
                return False
        return True

    def write(self, name: str, content: Callable[[BinaryIO], None]) -> None:
        path = self._path(name)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
        with _explained(str(self._root)):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
                with open(descriptor, "wb") as file:
                    content(file)
                os.replace(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise

    def open(self, name: str) -> BinaryIO:
        with _explained(str(self._root), passing=FileNotFoundError):
            return self._path(name).open("rb")

    def delete(self, name: str) -> None:
        with _explained(str(self._root)):
            self._path(name).unlink(missing_ok=True)

    def files(self) -> Iterator[StoredFile]:
        with _explained(str(self._root)):
            try:
                folders = [entry.name for entry in os.scandir(self._root) if len(entry.name) == 2 and entry.is_dir()]
            except FileNotFoundError:
                return
        for folder in sorted(folders):
            with _explained(str(self._root)):
                found = [file for entry in os.scandir(self._root / folder) if (file := _local_file(folder, entry))]
            yield from found

    def sweep(self, file: StoredFile, before: float) -> bool:
        path = self._root / file.name if file.leftover else self._path(file.name)
        doomed = path.with_name(f".{path.name.lstrip('.')[:62]}.{secrets.token_hex(6)}.tmp")
        with _explained(str(self._root)):
            try:
                if path.stat().st_mtime >= before:
                    return False
                # Out of the way first: whoever comes now writes the file anew, and whoever came before left a mark.
                os.rename(path, doomed)
            except FileNotFoundError:
                return False
            if doomed.stat().st_mtime >= before:
                os.replace(doomed, path)
                return False
            doomed.unlink()
        return True


class RemoteFolder:
    """The same files below an fsspec URL; they pass through temporary local files on their way in and out."""

    def __init__(self, url: str) -> None:
        import fsspec

        self._url = url
        with _explained(url):
            # Listings are not kept: another process may have written or removed a file since.
            self._files, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        protocol = self._files.protocol
        self._atomic = not _ATOMIC.isdisjoint([protocol] if isinstance(protocol, str) else protocol)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name[:2]}/{name[2:]}"

    def size(self, name: str) -> int | None:
        with _explained(self._url):
            try:
                return int(self._files.info(self._path(name))["size"])
            except FileNotFoundError:
                return None

    def keep(self, name: str, size: int) -> bool:
        with _explained(self._url):
            try:
                info = self._files.info(self._path(name))
            except FileNotFoundError:
                return False
        # Nothing but writing it again makes a file of a cloud younger.
        changed_at = _changed_at(info)
        return int(info["size"]) == size and changed_at is not None and changed_at > time.time() - KEEP_FOR

    def write(self, name: str, content: Callable[[BinaryIO], None]) -> None:
        path = self._path(name)
        with _explained(self._url), _temporary() as local:
            with local.open("wb") as file:
                content(file)
            if self._atomic:
                self._files.put_file(str(local), path)
                return
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            temporary = f"{path}.{secrets.token_hex(6)}.tmp"
            try:
                self._files.put_file(str(local), temporary)
                self._files.mv(temporary, path)
            except BaseException:
                with suppress(FileNotFoundError):
                    self._files.rm_file(temporary)
                raise

    def open(self, name: str) -> BinaryIO:
        with _explained(self._url, passing=FileNotFoundError), _temporary() as local:
            self._files.get_file(self._path(name), str(local))
            return local.open("rb")

    def delete(self, name: str) -> None:
        with _explained(self._url), suppress(FileNotFoundError):
            self._files.rm_file(self._path(name))

    def files(self) -> Iterator[StoredFile]:
        with _explained(self._url):
            try:
                found = self._files.find(self._root, detail=True)
            except FileNotFoundError:
                return
        for path, info in found.items():
            above, _, rest = str(path).rpartition("/")
            folder = above.rpartition("/")[2]
            if len(folder) == 2 and (file := _file(folder, rest, int(info["size"] or 0), _changed_at(info))):
                yield file

    def sweep(self, file: StoredFile, before: float) -> bool:
        path = f"{self._root.rstrip('/')}/{file.name}" if file.leftover else self._path(file.name)
        with _explained(self._url):
            try:
                changed_at = _changed_at(self._files.info(path))
                if changed_at is None or changed_at >= before:
                    return False
                self._files.rm_file(path)
            except FileNotFoundError:
                return False
        return True


def _local_file(folder: str, entry: os.DirEntry[str]) -> StoredFile | None:
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # removed while we looked
        return None
    return _file(folder, entry.name, found.st_size, found.st_mtime)


def _file(folder: str, rest: str, size: int, changed_at: float | None) -> StoredFile | None:
    """The file ``rest`` of ``folder``, if its name says that it is one of ours."""
    if _NAME.fullmatch(folder + rest):
        return StoredFile(folder + rest, size, changed_at)
    return StoredFile(f"{folder}/{rest}", size, changed_at, leftover=True) if _LEFT.fullmatch(rest) else None


def _changed_at(info: Mapping[str, Any]) -> float | None:
    """When a file was written, as the file systems of fsspec say it in their ways."""
    for name in ("LastModified", "mtime", "last_modified", "modified", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return None


@contextmanager
def _temporary() -> Iterator[Path]:
    descriptor, name = tempfile.mkstemp(prefix="hpo-artifact-")
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        os.unlink(name)


@contextmanager
def _explained(where: str, *, passing: type[Exception] = ArtifactError) -> Iterator[None]:
    """Turn what a file system raises, but for ``passing``, into an ArtifactError that says what to do."""
    try:
        yield
    except (ArtifactError, passing):
        raise
    except Exception as error:  # Cloud clients raise classes of their own.
        raise ArtifactError(f"the artifacts at {where} cannot be used: {error}. {_cure(error)}") from error


def _cure(error: Exception) -> str:
    code = getattr(error, "errno", None)
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "There is no room left: free some space (`hpo cache gc`), or keep artifacts elsewhere."
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "This user must be able to write there: change its mode or owner, or keep artifacts elsewhere."
    if code in (errno.ENOTDIR, errno.EEXIST):
        return "It must be a folder: choose another place for artifacts."
    if isinstance(error, ImportError):
        return "Install the package it names."
    return "Check that the place exists, and that this process may reach it."


def map_copy(file: BinaryIO) -> memoryview:
    """The content of ``file`` as writable memory; what is written there reaches neither the file nor anyone else."""
    size = os.fstat(file.fileno()).st_size
    if size < _MAPPED_FROM:
        return memoryview(bytearray(file.read()))
    options: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY, **options))
