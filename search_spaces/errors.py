"""The one error of this package."""

from __future__ import annotations


class SpaceError(ValueError):
    """A search space is wrong; the message names the file, the line, the key and the nearest valid spelling.

    ``path`` is the way to the wrong key (``("lr", "low")``), ``file`` and ``line`` (from 1) where it is written;
    the last two are ``None`` for a space written in Python.
    """

    def __init__(
        self,
        message: str = "",
        *,
        path: tuple[str | int, ...] = (),
        file: str | None = None,
        line: int | None = None,
    ) -> None:
        self.path = path
        self.file = file
        self.line = line
        super().__init__(message)
