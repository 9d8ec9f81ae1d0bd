"""Every error this project raises on purpose, and what each means to a shell and to an HTTP client.

HpoPipelinesError
├─ DefinitionError      the author wrote something impossible (raised at decoration)
├─ ParameterError       the caller passed something impossible (unknown name, wrong type, out of range)
├─ SpaceError           a search space is wrong: file, key, line, and the nearest valid spelling
├─ TaskError            TaskNotFound · IllegalTransition (carries the story) · CodeUnavailable · NonDeterministicBody
│                       RunTimedOut · AttemptsExhausted
├─ StepError            StepFailed (your code) · StepLost (our worker) · StepTimedOut · StepAborted
│                       StepSkipped
├─ ArtifactError        ArtifactMissing · ArtifactCorrupt · NotSerializable
├─ StoreError · TrackingError · StudyError · ScheduleError · ConfigError
Pruned, Retriggered     signals, not errors

A message states the rule, the value that broke it, and the cure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from search_spaces.errors import SpaceError as _SpaceError


class HpoPipelinesError(Exception):
    """Base of every error raised on purpose by hpo_pipelines."""


class DefinitionError(HpoPipelinesError):
    """The author of a component or pipeline wrote something impossible; raised at decoration."""


class ParameterError(HpoPipelinesError):
    """A parameter value was refused before anything ran: unknown name, wrong type or out of range."""


class SpaceError(HpoPipelinesError, _SpaceError):
    """A search space is wrong; names the file, the key, the line and the nearest valid spelling."""


class TaskError(HpoPipelinesError):
    """Something about a recorded task."""


class TaskNotFound(TaskError):
    """No task has this id, run name or study name."""


class IllegalTransition(TaskError):
    """A task was asked to go from one status to another that cannot follow it.

    ``story`` holds the task's recorded events, oldest first, one line each.
    """

    def __init__(self, message: str, story: Sequence[str] = ()) -> None:
        self.story = tuple(story)
        super().__init__("\n".join([message, *(f"  {line}" for line in self.story)]))


class CodeUnavailable(TaskError):
    """The code of a recorded task cannot be loaded here."""


class NonDeterministicBody(TaskError):
    """The body of a resumed run takes another path than the one its journal has."""


class RunTimedOut(TaskError):
    """A run took longer than the ``timeout`` of its pipeline."""


class AttemptsExhausted(TaskError):
    """A pipeline asked for one more attempt than the ``max_attempts`` of its ``retrigger`` allows."""


class StepError(HpoPipelinesError):
    """A step did not give its outputs."""


class StepFailed(StepError):
    """The user's own code raised inside a step.

    The error seen by a pipeline body is at once a ``StepFailed`` and the user's own exception class, so that
    ``except ValueError`` works as in plain Python. Made by :func:`hpo_pipelines.failure.step_failed`.
    """


class CommandFailed(StepFailed):
    """A command that a step ran ended with another exit code than 0, or did not leave what it was to leave."""


class StepLost(StepError):
    """The process that ran a step went away: killed, out of memory, or its node died."""


class StepTimedOut(StepError):
    """A step ran for longer than its ``timeout``."""


class StepAborted(StepError):
    """A step was stopped because its run was aborted, or never started because what it needs failed."""


class StepSkipped(StepError):
    """The value of a step was looked at that a callback has skipped, or one that it needs."""


class ArtifactError(HpoPipelinesError):
    """Something about a stored output."""


class ArtifactMissing(ArtifactError):
    """An artifact's bytes are no longer where they were written."""


class ArtifactCorrupt(ArtifactError):
    """An artifact's bytes do not match its digest."""


class NotSerializable(ArtifactError):
    """A value cannot be stored; the message names the output and its type."""


class StoreError(HpoPipelinesError):
    """The store cannot be opened, is of another schema version, or refused a write.

    One that is ``passing`` need not be met again: the store could not be reached just now, or was locked.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        self.passing = passing
        super().__init__(message)


class TrackingError(HpoPipelinesError):
    """A tracking follower cannot do its work."""


class StudyError(HpoPipelinesError):
    """A study was asked for something that contradicts what is recorded of it."""


class ScheduleError(HpoPipelinesError):
    """A schedule is unknown, or says something impossible: a wrong time, or a target that cannot be started."""


class ConfigError(HpoPipelinesError):
    """A setting is unknown, or its value is impossible here."""


class Pruned(BaseException):
    """Raised inside a step whose trial the pruner stopped: a signal, not an error."""


class Retriggered(BaseException):
    """Ends the body of a pipeline that asks for another attempt of itself: a signal, not an error.

    Raised by :func:`hpo_pipelines.retrigger`. A body that catches it and goes on has taken it back.
    """

    def __init__(self, call: object, params: Mapping[str, Any], *, max_attempts: int, reason: str) -> None:
        self.call = call
        """The call of a pipeline that it ends."""
        self.params = params
        """The parameters of the next attempt that differ, typed."""
        self.max_attempts = max_attempts
        self.reason = reason
        super().__init__("a pipeline asks for another attempt of itself")


class Outcome(NamedTuple):
    """What an error means outside Python: the exit code of ``hpo`` and the HTTP status of the server."""

    exit_code: int
    http_status: int


OUTCOMES: dict[type[BaseException], Outcome] = {
    HpoPipelinesError: Outcome(1, 500),
    DefinitionError: Outcome(3, 422),
    ParameterError: Outcome(4, 422),
    _SpaceError: Outcome(5, 422),
    TaskError: Outcome(6, 400),
    TaskNotFound: Outcome(7, 404),
    IllegalTransition: Outcome(8, 409),
    CodeUnavailable: Outcome(9, 409),
    StepError: Outcome(10, 500),
    StepLost: Outcome(11, 500),
    StepTimedOut: Outcome(12, 500),
    StepAborted: Outcome(13, 409),
    ArtifactError: Outcome(14, 500),
    ArtifactMissing: Outcome(15, 410),
    StoreError: Outcome(16, 503),
    TrackingError: Outcome(17, 502),
    StudyError: Outcome(18, 409),
    ConfigError: Outcome(19, 422),
    NonDeterministicBody: Outcome(20, 409),
    RunTimedOut: Outcome(21, 500),
    ScheduleError: Outcome(22, 422),
    AttemptsExhausted: Outcome(23, 500),
    StepSkipped: Outcome(24, 409),
}


def outcome_of(error: BaseException | type[BaseException]) -> Outcome:
    """The table's row for ``error``, or for one of a class: of the nearest of its classes, else ``(1, 500)``."""
    for cls in (error if isinstance(error, type) else type(error)).__mro__:
        # The base comes last: SpaceError reaches it before it reaches the row of search_spaces' own error.
        if cls in OUTCOMES and cls is not HpoPipelinesError:
            return OUTCOMES[cls]
    return OUTCOMES[HpoPipelinesError]
