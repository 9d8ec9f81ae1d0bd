"""What is kept of an exception that a step raised, and how it is raised again where the step's value is looked at."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cloudpickle

from hpo_pipelines.errors import StepAborted, StepError, StepFailed, StepLost, StepSkipped, StepTimedOut

PICKLED = "pickled"
_READABLE = ("type", "message", "traceback", "log")
_LARGEST_PICKLED = 1024 * 1024
_OURS = {cls.__name__: cls for cls in (StepLost, StepTimedOut, StepAborted, StepSkipped)}


@dataclass(frozen=True)
class Failure:
    """A step's failure as it travels: readable parts for everyone, and what the exception is made of, if that pickles.

    ``pickled`` holds the exception's class and state for :func:`rebuilt`: exceptions that pickle themselves call their
    ``__init__`` again with what they kept in ``args``, which is often not what it takes. ``retryable`` says whether the
    step's ``Retry.on`` names the exception. ``log`` is the tail of the step's console.
    """

    type: str
    message: str
    traceback: str
    pickled: bytes | None = None
    retryable: bool = False
    log: str = ""

    @classmethod
    def of(cls, error: BaseException, *, retryable: bool = False, log: str = "", skip: int = 0) -> Failure:
        """The record of ``error``, leaving out the outermost ``skip`` frames, which are ours and not the user's."""
        frames = error.__traceback__
        for _ in range(skip):
            frames = frames.tb_next if frames is not None and frames.tb_next is not None else frames
        text = "".join(traceback.format_exception(type(error), error, frames))
        try:
            pickled = cloudpickle.dumps((type(error), _arguments(error), error.args, vars(error)))
        except Exception:  # noqa: BLE001 - a user's exception may hold anything; its readable parts remain
            pickled = None
        return cls(type(error).__qualname__, str(error), text, pickled, retryable, log)

    def record(self) -> Mapping[str, Any]:
        """The readable parts as JSON, for the store."""
        return {"type": self.type, "message": self.message, "traceback": self.traceback, "log": self.log}

    def journalled(self) -> Mapping[str, Any]:
        """:meth:`record`, and what :meth:`recalled` needs to raise it again when the run is resumed."""
        if self.pickled is None or len(self.pickled) > _LARGEST_PICKLED:
            return self.record()
        return {**self.record(), PICKLED: base64.b85encode(self.pickled).decode("ascii")}

    @classmethod
    def recalled(cls, record: Mapping[str, Any]) -> Failure:
        """The failure that :meth:`journalled` wrote down."""
        pickled = base64.b85decode(record[PICKLED]) if PICKLED in record else None
        return cls(record["type"], record["message"], record["traceback"], pickled, False, record.get("log", ""))


def readable(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The error of a task as people read it: without what only the journal needs."""
    return None if record is None else {name: value for name, value in record.items() if name in _READABLE}


def error_of_ours(failure: Failure) -> BaseException | None:
    """The error of this project's that ended a step from outside: lost, timed out, stopped. None for the user's own."""
    cls = _OURS.get(failure.type)
    return cls(failure.message) if cls is not None else None


_classes: dict[type[BaseException], type[BaseException]] = {}


def step_failed(failure: Failure, step: str, original: BaseException | None) -> BaseException:
    """The error for a body that looks at the failed ``step``: both ``StepFailed`` and the class of ``original``.

    ``str`` of it is the user's own message; the remote traceback and the end of the step's console are notes. When the
    original could not travel, a plain ``StepFailed`` carries its type and message.
    """
    if original is None:
        error: BaseException = StepFailed(f"{failure.type}: {failure.message}")
    elif isinstance(original, StepError):
        error = original
    else:
        error = _combined(original)
    error.step = step  # type: ignore[attr-defined]
    error.failure = failure  # type: ignore[attr-defined]
    error.add_note(f"in step {step}:\n{failure.traceback.rstrip()}")
    if failure.log:
        error.add_note(f"the end of its console:\n{failure.log.rstrip()}")
    return error


def rebuilt(parts: tuple[type[BaseException], tuple[Any, ...], tuple[Any, ...], dict[str, Any]]) -> BaseException:
    """The exception that ``Failure.of`` took apart, made again without calling its class's own ``__init__``."""
    cls, arguments, args, state = parts
    error = cls.__new__(cls, *arguments)
    # OSError, UnicodeError and their like keep their arguments in C fields that only the built-in __init__ fills.
    built_in: Any = next(base for base in cls.__mro__ if base.__module__ == "builtins")
    built_in.__init__(error, *arguments)
    error.args = args
    error.__dict__.update(state)
    return error


def _combined(original: BaseException) -> BaseException:
    cls = type(original)
    arguments, namespace = _arguments(original), {"__module__": cls.__module__, "__str__": cls.__str__}
    # MemoryError makes its instances itself, so it has to be the first base.
    for bases in ((StepFailed, cls), (cls, StepFailed)):
        try:
            made = _classes.get(cls) or type(cls.__name__, bases, namespace)
            error = rebuilt((made, arguments, original.args, vars(original)))
        except TypeError:  # a class that cannot be subclassed, or whose layout forbids a second base
            continue
        _classes[cls] = made
        return error
    _classes[cls] = StepFailed
    return rebuilt((StepFailed, arguments, original.args, vars(original)))


def _arguments(original: BaseException) -> tuple[Any, ...]:
    if isinstance(original, OSError) and original.filename is not None:  # its args leave the file name out
        second = () if original.filename2 is None else (None, original.filename2)
        return (*original.args[:2], original.filename, *second)
    return original.args
