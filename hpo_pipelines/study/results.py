"""What the trials of a study gave, read on from Optuna's journal as it grows: quicker than making its trials anew."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

_BEGIN, _END = (
    tuple(f'{{"op_code":{space}{int(operation)},'.encode() for space in ("", " "))
    for operation in (JournalOperation.CREATE_TRIAL, JournalOperation.SET_TRIAL_STATE_VALUES)
)
"""How the two kinds of entries begin that count, as we write them and as Optuna does; most are of other kinds."""


class JournalResults:
    """From a journal file that has this one study: its entries are read once, and only those that say a result."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        """How much of the file has been read, in bytes."""
        self.trials = 0
        """How many trials it has, those included that have no values."""
        self._values: dict[int, tuple[float, ...]] = {}

    def values(self) -> Mapping[int, tuple[float, ...]]:
        """The values of each completed trial, one for each objective, by its number. Not safe for threads."""
        for line in self._fresh():
            if line.startswith(_BEGIN):
                # The trials of a journal with one study have their numbers as ids.
                if b'"state"' in line:
                    self._take(self.trials, json.loads(line))
                self.trials += 1
            elif line.startswith(_END):
                entry = json.loads(line)
                self._take(entry["trial_id"], entry)
        return self._values

    def _take(self, number: int, entry: Mapping[str, Any]) -> None:
        if entry.get("state") != TrialState.COMPLETE:
            return
        values = entry.get("values") or [entry["value"]]
        self._values[number] = tuple(float(value) for value in values)

    def _fresh(self) -> Iterator[bytes]:
        """The entries since the last look; all of them where the file has been cut, which mending it does."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            if file.seek(0, 2) < self._read:
                self._read, self.trials, self._values = 0, 0, {}
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # it is being written
                self._read += len(line)
                yield line
