"""What executors say of the steps of one run, and what follows from it; the scheduler's lock is held throughout."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hpo_pipelines.engine.recorder import WATCH_SECONDS
from hpo_pipelines.engine.step import StepCall
from hpo_pipelines.engine.verdict import NotCompleted, Tries, began_at, ended, judge
from hpo_pipelines.executors import console
from hpo_pipelines.executors.base import (
    Assignment,
    Cancelled,
    Completed,
    ConsoleChunk,
    Message,
    Reported,
    Started,
    Waiting,
)
from hpo_pipelines.task import Attempt, CacheEntry, Metric
from hpo_pipelines.types import Status

if TYPE_CHECKING:
    from hpo_pipelines.engine.scheduler import Scheduler


class Hearing:
    """Listens for one scheduler."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._recorder = scheduler.recorder
        self._written_at = 0.0

    def heard(self, step: StepCall, assignment: Assignment, message: Message) -> None:
        """Take ``message`` about the attempt that is under way."""
        if isinstance(message, Started):
            self._started(step, message)
        elif isinstance(message, Waiting):
            self._scheduler.waits(step, message.reason)
        elif isinstance(message, Reported):
            self._reported(step, message)
        elif isinstance(message, ConsoleChunk):
            self._scheduler.engine.write_console(assignment.console, message)
        elif isinstance(message, Completed):
            self._completed(step, message)
        else:
            self._not_completed(step, assignment, message)

    def _started(self, step: StepCall, message: Started) -> None:
        began = began_at(message, step.submitted_at)
        step.running = Attempt(step.id, step.attempt, Status.RUNNING, began, worker=message.worker)
        self._recorder.note(step, Status.RUNNING, began=began, reason=step.reason, key=step.key.digest)
        step.stage = "running"
        self.report_anew(step)
        self._write_inline(step)

    def report_anew(self, step: StepCall) -> None:
        """Forget what an earlier attempt of the step has reported, if one has."""
        if step.outdated:
            step.outdated = False
            step.metrics.clear()
            self._recorder.report_anew(step)

    def _write_inline(self, step: StepCall) -> None:
        """The watcher cannot: a step that runs inline holds the lock."""
        if self._scheduler.executor_of(step) == "inline" and time.monotonic() - self._written_at > WATCH_SECONDS:
            self._written_at = time.monotonic()
            self._recorder.write()

    def _reported(self, step: StepCall, message: Reported) -> None:
        number = step.counts.get(message.name, 0) if message.step is None else message.step
        step.counts[message.name] = number + 1
        step.metrics[message.name] = message.value
        self._recorder.report(Metric(step.id, message.name, message.value, number, message.at))
        self._write_inline(step)
        self._scheduler.prune(
            self._scheduler.options.heard(step.component.name, [(message.name, message.value, number)])
        )

    def _completed(self, step: StepCall, message: Completed) -> None:
        step.outputs, step.seconds = message.outputs, message.seconds
        entry = None
        if step.key.digest is not None and self._scheduler.shares(step):
            name, parts = step.component.name, step.key.parts
            entry = CacheEntry(step.key.digest, step.id, name, message.outputs, parts, message.seconds, time.time())
        attempt = self._ended(step, Status.COMPLETED, seconds=message.seconds)
        self._recorder.complete(step, attempt, entry)
        self._scheduler.over(step, None, entry and replace(entry, outputs=step.outputs))

    def _ended(
        self, step: StepCall, status: Status, error: Mapping[str, Any] | None = None, *, seconds: float | None = None
    ) -> Attempt | None:
        """The attempt that ends now, if one was begun; see :func:`ended`."""
        attempt, step.running = step.running, None
        return attempt and replace(ended(attempt, seconds), status=status, error=error)

    def _not_completed(self, step: StepCall, assignment: Assignment, message: NotCompleted) -> None:
        if type(message).__name__ == "Lost":
            step.lose()
        retry = step.component.options.retry
        log = console.tail(assignment.console)
        verdict = judge(step.name, message, Tries(step.attempt - step.earlier, step.losses), retry, log)
        stopped = self._scheduler.stopping is not None or isinstance(message, Cancelled)
        attempt = self._ended(step, Status.ABORTED if stopped else Status.FAILED, verdict.failure.record())
        if stopped:
            _, reason = self._scheduler.stopping or (Status.ABORTED, "aborted")
            return self._scheduler.over(step, Status.ABORTED, attempt=attempt, reason=reason)
        if verdict.again:
            wait = retry.delay(step.attempt - step.earlier, random.random())
            said = f"attempt {step.attempt} failed ({verdict.reason}); again in {wait:.1f} s"
            self._recorder.end(step, Status.QUEUED, attempt=attempt, reason=said)
            step.stage = "waiting"
            step.outdated = bool(step.metrics)
            step.counts.clear()
            return self._scheduler.engine.later(wait, partial(self._scheduler.again, step))
        step.failure, step.error = verdict.failure, verdict.error
        error = verdict.failure.journalled()
        return self._scheduler.over(step, Status.FAILED, attempt=attempt, reason=verdict.reason, error=error)
