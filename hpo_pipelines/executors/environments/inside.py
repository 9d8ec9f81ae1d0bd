"""What runs in a process apart: a worker that takes orders on one pipe and sends messages on another."""

from __future__ import annotations

import contextlib
import os
from contextlib import AbstractContextManager
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from hpo_pipelines.executors import console, worker
from hpo_pipelines.executors.base import Assignment, Completed, Ended, Failed, Reported
from hpo_pipelines.executors.environments import secrets
from hpo_pipelines.executors.environments.annex import READY, Order
from hpo_pipelines.executors.local_worker import LocalWorker
from hpo_pipelines.types import Environment


class Inside(LocalWorker):
    """Runs orders. What a step prints goes to descriptors 1 and 2, which somebody else takes down."""

    def __init__(self, orders: Connection, messages: Connection) -> None:
        super().__init__(orders, messages)
        self._mask = secrets.Mask({})

    def _announce(self) -> None:
        self._send(READY)

    def _run(self, order: Order) -> Ended:  # type: ignore[override]
        self._mask = secrets.Mask(order.secrets)
        if order.folder:
            # Where it is no more, the step stays in the folder of the one before.
            with contextlib.suppress(OSError):
                os.chdir(order.folder)
        with secrets.revealed(order.secrets):
            return super()._run(replace(order.assignment, environment=Environment()))

    def _captured(self, assignment: Assignment) -> AbstractContextManager[None]:
        return console.flushed()

    def _work(self, assignment: Assignment) -> Ended:
        done = worker.execute(assignment, self._loader, self._send)
        if isinstance(done, Failed):
            return self._mask.failed(done)
        return self._mask.completed(done) if isinstance(done, Completed) else done

    def _send(self, message: Any) -> None:
        if isinstance(message, Reported):
            message = replace(message, name=self._mask.text(message.name))
        super()._send(message)


def main(orders: int, messages: int) -> None:
    """Take orders on the descriptor ``orders``, send messages on ``messages``, until the orders end."""
    for descriptor in (orders, messages):  # not for what the step starts
        os.set_inheritable(descriptor, False)
    Inside(Connection(orders, writable=False), Connection(messages, readable=False)).serve()


def contained() -> None:
    """Take orders on standard input and send messages on standard output; what is printed goes to standard error."""
    orders, messages = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    main(orders, messages)
