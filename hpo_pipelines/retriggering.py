"""``retrigger``: a pipeline ends its run and asks for another attempt of itself, with other parameters.

Outside a run the pipeline's function is called again. Inside one the run ends, and a run of its own is the next attempt
(:mod:`hpo_pipelines.engine.retriggers`). What both have in common stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from hpo_pipelines import context
from hpo_pipelines.callbacks import checked
from hpo_pipelines.errors import AttemptsExhausted, ParameterError, Retriggered, TaskError
from hpo_pipelines.output import result
from hpo_pipelines.parameters import Parameters


def retrigger(
    params: Mapping[str, Any] | None = None, /, *, max_attempts: int = 3, reason: str = "", **changes: Any
) -> NoReturn:
    """End the pipeline whose body this is, and run it again with ``changes`` over its parameters.

    Inside a run this ends the run, once what it has begun is over, and starts a linked one: its next attempt. Steps
    that the attempts share are reused, as between any two runs. Outside a run the function is called again. Whoever
    called the pipeline gets the value of the last attempt. ``params`` is for parameters that are called like an option
    here. ``max_attempts`` bounds the attempts in all, the first one included; ``reason`` is kept for people.

    Does not return: it raises a signal that ends the body, and which ``except Exception`` lets pass. Raises
    ParameterError for parameters that do not fit, AttemptsExhausted in the last attempt that is allowed, TaskError
    outside of the body of a pipeline.
    """
    call = context.tracer.get() or context.plain.get()
    if call is None:
        raise TaskError(
            "retrigger() is for the body of a pipeline, and nothing is there to be run again: it was called in a "
            "component, in a thread of its own, or outside of any pipeline. Return what decides to the body."
        )
    bound = _whole(result(max_attempts))
    values = {name: result(value) for name, value in {**(params or {}), **changes}.items()}
    call.retrigger(values, max_attempts=bound, reason=str(result(reason)))
    raise AssertionError("unreachable: what listens has ended the body")


def _whole(max_attempts: object) -> int:
    if isinstance(max_attempts, int) and not isinstance(max_attempts, bool) and max_attempts >= 1:
        return max_attempts
    raise ParameterError(f"retrigger(max_attempts={max_attempts!r}): it is a whole number, 1 or more.")


def signal(
    call: object,
    parameters: Parameters,
    changes: Mapping[str, Any],
    *,
    attempt: int,
    max_attempts: int,
    reason: str,
) -> Retriggered:
    """What ends attempt number ``attempt`` of a call. Raises ParameterError and AttemptsExhausted."""
    checked = {name: parameters.check(name, value) for name, value in changes.items()}
    if attempt >= max_attempts:
        why = f" ({reason})" if reason else ""
        raise AttemptsExhausted(
            f"{parameters.owner} is at attempt {attempt} and asks for another{why}, and retrigger(max_attempts="
            f"{max_attempts}) allows {max_attempts}, the first one included. Raise max_attempts, return what there is, "
            "or catch AttemptsExhausted."
        )
    return Retriggered(call, checked, max_attempts=max_attempts, reason=reason)


class PlainCall:
    """A call of a pipeline outside of any run."""

    def __init__(self, function: Callable[..., Any], parameters: Parameters) -> None:
        self._function = function
        self._parameters = parameters
        self._attempt = 1

    def value(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the function returns, called until it no longer asks for another attempt."""
        # Before the body can change them: a run begins each attempt with its parameters as they were.
        kept = self._kept(args, kwargs)
        while True:
            token = context.plain.set(self)
            try:
                return checked(self._function(*args, **kwargs))
            except Retriggered as wanted:
                if wanted.call is not self:
                    raise
                self._attempt += 1
                values = {**kept(), **wanted.params}
                bound = self._parameters.bound(values)
                args, kwargs = bound.args, bound.kwargs
                kept = self._kept(args, kwargs)
            finally:
                context.plain.reset(token)

    def retrigger(self, changes: Mapping[str, Any], *, max_attempts: int, reason: str) -> NoReturn:
        """See :class:`hpo_pipelines.context.Call`."""
        raise signal(self, self._parameters, changes, attempt=self._attempt, max_attempts=max_attempts, reason=reason)

    def _kept(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        """Gives the parameters as they are now. Those that a run could not record are the objects themselves."""
        try:
            given = self._parameters.signature.bind(*args, **kwargs).arguments
        except TypeError:
            return dict  # the call itself says what is wrong
        extra = self._parameters.extra
        values = {name: value for name, value in given.items() if extra is None or name != extra.name}
        values |= given.get(extra.name, {}) if extra is not None else {}
        recorded = {name: self._recorded(name, value) for name, value in values.items() if type(value) not in _SCALARS}
        return lambda: {name: recorded[name]() if name in recorded else value for name, value in values.items()}

    def _recorded(self, name: str, value: Any) -> Callable[[], Any]:
        try:
            record = self._parameters.encode({name: self._parameters.check(name, value)})
        except ParameterError:
            return lambda: value
        return lambda: self._parameters.decode(record)[name]


_SCALARS = frozenset({bool, int, float, str, bytes, type(None)})
