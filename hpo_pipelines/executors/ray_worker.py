"""What runs in Ray's workers: one generic function for every step, and the actor that carries messages meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

import ray

from hpo_pipelines.errors import StoreError
from hpo_pipelines.executors import console, processes, worker
from hpo_pipelines.executors.base import Assignment, Begun, Ended, Failed, Lost, Reported, Started, TimedOut
from hpo_pipelines.executors.interrupts import Interrupts, wake
from hpo_pipelines.executors.outbox import Confirm, Numbered, Outbox
from hpo_pipelines.failure import Failure

SOFT_SECONDS = 1.0
"""How long an interrupted step may take to end by itself."""

OUT_OF_MEMORY_SECONDS = 0.3
"""The same for one that uses too much memory, which it goes on doing meanwhile."""

LAST_WORDS_SECONDS = 5.0
"""How long a worker that must die waits until its driver knows why."""


@dataclass(frozen=True)
class Terms:
    """How an attempt keeps in touch with its driver."""

    mailbox: str
    """Name of the driver's :class:`Mailbox`."""
    announce: bool
    """Whether the driver wants to hear when the attempt starts."""
    shared_files: bool
    """Whether worker and driver are on one machine."""
    folder: str
    """The driver's working folder there."""


@dataclass(frozen=True)
class Report:
    """What an attempt returns: how it ended, how many messages it had, and those that may not have arrived."""

    ended: Ended
    count: int
    rest: Sequence[Numbered]


class Mailbox:
    """The actor between one driver and its attempts: keeps what they post until the driver has taken it."""

    def __init__(self) -> None:
        # Told apart from what it was before Ray had to restart it.
        self._epoch = uuid.uuid4().hex
        self._letters: list[bytes] = []
        self._taken = 0
        self._arrived = asyncio.Event()

    async def post(self, letter: bytes) -> None:
        """Keep ``letter`` for the driver."""
        self._letters.append(letter)
        self._arrived.set()

    async def take(self, epoch: str, taken: int, patience: float) -> tuple[str, int, list[bytes]]:
        """Wait for letters behind the first ``taken``, which the driver has; at most ``patience`` seconds.

        Returns the epoch, how many letters it has seen with those, and those.
        """
        if epoch != self._epoch:
            taken = 0
        del self._letters[: max(0, taken - self._taken)]
        self._taken = taken
        if not self._letters:
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), patience)
        return self._epoch, self._taken + len(self._letters), list(self._letters)


class _Attempt:
    """One attempt in this process."""

    def __init__(self, assignment: Assignment, terms: Terms, interrupts: Interrupts) -> None:
        self.assignment = assignment
        self.terms = terms
        self.interrupts = interrupts
        self.verdict: Ended | None = None
        self.over = threading.Event()
        self._ending = threading.Lock()
        self._file: IO[bytes] | None = None
        self._console = assignment.console
        if not terms.shared_files:
            self._file, self._console = _private_file()
        self._outbox = Outbox(self._post, None if terms.shared_files else self._console)

    def run(self, loader: worker.Loader) -> Report:
        if self.terms.announce:
            self._outbox.put(Started(f"ray:{socket.gethostname()}:{os.getpid()}", time.time()))
        if self.terms.shared_files:
            with contextlib.suppress(OSError):
                os.chdir(self.terms.folder)
        else:
            self._outbox.start()
        try:
            ended = self._captured(loader)
        except StoreError as error:  # there is no place for its console
            ended = Failed(Failure.of(error))
            self.over.set()
        count, rest = self._outbox.close()
        if self._file is not None:
            self._file.close()
        return Report(self.verdict or ended, count, rest)

    def _captured(self, loader: worker.Loader) -> Ended:
        # What runs apart is measured there, and begins when all that it needs is there.
        apart, timeout = self.assignment.environment.apart, self.assignment.timeout
        memory = None if apart else self.assignment.resources.memory_bytes
        if memory is not None:
            loader.close()  # the idle ones would count
        self._watchdog = processes.Watchdog(memory, timeout, self._past_limit, waits=apart)
        with console.captured(self._console), self._watchdog:
            ended = self.interrupts.run(lambda: self._execute(loader), lambda error: Failed(Failure.of(error)))
            with self._ending:
                self.over.set()
            if self.interrupts.arrived:
                processes.kill_children(os.getpid())
        return ended

    def _execute(self, loader: worker.Loader) -> Ended:
        ended = worker.execute(self.assignment, loader, self._send)
        # The exception itself need not be picklable; what of it can travel is in the failure.
        return Failed(ended.failure) if isinstance(ended, Failed) else ended

    def _send(self, message: Reported | Begun) -> None:
        if isinstance(message, Begun):
            self._watchdog.begin()
        with self.interrupts.held():
            self._outbox.put(message)

    def _post(self, messages: Sequence[Numbered], confirm: Confirm) -> None:
        try:
            mailbox = _mailbox(self.terms.mailbox)
            sent = mailbox.post.remote(pickle.dumps((self.assignment.id, list(messages)), protocol=5))
        except Exception:  # noqa: BLE001 - not there yet, or no more; the messages are posted again
            confirm(False)
        else:
            sent._on_completed(lambda answer: confirm(not isinstance(answer, BaseException)))

    def _past_limit(self, reason: str | None) -> None:
        """The step uses too much time (None) or memory: interrupt it; if that does not end it, this process ends."""
        self.verdict = TimedOut(self.assignment.timeout or 0.0) if reason is None else Lost(reason)
        self.interrupts.send()
        self.end(SOFT_SECONDS if reason is None else OUT_OF_MEMORY_SECONDS)

    def end(self, patience: float) -> None:
        """End this process, unless the attempt is over within ``patience`` seconds."""
        if self.over.wait(patience):
            return
        with self._ending:
            if self.over.is_set():
                return
            processes.kill_children(os.getpid())
            if self.assignment.environment.image is not None:
                from hpo_pipelines.executors.environments import container

                # Now: whatever this process leaves behind, its raylet ends with it.
                container.remove(self.assignment.id)
            if self.verdict is not None:
                self._outbox.put(self.verdict)
                self._outbox.flush(LAST_WORDS_SECONDS)
            os._exit(1)


