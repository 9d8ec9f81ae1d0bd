"""The artifacts of runs, in folders of this machine."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress

_REMEMBERED = 64
"""How many texts are linked to when they come again: a study's source, its changes, few of them at a time."""
_LONGEST = 1_000_000
"""Characters of the longest text that is remembered."""


class Files:
    """Writes texts into folders. What is the same in many runs is one file on the disk, under many names.

    The trials of a study share their source, and making a file costs 20 times as much as naming one again.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[str, tuple[int, int]]] = OrderedDict()

    def write(self, folder: str, texts: Mapping[str, str]) -> None:
        """Store ``texts``, path → text, below ``folder``, in place of what is there. Raises OSError."""
        os.makedirs(folder, exist_ok=True)
        for path, text in texts.items():
            target = os.path.join(folder, path)
            if "/" in path:
                os.makedirs(os.path.dirname(target), exist_ok=True)
            if not self._linked(text, target):
                _create(text, target)
                self._remember(text, target)

    def _linked(self, text: str, target: str) -> bool:
        """Whether the file ``target`` was made by giving a known one another name."""
        if text not in self._known:
            return False
        source, written = self._known[text]
        # Some file systems have no links, and all a limit to them; and somebody may have edited or removed the file.
        with suppress(OSError):
            if source != target and _state(source) == written:
                with suppress(FileNotFoundError):
                    os.unlink(target)
                os.link(source, target)
                return True
        return False

    def _remember(self, text: str, path: str) -> None:
        if len(text) > _LONGEST:
            return
        self._known[text] = path, _state(path)
        self._known.move_to_end(text)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def _state(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size


def _create(text: str, path: str) -> None:
    data = text.encode("utf-8", "backslashreplace")
    # Never into a file that is there: other runs may have it too.
    with suppress(FileNotFoundError):
        os.unlink(path)
    with open(path, "xb") as file:
        file.write(data)
