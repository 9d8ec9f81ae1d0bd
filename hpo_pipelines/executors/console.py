"""A process's console, caught at the level of file descriptors: Python, C code and child processes alike."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, TextIO

from hpo_pipelines.errors import StoreError

_libc = ctypes.CDLL(None)
_IOLBF = 1
"""Of glibc's stdio.h."""


@contextlib.contextmanager
def captured(path: str) -> Iterator[None]:
    """Append all that is written to descriptors 1 and 2 to the file ``path`` while the block runs.

    Holds for the whole process, so for one step at a time. The bytes are in the file as they are written: a killed
    process loses none of them. Raises StoreError if the file cannot be made.
    """
    target = _opened(path)
    _flush()
    saved = os.dup(1), os.dup(2)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    try:
        yield
    finally:
        _flush()
        for descriptor, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)


@contextlib.contextmanager
def flushed() -> Iterator[None]:
    """Have all that was printed in the block at its descriptors when it is left."""
    try:
        yield
    finally:
        _flush()


def _opened(path: str) -> int:
    """A descriptor that appends to the file ``path``, made with its folder. Raises StoreError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        try:
            return os.open(path, flags, 0o644)
        except FileNotFoundError:  # the first of its run
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return os.open(path, flags, 0o644)
    except OSError as error:
        raise StoreError(
            f"The console file {path} cannot be written: {error.strerror or error}. Make room there, or give this user "
            "the right to write; then resume: nothing recorded was lost."
        ) from error


def by_lines() -> None:
    """Let what Python and C code of this process print reach the descriptors line by line.

    Into a file both would gather some kilobytes first: nobody could follow them, and a killed process would lose them.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    with contextlib.suppress(ValueError):  # another C library than glibc calls it otherwise
        _libc.setvbuf(ctypes.c_void_p.in_dll(_libc, "stdout"), None, _IOLBF, 0)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A step may have closed or replaced the stream; what it flushed before is all there is.
        with contextlib.suppress(ValueError, OSError, AttributeError):
            stream.flush()
    _libc.fflush(None)


_sink: ContextVar[TextIO | None] = ContextVar("hpo_pipelines.console", default=None)
_echo: ContextVar[bool] = ContextVar("hpo_pipelines.echo", default=True)
_tees = 0
_tees_lock = threading.Lock()


class _Tee:
    """A stream that also writes to the console file of the context it is called from, if there is one."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        sink = _sink.get()
        if sink is not None and not sink.closed:
            sink.write(text)
            sink.flush()
            if not _echo.get():
                return len(text)
        return self._stream.write(text)  # type: ignore[no-any-return]

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def teed(path: str, *, echo: bool = True) -> Iterator[None]:
    """Append what Python code of this context prints to the file ``path``, and with ``echo`` show it as before.

    For code that shares its process with other consoles: a pipeline's body, and steps run inline. C code and child
    processes write past it. Raises StoreError if the file cannot be made.
    """
    file = os.fdopen(_opened(path), "a", encoding="utf-8", errors="replace")
    _install()
    token, echoing = _sink.set(file), _echo.set(echo and _echo.get())
    try:
        yield
    finally:
        _sink.reset(token)
        _echo.reset(echoing)
        _uninstall()
        # On a full disk whoever printed has had the error; what could not be written then is tried once more here.
        with contextlib.suppress(OSError):
            file.close()


def _install() -> None:
    global _tees
    with _tees_lock:
        _tees += 1
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if not isinstance(stream, _Tee):
                setattr(sys, name, _Tee(stream))


def _uninstall() -> None:
    global _tees
    with _tees_lock:
        _tees -= 1
        if _tees:
            return
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, _Tee):
                setattr(sys, name, stream._stream)


def tail(path: str, size: int = 4096) -> str:
    """The last ``size`` bytes of the console file ``path`` as text, from a line's start; empty if it cannot be read."""
    try:
        with open(path, "rb") as file:
            length = file.seek(0, os.SEEK_END)
            file.seek(max(0, length - size))
            data = file.read()
    except OSError:
        return ""
    if length > size:
        data = data.partition(b"\n")[2] or data
    return data.decode("utf-8", "replace")
