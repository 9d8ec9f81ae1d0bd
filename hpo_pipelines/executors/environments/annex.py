"""A process beside the worker in which steps run, as the worker sees it: orders in, messages and console out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from hpo_pipelines.executors import processes
from hpo_pipelines.executors.base import Assignment, Begun, Ended, Lost, Reported, ended

SOFT_SECONDS = 0.8
"""How long an interrupted step may take to end by itself; a little less than whoever interrupts allows."""

READY = "ready"
"""The first message of an annex: it takes orders from now on."""

_PIPE_BYTES = 1024 * 1024

Send = Callable[[Reported | Begun], None]
Write = Callable[[bytes], None]


@dataclass(frozen=True)
class Order:
    """One attempt as an annex gets it."""

    assignment: Assignment
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: str = ""
    """The working folder; empty for that of the image."""


class NotReady(Exception):
    """The process ended before it took orders; the message says how."""


class Annex:
    """A process that takes orders on a pipe, one at a time. ``write`` takes what it prints meanwhile, in each call.

    ``start`` makes it, given three descriptors: of its orders, of its messages, and of what it prints. It belongs to
    this process's own tree, and ends with it. Raises OSError when it cannot be started.
    """

    def __init__(self, start: Callable[[int, int, int], subprocess.Popen[bytes]]) -> None:
        orders, ours = os.pipe()
        theirs_in, messages = os.pipe()
        console, prints = os.pipe()
        try:
            self._process = start(orders, messages, prints)
        except OSError:
            for descriptor in (ours, theirs_in, console):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (orders, messages, prints):
                os.close(descriptor)
        self._orders = Connection(ours, readable=False)
        self._messages = _Messages(theirs_in)
        self._console: int | None = console
        os.set_blocking(console, False)
        with contextlib.suppress(OSError, AttributeError):  # a limit of the system; it is about speed only
            fcntl.fcntl(console, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ready(self, write: Write) -> None:
        """Wait until it takes orders. Raises NotReady."""
        last = self._converse(write, lambda message: None, lambda message: message == READY)
        if last is None:
            raise NotReady(self.end(write))

    def run(self, order: Order, send: Send, write: Write) -> Ended:
        """Run one attempt; whatever interrupts this interrupts the step, and then ends the process."""
        try:
            with contextlib.suppress(OSError):  # it has died, which its messages tell
                self._orders.send_bytes(pickle.dumps(("run", order), protocol=5))
            last: Ended | None = self._converse(write, send, ended)
        except BaseException:
            self._interrupt(order.assignment.id, write)
            raise
        return Lost(self.end(write)) if last is None else last

    def _interrupt(self, attempt: str, write: Write) -> None:
        """Let the step tidy up, for a moment."""
        try:
            with contextlib.suppress(OSError):
                self._orders.send_bytes(pickle.dumps(("cancel", attempt), protocol=5))
            self._converse(write, lambda message: None, ended, time.monotonic() + SOFT_SECONDS)
        finally:
            self.end(write)

    def _converse(
        self, write: Write, send: Callable[[Any], None], last: Callable[[Any], bool], until: float | None = None
    ) -> Any:
        """Pass on what comes until ``last`` says so of a message; returns that, None at the end of the process."""
        while True:
            patience = None if until is None else max(0.0, until - time.monotonic())
            sources = [self._messages.descriptor, *([] if self._console is None else [self._console])]
            readable = wait(sources, patience)
            if not readable:
                return None
            if self._console in readable:
                self._pump(write)
            if self._messages.descriptor in readable:
                messages = self._messages.read()
                for message in messages or ():
                    if last(message):
                        self._pump(write)
                        return message
                    send(message)
                if messages is None:
                    return None

    def _pump(self, write: Write) -> None:
        """Take what is in the console's pipe now."""
        while self._console is not None:
            try:
                data = os.read(self._console, 65536)
            except BlockingIOError:
                return
            if not data:
                os.close(self._console)
                self._console = None
                return
            write(data)

    def end(self, write: Write = lambda data: None) -> str:
        """End the process and all that it started, at once; returns how it died, for a person. Idempotent."""
        if self._process.poll() is None:
            processes.kill_tree(self._process.pid)
        code = self._process.wait()
        self._pump(write)
        if self._console is not None:
            os.close(self._console)
            self._console = None
        self._orders.close()
        self._messages.close()
        return _death(code)


class _Messages:
    """The reading end of a pipe that a :class:`Connection` writes to; never waits, so it can be left at any time."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        os.set_blocking(descriptor, False)
        self._buffer = bytearray()
        self._closed = False

    def read(self) -> list[Any] | None:
        """The messages that are complete; None when there will be no more."""
        try:
            data = os.read(self.descriptor, 1 << 20)
        except BlockingIOError:
            return []
        if not data:
            return None
        self._buffer += data
        found = []
        while (message := self._next()) is not None:
            found.append(pickle.loads(message))
        return found

    def _next(self) -> bytes | None:
        """The next message, in the framing of :mod:`multiprocessing.connection`."""
        start, size = 4, -1
        if len(self._buffer) >= 4:
            (size,) = struct.unpack_from("!i", self._buffer)
            if size == -1 and len(self._buffer) >= 12:
                start, (size,) = 12, struct.unpack_from("!Q", self._buffer, 4)
        if size < 0 or len(self._buffer) < start + size:
            return None
        message = bytes(self._buffer[start : start + size])
        del self._buffer[: start + size]
        return message

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self.descriptor)


def _death(code: int) -> str:
    if code < 0:
        return f"its process was killed by signal {-code} ({signal.strsignal(-code)})"
    return f"its process exited with code {code}"
