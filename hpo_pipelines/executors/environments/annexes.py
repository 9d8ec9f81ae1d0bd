"""The processes apart that one worker keeps: one for each environment it has lately met, ready for the next step."""

from __future__ import annotations

import os
import socket
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from hpo_pipelines.errors import StepFailed
from hpo_pipelines.executors.base import Assignment, Ended, Failed, Lost
from hpo_pipelines.executors.environments import secrets
from hpo_pipelines.executors.environments.annex import Annex, NotReady, Order, Send, Write
from hpo_pipelines.executors.environments.child import child
from hpo_pipelines.executors.environments.container import Container, sweep_once
from hpo_pipelines.executors.environments.overlay import TOLD, Overlay
from hpo_pipelines.executors.environments.staging import staged
from hpo_pipelines.failure import Failure

KEPT = 3
"""Processes kept between steps, at most; each holds what its steps have imported."""

_Name: TypeAlias = tuple[object, ...]


class Annexes:
    """Runs steps apart. ``write`` takes what they print; it belongs to the one step that runs."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._kept: OrderedDict[_Name, Annex] = OrderedDict()

    def run(self, assignment: Assignment, send: Send) -> Ended:
        """Run one attempt in a process with its environment. What goes wrong before it runs is a failure of its own."""
        environment = assignment.environment
        values = None
        try:
            values = secrets.read(environment.secrets, assignment.label)
            write = secrets.Mask(values).stream(self._write)
            try:
                return self._run(Order(assignment, values, os.getcwd()), send, write)
            finally:
                write.flush()
        except BaseException as error:  # noqa: BLE001 - also an interrupt: whoever sent it knows it from a failure
            # A build that failed may have met a network that was down: another attempt is worth it.
            retryable = isinstance(error, StepFailed) and values is not None
            failure = Failure.of(error, retryable=retryable)
            # Where in our own code it was found out helps nobody.
            return Failed(replace(failure, traceback=str(error)) if isinstance(error, StepFailed) else failure, error)

    def _run(self, order: Order, send: Send, write: Callable[[bytes], None]) -> Ended:
        environment = order.assignment.environment
        overlay = Overlay(environment).build(write) if environment.packages else None
        if environment.image is not None:
            return _contained(order, overlay, send, write)
        name = (overlay, *environment.env.items(), environment.secrets)
        annex = self._kept.pop(name, None)
        if annex is not None and not annex.alive:
            annex.end()
            annex = None
        if annex is None:
            self._make_room()
            annex = child(environment, overlay)
            try:
                annex.ready(write)
            except NotReady as death:
                return Lost(str(death))
            except BaseException:
                annex.end(write)
                raise
        ended = annex.run(order, send, write)
        if annex.alive and not isinstance(ended, Lost):
            self._kept[name] = annex
        else:
            annex.end()
        return ended

    def _make_room(self) -> None:
        while len(self._kept) >= KEPT:
            self._kept.popitem(last=False)[1].end()

    def close(self) -> None:
        """End every process; idempotent."""
        while self._kept:
            self._kept.popitem()[1].end()


def _contained(order: Order, overlay: Path | None, send: Send, write: Write) -> Ended:
    """Run one attempt in a container of its own."""
    said = bytearray()

    def heard(data: bytes) -> None:
        said.extend(data)
        write(data)

    assignment = order.assignment
    with staged(assignment) as (inside, bring_back):
        container = Container(assignment, inside.artifacts, overlay)
        sweep_once()
        try:
            container.ready(heard)
            # Working folders are of the image: those of this machine are not there.
            ended = container.run(replace(order, assignment=inside, folder=""), send, write)
        except NotReady as death:
            words = said.decode("utf-8", "replace")[-TOLD:].strip()
            version = "{}.{}".format(*sys.version_info)
            raise StepFailed(
                f"no step can be run in the image {assignment.environment.image} on node {socket.gethostname()} "
                f"({death}). The image must be there or be had from its registry, with Python {version} as python3 and "
                f"glibc. The engine said:\n{words}"
            ) from None
        finally:
            container.end(write)
        return bring_back(ended)
