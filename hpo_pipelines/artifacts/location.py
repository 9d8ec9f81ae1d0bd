"""Where the bytes of artifacts lie: a local folder, or whatever fsspec has a name for.

A file appears under its name whole or not at all, also when its writer is killed or two write it at once.
"""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from hpo_pipelines.errors import ArtifactError

_MAPPED_FROM = 1 << 18  # Smaller files are read: a map holds a file descriptor and whole pages.

# Stores in which an upload appears whole or not at all; elsewhere it needs a temporary name.
_ATOMIC = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "r2"}


class Location(Protocol):
    """A flat set of named files."""

    def size(self, name: str) -> int | None:
        """Bytes of the file, None if there is none."""

    def write(self, name: str, content: Callable[[BinaryIO], None]) -> None:
        """Make the file, replacing one of this name. Raises ArtifactError; then nothing is left behind."""

    def open(self, name: str) -> BinaryIO:
        """A readable file with a descriptor. Raises FileNotFoundError."""

    def delete(self, name: str) -> None:
        """Remove the file, if there is one."""


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
    return RemoteFolder(url) if "://" in url or "::" in url else LocalFolder(Path(url))


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
