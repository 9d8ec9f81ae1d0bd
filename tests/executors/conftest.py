"""Running workers' code inside the test process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from hpo_pipelines.executors import console, processes
from hpo_pipelines.executors.interrupts import WAKE


class Exit(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def as_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Exit]]:
    """Lets this process be a worker for a while: its signals and streams are as before afterwards, and it lives on."""

    def leave(code: int) -> None:
        raise Exit(code)

    monkeypatch.setattr(processes, "adopt_orphans", lambda: None)
    monkeypatch.setattr(console, "by_lines", lambda: None)
    monkeypatch.setattr(os, "_exit", leave)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, WAKE)}
    wake_up = signal.set_wakeup_fd(-1)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, set())
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    yield Exit
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    signal.set_wakeup_fd(wake_up)
    for number, handler in handlers.items():
        signal.signal(number, handler)