class _Process:
    """What a Ray worker process keeps between attempts. Made in its main thread."""

    def __init__(self) -> None:
        processes.adopt_orphans()
        console.by_lines()
        os.environ.setdefault("PYTHONUNBUFFERED", "1")
        self.loader = worker.Loader()
        self.interrupts = Interrupts()
        self.attempt: _Attempt | None = None
        self._signals, self._signalled = socket.socketpair()
        self._signalled.setblocking(False)
        threading.Thread(target=self._hear_signals, name="hpo-signals", daemon=True).start()

    def run(self, assignment: Assignment, terms: Terms) -> Report:
        # Anew each time: code that runs an event loop puts its own in this place.
        signal.set_wakeup_fd(self._signalled.fileno(), warn_on_full_buffer=False)
        if terms.shared_files:
            # Ray blocks it against Ctrl-C in a terminal, which has no hold of a Ray of ours; a step's children would
            # inherit that, and could not be interrupted by the step itself.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        self.attempt = _Attempt(assignment, terms, self.interrupts)
        try:
            return self.attempt.run(self.loader)
        finally:
            self.attempt = None

    def _hear_signals(self) -> None:
        """See to it that a cancel takes effect.

        ``ray.cancel`` only notes an interrupt for the main thread, which does not look while it sleeps or waits for a
        child. Python writes to this socket when it notes it.
        """
        while data := self._signals.recv(64):
            attempt = self.attempt
            if signal.SIGINT in data and attempt is not None and not attempt.over.is_set():
                wake()
                attempt.end(SOFT_SECONDS)


_process: _Process | None = None


def execute(order: bytes) -> bytes:
    """Run the pickled ``(Assignment, Terms)``; returns a pickled :class:`Report`."""
    global _process
    if _process is None:
        _process = _Process()
    return pickle.dumps(_process.run(*pickle.loads(order)), protocol=5)


_mailboxes: dict[str, ray.actor.ActorHandle] = {}


def _mailbox(name: str) -> ray.actor.ActorHandle:
    if name not in _mailboxes:
        _mailboxes[name] = ray.get_actor(name)
    return _mailboxes[name]


def _private_file() -> tuple[IO[bytes], str]:
    """A console file that lasts until it is closed, and where to open it."""
    if os.path.isdir("/proc/self/fd"):
        # It has no other name, so that nothing is left of it when this process is killed.
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the attempt is over
        return file, f"/proc/self/fd/{file.fileno()}"
    named = tempfile.NamedTemporaryFile(prefix="hpo-console-")  # noqa: SIM115
    return named, named.name
