"""What the errors with which Ray ends a task say about the attempt."""

from __future__ import annotations

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.executors.base import Ended, Failed, Lost
from hpo_pipelines.failure import Failure


def meaning(error: BaseException) -> Ended:
    """What one of Ray's errors says about an attempt."""
    from ray import exceptions

    first_line = str(error).strip().partition("\n")[0]
    if isinstance(error, exceptions.TaskUnschedulableError):
        return Failed(Failure.of(ConfigError(f"no node of the cluster can serve what the step needs: {first_line}")))
    if isinstance(error, exceptions.OutOfMemoryError):
        return Lost(f"out of memory: its node ran out of it: {first_line}")
    if isinstance(error, exceptions.WorkerCrashedError):
        return Lost("its process was killed, or crashed")
    if isinstance(error, exceptions.NodeDiedError | exceptions.LocalRayletDiedError):
        return Lost(f"its node died: {first_line}")
    if isinstance(error, exceptions.TaskCancelledError):
        return Lost("somebody else cancelled its Ray task")
    if isinstance(error, exceptions.RayTaskError):
        return Failed(Failure(type(error.cause).__name__, f"{error.cause}", str(error), None, False))
    return Lost(f"{type(error).__name__}: {first_line}")
