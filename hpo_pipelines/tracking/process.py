"""A process of its own beside the driver: so that importing and feeding MLflow never takes the driver's time.

The driver's end is :class:`ChildProcess`; what runs in the child stands in ``hpo_pipelines.tracking.__main__``. They
talk in lines of JSON, over the child's standard input and output, whose end tells it that the driver is gone.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import hpo_pipelines
from hpo_pipelines.settings import Settings
from hpo_pipelines.tracking.backend import absolute_uri
from hpo_pipelines.types import Queue
from hpo_pipelines.webhook import Webhook

log = logging.getLogger(__name__)

RESTARTS = (1.0, 4.0, 16.0)
"""Seconds to wait before each new start of a child that ended by itself; after the last it stays down."""
_LOG_LIMIT = 5_000_000

Message = Mapping[str, Any]


class ChildProcess:
    """Runs ``python -m hpo_pipelines.tracking ROLE``, and again when it crashes.

    ``hear`` gets what it says, from a thread of ours. ``files`` are descriptors that it inherits.
    """

    def __init__(
        self, role: str, settings: Settings, hear: Callable[[Message], None], *, files: Sequence[int] = ()
    ) -> None:
        self.log = settings.home / "logs" / f"{role}.log"
        self._role = role
        self._settings = settings
        self._hear = hear
        self._files = tuple(files)
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._leaving = threading.Event()
        self._starting = threading.Lock()
        self._writing = threading.Lock()
        self._gave_up = ""

    def start(self) -> None:
        """Start it, without waiting for it. Does nothing the second time, from whichever thread."""
        with self._starting:
            if self._thread is not None:
                return
            self._spawn()
            self._thread = threading.Thread(target=self._watch, name=f"hpo-{self._role}", daemon=True)
            self._thread.start()

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def problem(self) -> str | None:
        """Why it is down for good, None while it is not."""
        return self._gave_up or None

    def tell(self, message: Message) -> bool:
        """Send it a message; False if it is not there to hear."""
        with self._writing:
            if self._process is None or self._process.stdin is None or self._process.stdin.closed:
                return False
            try:
                self._process.stdin.write(json.dumps(message) + "\n")
                self._process.stdin.flush()
            except OSError:
                return False
        return True

    def leave(self) -> None:
        """Let it finish and end by itself, and do not start it again."""
        self._leaving.set()
        self._hang_up()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; False after ``timeout`` seconds."""
        if self._thread is not None:
            self._thread.join(timeout)
            return not self._thread.is_alive()
        return True

    # -- in the thread that watches it

    def _watch(self) -> None:
        for delay in (*RESTARTS, None):
            code = self._listen()
            if self._leaving.is_set() or code == 0:
                return
            if delay is None:
                times = len(RESTARTS) + 1
                self._gave_up = f"the {self._role} process ended {times} times, last with code {code}; see {self.log}"
                log.warning("%s", self._gave_up)
                self._hear({"down": self._gave_up})
                return
            log.warning("the %s process ended with code %d; again in %g s; see %s", self._role, code, delay, self.log)
            if self._leaving.wait(delay):
                return
            self._spawn()

    def _listen(self) -> int:
        """Hear what the process says until it ends; returns its exit code."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._hear(json.loads(line))
        code = process.wait()
        self._hang_up()
        return code

    def _hang_up(self) -> None:
        with self._writing:
            if self._process is not None and self._process.stdin is not None:
                # Whatever is still in its buffer concerns nobody when the process is gone.
                with contextlib.suppress(OSError):
                    self._process.stdin.close()

    def _spawn(self) -> None:
        with self._open_log() as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "hpo_pipelines.tracking", self._role, *map(str, self._files)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                pass_fds=self._files,
                # Not the driver's folder: a file there called mlflow.py would stand in for MLflow.
                cwd=self._settings.home,
                env=_environment(),
                # Ctrl-C is for the driver, which then tells us.
                start_new_session=True,
                text=True,
                encoding="utf-8",
            )
        with self._writing:
            self._process = process
        # Settings hold passwords, which other users could read on a command line.
        self.tell(_settings_record(self._settings))

    def _open_log(self) -> IO[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            os.replace(self.log, self.log.with_suffix(".log.1"))
        return self.log.open("ab")


def _settings_record(settings: Settings) -> Message:
    """The settings as JSON, their paths absolute: the child runs in another folder."""
    artifacts = settings.artifacts if ":" in settings.artifacts else str(Path(settings.artifacts).absolute())
    uris = {name: absolute_uri(getattr(settings, name)) for name in ("store", "tracking_uri")}
    return {**asdict(settings), **uris, "artifacts": artifacts, "home": str(settings.home)}


def settings_from(record: Message) -> Settings:
    """The settings that a parent sent as the first line."""
    queues = {name: Queue(**queue) for name, queue in record["queues"].items()}
    hooks = {name: Webhook(**hook) for name, hook in record["notifications"].items()}
    return Settings(**{**record, "home": Path(record["home"]), "queues": queues, "notifications": hooks})


def _environment() -> dict[str, str]:
    """The driver's, and the way to this package where it is not installed."""
    place = Path(hpo_pipelines.__file__).resolve().parents[1]
    if place.name in ("site-packages", "dist-packages"):
        return dict(os.environ)
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), *([known] if known else [])])}


class MirrorProcess:
    """Mirrors the store that ``settings`` name into MLflow, from a process of its own. Nothing here waits for MLflow.

    Without a ``tracking_uri`` it does nothing.
    """

    def __init__(self, settings: Settings) -> None:
        self._child = ChildProcess("mirror", settings, self._heard) if settings.tracking_uri else None
        self._questions = itertools.count(1)
        self._answers: dict[int, bool] = {}
        self._problem: str | None = None
        self._changed = threading.Condition()

    def start(self) -> None:
        """Start the process; returns at once. Does nothing the second time."""
        if self._child is not None:
            self._child.start()

    def drain(self, timeout: float = 5.0) -> bool:
        """Wait until everything recorded up to now is in MLflow; False when that takes longer than ``timeout`` seconds.

        False at once when there is no mirror to wait for, or when another driver's does the work in its own time; what
        is missing then is caught up later.
        """
        if self._child is None:
            return True
        number = next(self._questions)
        deadline = time.monotonic() + timeout
        if not self._child.tell({"drain": number, "timeout": timeout}):
            return False
        with self._changed:
            while number not in self._answers:
                left = deadline - time.monotonic()
                if left <= 0 or not self._child.alive:
                    return False
                self._changed.wait(min(left, 0.1))
            return self._answers.pop(number)

    def stop(self, timeout: float = 0.0) -> bool:
        """Let the process end: it finishes what there is to mirror, within seconds, even when the driver is gone.

        Waits up to ``timeout`` seconds for its end, and returns whether it has ended.
        """
        if self._child is None:
            return True
        self._child.leave()
        return self._child.join(timeout)

    def problem(self) -> str | None:
        """One line on why nothing is being mirrored, None while all is well."""
        if self._child is None:
            return None
        return self._child.problem or self._problem

    def _heard(self, message: Message) -> None:
        with self._changed:
            if "drained" in message:
                self._answers[message["drained"]] = message["ok"]
            if "problem" in message:
                self._problem = message["problem"]
            self._changed.notify_all()
