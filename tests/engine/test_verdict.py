"""What a failed attempt means: how often a step is tried."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_pipelines.engine.verdict import NotCompleted, Tries, judge
from hpo_pipelines.executors.base import Cancelled, Failed, Lost, TimedOut
from hpo_pipelines.failure import Failure
from hpo_pipelines.types import Retry

FAILED = Failed(Failure("ValueError", "no\nmore", "…", None, True), None)
REFUSED = Failed(Failure("KeyError", "never", "…", None, False), None)
LOST = Lost("killed by signal 9")
FULL = Lost("out of memory: used 2 GB of 1 GB")
LATE = TimedOut(1.5)
STOPPED = Cancelled()


def attempts(messages: Iterable[NotCompleted], times: int) -> int:
    """How many attempts are made of a step that meets ``messages``, one after the other, with ``times`` retries."""
    made = losses = 0
    for message in messages:
        made += 1
        losses += isinstance(message, Lost)
        if not judge("fit", message, Tries(made, losses), Retry(times), "").again:
            break
    return made


@given(times=st.integers(0, 9), message=st.sampled_from([FAILED, LATE]))
def test_a_failure_and_a_timeout_are_retried_as_often_as_asked_for(times: int, message: NotCompleted) -> None:
    assert attempts([message] * 30, times) == times + 1


@given(times=st.integers(0, 9), message=st.sampled_from([REFUSED, STOPPED]))
def test_what_retries_are_not_for_is_final(times: int, message: NotCompleted) -> None:
    assert attempts([message] * 30, times) == 1


@given(times=st.integers(0, 9))
def test_a_lost_worker_gets_another_attempt_at_least_and_memory_only_retries(times: int) -> None:
    assert attempts([LOST] * 30, times) == max(1, times) + 1
    assert attempts([FULL] * 30, times) == times + 1


@given(times=st.integers(0, 5), lost=st.integers(0, 5))
def test_losses_do_not_count_as_retries(times: int, lost: int) -> None:
    within = min(lost, max(1, times))
    assert attempts([LOST] * within + [FAILED] * 30, times) == within + times + 1


@pytest.mark.parametrize(
    ("message", "error", "reason"),
    [
        (FAILED, "ValueError", "no"),
        (LATE, "StepTimedOut", "timeout"),
        (LOST, "StepLost", "step fit was lost: killed by signal 9"),
        (STOPPED, "StepAborted", "aborted"),
    ],
)
def test_what_is_kept_names_the_error_and_has_the_end_of_the_log(
    message: NotCompleted, error: str, reason: str
) -> None:
    verdict = judge("fit", message, Tries(1, isinstance(message, Lost)), Retry(), "the last line")
    assert (verdict.failure.type, verdict.failure.log, verdict.reason) == (error, "the last line", reason)
    assert verdict.error is None or type(verdict.error).__name__ == error
