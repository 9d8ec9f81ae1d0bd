"""What the ends of attempts and the errors of bodies mean: pure, so that every case can be read and tested alone."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from hpo_pipelines.errors import StepAborted, StepError, StepLost, StepTimedOut
from hpo_pipelines.executors.base import Cancelled, Failed, Lost, Started, TimedOut
from hpo_pipelines.failure import Failure
from hpo_pipelines.task import Attempt
from hpo_pipelines.types import Retry

NotCompleted = Failed | Lost | TimedOut | Cancelled


@dataclass(frozen=True)
class Tries:
    """How a step has fared: ``attempt`` counts from 1, ``losses`` are those of them whose worker went away."""

    attempt: int
    losses: int = 0


@dataclass(frozen=True)
class Verdict:
    """``failure`` is what is kept, ``error`` the exception where it is at hand; ``again`` whether to try once more."""

    failure: Failure
    error: BaseException | None
    again: bool
    reason: str
    """One line for a person."""


def judge(step: str, message: NotCompleted, tries: Tries, retry: Retry, log: str) -> Verdict:
    """The meaning of ``message``, the end of the attempt that ``tries`` counts already.

    A failure is retried ``retry.times`` times if ``retry.on`` names its class, a timeout likewise. A lost worker is not
    the step's fault: it gets at least one more attempt, which do not count as retries; memory is, and gets none beside
    them.
    """
    retries_used = tries.attempt - tries.losses - 1
    if isinstance(message, Failed):
        failure = replace(message.failure, log=log)
        again = failure.retryable and retries_used < retry.times
        return Verdict(failure, message.error, again, failure.message.partition("\n")[0])
    error: StepAborted | StepLost | StepTimedOut
    if isinstance(message, TimedOut):
        error = StepTimedOut(f"step {step} ran longer than its timeout of {message.seconds:g} s")
        return Verdict(_own(error, log), error, retries_used < retry.times, "timeout")
    if isinstance(message, Lost):
        error = StepLost(f"step {step} was lost: {message.reason}")
        allowed = retry.times if "out of memory" in message.reason else max(1, retry.times)
        return Verdict(_own(error, log), error, tries.losses <= allowed, str(error))
    error = StepAborted(f"step {step} was stopped")
    return Verdict(_own(error, log), error, False, "aborted")


def _own(error: Exception, log: str) -> Failure:
    return Failure(type(error).__name__, str(error), str(error), None, False, log)


def began_at(message: Started, submitted_at: float) -> float:
    """When the attempt that was submitted then began, in seconds since the epoch, by our clock."""
    now = time.time()
    # Clocks differ: it neither began before it was submitted nor will it.
    return min(now, max(message.at, submitted_at)) if message.at else now


def ended(attempt: Attempt, seconds: float | None) -> Attempt:
    """``attempt`` as it ends now.

    ``seconds``, if known, is how long the component itself took: that its worker had to be started is not its time.
    """
    now = time.time()
    began = attempt.started_at if seconds is None else max(attempt.started_at, now - seconds)
    return replace(attempt, started_at=began, finished_at=now)


def step_behind(error: BaseException | None) -> set[str]:
    """The failed step that ``error`` came from: raised as it is, or while the body dealt with it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        step = getattr(error, "task", None)
        if isinstance(step, str) and isinstance(error, StepError):
            return {step}
        error = error.__cause__ or error.__context__
    return set()
