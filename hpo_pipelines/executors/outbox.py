"""What a running attempt tells its driver, in a worker that has no pipe to it: numbered, repeated until it is there."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hpo_pipelines.executors.base import Begun, ConsoleChunk, Message

Numbered: TypeAlias = tuple[int, Message | Begun]
Confirm: TypeAlias = Callable[[bool], None]
Post: TypeAlias = Callable[[Sequence[Numbered], Confirm], None]
"""Sends messages off without waiting; calls ``Confirm`` once, from any thread: have they arrived?"""

FIRST_SECONDS = 0.1
"""An attempt that is over by then posts nothing: all it has to say travels with its result."""
PERIOD_SECONDS = 0.2
CHUNK = 256 * 1024
"""Console bytes in one message."""
AHEAD = 4 * 1024 * 1024
"""Console bytes under way, at most; the others wait in their file."""
LATE = 64 * 1024
"""Console bytes that may travel with the result."""


@dataclass
class _Letter:
    number: int
    message: Message | Begun
    posted: bool = False


class Outbox:
    """The messages of one attempt. ``console`` is its console file, where nobody else reads that one.

    A thread posts what has come together every fifth of a second. Messages stay here until they are confirmed.
    """

    def __init__(self, post: Post, console: str | None) -> None:
        self._post = post
        self._console = console
        self._offset = 0
        self._letters: list[_Letter] = []
        self._count = 0
        self._lock = threading.Lock()
        self._confirmed = threading.Condition(self._lock)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, message: Message | Begun) -> None:
        """Tell the driver ``message``, soon."""
        with self._lock:
            self._add(message)
            self.start()

    def start(self) -> None:
        """Begin to post; happens by itself with the first :meth:`put`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._pump, name="hpo-outbox", daemon=True)
            self._thread.start()

    def close(self, patience: float = 30.0) -> tuple[int, list[Numbered]]:
        """Stop posting; returns how many messages there were, and those not confirmed, which travel with the result.

        Console output beyond 64 KB is posted first; this waits ``patience`` seconds at most for it to arrive.
        """
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        end = time.monotonic() + patience
        while self._read() > LATE:
            if not self._flush(max(0.0, end - time.monotonic())):
                self._admit_loss()
                break
        with self._lock:
            return self._count, [(letter.number, letter.message) for letter in self._letters]

    def flush(self, patience: float) -> bool:
        """Post everything now; whether all of it arrived within ``patience`` seconds."""
        self._read()
        return self._flush(patience)

    def _flush(self, patience: float) -> bool:
        self._send()
        with self._lock:
            return self._confirmed.wait_for(lambda: not self._letters, patience)

    def _admit_loss(self) -> None:
        left = os.path.getsize(self._console) - self._offset if self._console is not None else 0
        if left > 0:
            words = f"\n[{left} more bytes of console output could not be sent to the driver]\n"
            with self._lock:
                self._add(ConsoleChunk(self._offset, words.encode()))

    def _pump(self) -> None:
        pause = FIRST_SECONDS
        while not self._closing.wait(pause):
            pause = PERIOD_SECONDS
            self._read()
            self._send()

    def _add(self, message: Message | Begun) -> None:
        self._letters.append(_Letter(self._count, message))
        self._count += 1

    def _read(self) -> int:
        """Turn new console bytes into messages; returns how many console bytes are here, not confirmed."""
        with self._lock:
            waiting = sum(len(x.message.data) for x in self._letters if isinstance(x.message, ConsoleChunk))
            if self._console is None:
                return waiting
            with contextlib.suppress(FileNotFoundError), open(self._console, "rb") as file:
                file.seek(self._offset)
                while waiting < AHEAD and (data := file.read(CHUNK)):
                    self._add(ConsoleChunk(self._offset, data))
                    self._offset += len(data)
                    waiting += len(data)
            return waiting

    def _send(self) -> None:
        with self._lock:
            batch = [letter for letter in self._letters if not letter.posted]
            for letter in batch:
                letter.posted = True
        if batch:
            self._post([(letter.number, letter.message) for letter in batch], lambda ok: self._hear(batch, ok))

    def _hear(self, batch: list[_Letter], arrived: bool) -> None:
        with self._lock:
            if arrived:
                numbers = {letter.number for letter in batch}
                self._letters = [letter for letter in self._letters if letter.number not in numbers]
                self._confirmed.notify_all()
            else:
                for letter in batch:
                    letter.posted = False
