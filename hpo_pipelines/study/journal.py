"""Optuna's journal of a study, as a file beside our store."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend


class StudyJournal(JournalFileBackend):  # type: ignore[misc]
    """Optuna's own file format, readable by whatever reads that, written by the one process that drives the study.

    Two things that Optuna's own backend does are left out, since each costs milliseconds a trial: the lock file, which
    our store's lease stands for, and the wait for the disk. A killed process loses nothing; what a power cut loses is
    told again from the store when the study is resumed.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(str(path))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, lines.encode("utf-8"))
        finally:
            os.close(descriptor)

    def mend(self) -> None:
        """Cut off what a power cut left half written at the end. For the process that drives the study."""
        content = self._path.read_bytes()
        whole = 0
        for line in content.splitlines(keepends=True):
            if not _is_entry(line):
                os.truncate(self._path, whole)
                return
            whole += len(line)


def _is_entry(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
