"""Every error this project raises on purpose, and what each means to a shell and to an HTTP client.

HpoPipelinesError
├─ DefinitionError      the author wrote something impossible (raised at decoration)
├─ ParameterError       the caller passed something impossible (unknown name, wrong type, out of range)
├─ SpaceError           a search space is wrong: file, key, line, and the nearest valid spelling
├─ TaskError            TaskNotFound · IllegalTransition (carries the story) · CodeUnavailable · NonDeterministicBody
│                       RunTimedOut · AttemptsExhausted
├─ StepError            StepFailed (your code) · StepLost (our worker) · StepTimedOut · StepAborted
│                       StepSkipped · CommandFailed (your program)
├─ ArtifactError        ArtifactMissing · ArtifactCorrupt · NotSerializable
├─ StoreError · TrackingError · StudyError · ScheduleError · ConfigError
Pruned, Retriggered     signals, not errors

A message states the rule, the value that broke it, and the cure. A docstring ends with what helps in general, for the
page of errors in the documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from search_spaces.errors import SpaceError as _SpaceError


class HpoPipelinesError(Exception):
    """Base of every error raised on purpose by hpo_pipelines.

    Cure: catch it to catch them all; each of its classes has a cure of its own.
    """


class DefinitionError(HpoPipelinesError):
    """The author of a component or pipeline wrote something impossible; raised at decoration.

    Cure: change the decorated function or its options as the message says; nothing has run yet.
    """


class ParameterError(HpoPipelinesError):
    """A parameter value was refused before anything ran: unknown name, wrong type or out of range.

    Cure: give the name and the type that the message lists, which are those of the pipeline's signature.
    """


class SpaceError(HpoPipelinesError, _SpaceError):
    """A search space is wrong; names the file, the key, the line and the nearest valid spelling.

    Cure: correct that line; ``hpo space show FILE`` checks a file without running anything.
    """


class TaskError(HpoPipelinesError):
    """Something about a recorded task.

    Cure: see the class of it that was raised.
    """


class TaskNotFound(TaskError):
    """No task has this id, run name or study name.

    Cure: ``hpo ls`` and ``hpo studies`` list the names; look that ``HPO_HOME``, ``HPO_STORE`` or ``HPO_SERVER`` is
    the right one.
    """


class IllegalTransition(TaskError):
    """A task was asked to go from one status to another that cannot follow it.

    ``story`` holds the task's recorded events, oldest first, one line each.

    Cure: the story says what happened to the task; do what its status allows: clone a finished run, resume a failed
    one, rerun a completed one.
    """

    def __init__(self, message: str, story: Sequence[str] = ()) -> None:
        self.story = tuple(story)
        super().__init__("\n".join([message, *(f"  {line}" for line in self.story)]))


class CodeUnavailable(TaskError):
    """The code of a recorded task cannot be loaded here.

    Cure: install what the message names, or use the Python that it names; ``hpo run`` of the pipeline takes today's
    code instead.
    """


class NonDeterministicBody(TaskError):
    """The body of a resumed run takes another path than the one its journal has.

    Cure: ``hpo resume RUN --from STEP``, with the step that the message names; move what changes (clock, random
    numbers, files) into a component.
    """


class RunTimedOut(TaskError):
    """A run took longer than the ``timeout`` of its pipeline.

    Cure: ``hpo resume RUN``, which has all of its time again, or a longer ``@pipeline(timeout=…)``.
    """


class AttemptsExhausted(TaskError):
    """A pipeline asked for one more attempt than the ``max_attempts`` of its ``retrigger`` allows.

    Cure: a larger ``max_attempts``, or a goal that the pipeline can reach; ``hpo show RUN`` has what each attempt gave.
    """


class StepError(HpoPipelinesError):
    """A step did not give its outputs.

    Cure: see the class of it that was raised, and ``hpo logs RUN/STEP``.
    """


class StepFailed(StepError):
    """The user's own code raised inside a step.

    The error seen by a pipeline body is at once a ``StepFailed`` and the user's own exception class, so that
    ``except ValueError`` works as in plain Python. Made by :func:`hpo_pipelines.failure.step_failed`.

    Cure: it is your code's own error: ``hpo logs RUN/STEP`` has what the step printed, ``hpo show RUN`` the traceback.
    Run the corrected pipeline (what did not change is reused); ``hpo resume RUN`` if the cause lay outside the code.
    """


class CommandFailed(StepFailed):
    """A command that a step ran ended with another exit code than 0, or did not leave what it was to leave.

    Cure: ``hpo logs RUN/STEP`` has what the program printed; the message names the exit code, or the output that is
    missing and what there is instead. Run the corrected one; ``hpo resume RUN`` if the cause lay outside of it.
    """


class StepLost(StepError):
    """The process that ran a step went away: killed, out of memory, or its node died.

    Cure: ``hpo resume RUN``; where the message says out of memory, a larger ``Resources(memory=…)``;
    ``Retry(times=…)`` tries again by itself.
    """


class StepTimedOut(StepError):
    """A step ran for longer than its ``timeout``.

    Cure: a longer ``@component(timeout=…)``, or less work for the step; ``hpo logs RUN/STEP`` shows how far it
    came.
    """


class StepAborted(StepError):
    """A step was stopped because its run was aborted, or never started because what it needs failed.

    Cure: look at the step or the person that the message names; ``hpo resume RUN`` goes on.
    """


class StepSkipped(StepError):
    """The value of a step was looked at that a callback has skipped, or one that it needs.

    Cure: catch it where the value is looked at, or have the callback that the message names not skip the step.
    """


class ArtifactError(HpoPipelinesError):
    """Something about a stored output.

    Cure: make the artifacts' folder or bucket readable and writable, with room in it, then ``hpo resume RUN``.
    """


class ArtifactMissing(ArtifactError):
    """An artifact's bytes are no longer where they were written.

    Cure: ``hpo resume RUN`` or ``hpo rerun RUN``: what is missing is computed again.
    """


class ArtifactCorrupt(ArtifactError):
    """An artifact's bytes do not match its digest.

    Cure: ``hpo cache verify --repair`` removes it, and ``hpo rerun RUN`` computes it again.
    """


class NotSerializable(ArtifactError):
    """A value cannot be stored; the message names the output and its type.

    Cure: return what can be pickled: data, a path or a state dict instead of an open file, a lock or a connection.
    """


class StoreError(HpoPipelinesError):
    """The store cannot be opened, is of another schema version, or refused a write.

    One that is ``passing`` need not be met again: the store could not be reached just now, or was locked.

    Cure: make the store at ``HPO_STORE`` reachable and writable, with room on its disk, then ``hpo resume RUN``.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        self.passing = passing
        super().__init__(message)


class TrackingError(HpoPipelinesError):
    """A tracking follower cannot do its work.

    Cure: make MLflow at ``MLFLOW_TRACKING_URI`` reachable (the mirror catches up by itself), or set it empty to do
    without.
    """


class StudyError(HpoPipelinesError):
    """A study was asked for something that contradicts what is recorded of it.

    Cure: give the study another ``name``, ask for what it is recorded with, or allow the change with
    ``allow_changes=True``.
    """


class ScheduleError(HpoPipelinesError):
    """A schedule is unknown, or says something impossible: a wrong time, or a target that cannot be started.

    Cure: ``hpo schedule ls`` lists the schedules; correct the time, the zone or the target that the message names.
    """


class ConfigError(HpoPipelinesError):
    """A setting is unknown, or its value is impossible here.

    Cure: correct ``$HPO_HOME/config.toml`` or the variable that the message names.
    """


class Pruned(BaseException):
    """Raised inside a step whose trial the pruner stopped: a signal, not an error.

    Cure: none is needed; clean up in ``finally`` and let it pass.
    """


class Retriggered(BaseException):
    """Ends the body of a pipeline that asks for another attempt of itself: a signal, not an error.

    Raised by :func:`hpo_pipelines.retrigger`. A body that catches it and goes on has taken it back.

    Cure: none is needed; let it pass.
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
