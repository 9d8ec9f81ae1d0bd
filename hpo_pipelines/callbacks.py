"""What is called before and after a component's calls: ``@component(callbacks=Callbacks(before=…, after=…))``.

``before`` is part of the body: it is called where the component is, before anything is known of the step, and decides
whether there is one. ``after`` watches: nothing that it does or raises changes what happens. Both are called outside of
a run as well, where a skipped call gives what cannot be looked at, as in a run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hpo_pipelines import context
from hpo_pipelines.errors import DefinitionError, ParameterError, StepSkipped
from hpo_pipelines.output import Output, substitute
from hpo_pipelines.types import Status

if TYPE_CHECKING:
    from hpo_pipelines.component import Component

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Skip:
    """Returned by a ``before``: there is to be no such step, for ``reason``. ``skip`` is one without a reason."""

    reason: str = ""

    def __call__(self, reason: str) -> Skip:
        """Skip for ``reason``, which is kept with the step."""
        return Skip(str(reason))

    @property
    def said(self) -> str:
        """The reason of a step that is skipped."""
        return f"skipped by its callback: {self.reason}" if self.reason else "skipped by its callback"


skip = Skip()


@dataclass(frozen=True)
class Call:
    """One call of a component, as callbacks see it.

    ``arguments`` are by name, defaults included; in a run the outputs of other steps among them are stand-ins, and
    looking at one waits for it, as in the body. ``run`` is the run's label, empty outside of one.
    """

    name: str
    """The component's name with its count in the run: ``fit``, ``fit.2``; outside of a run without."""
    component: str
    arguments: Mapping[str, Any]
    run: str = ""
    status: Status | None = None
    """``completed`` or ``failed``; None before the call."""
    reused: bool = False
    """Whether the outcome of another step stood in for it."""
    seconds: float | None = None
    """How long the component took; None where it was reused, and before."""
    error: str = ""
    """What a failed one raised: its class and message."""
    load: Callable[[], Mapping[str, Any]] = field(default=dict, repr=False)

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Its outputs by name, loaded when asked for; ``value`` of a component with but one. None unless completed."""
        return self.load()


Before = Callable[[Call], "Skip | None"]
After = Callable[[Call], object]


@dataclass(frozen=True)
class Callbacks:
    """``before`` each call, which it may :data:`skip`; ``after`` each that has completed, was reused, or failed."""

    before: Before | None = None
    after: After | None = None

    def __post_init__(self) -> None:
        for name in ("before", "after"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise DefinitionError(f"Callbacks({name}={value!r}): {name} is a function that takes a Call.")

    def skipped(self, call: Call) -> Skip | None:
        """Whether ``before`` skips the call. Raises what it raises, ParameterError for any other answer."""
        answer = None if self.before is None else self.before(call)
        if answer is None or isinstance(answer, Skip):
            return answer
        raise ParameterError(
            f"the callback before {call.component} returned {answer!r}; it returns skip, skip(reason), or None: go on."
        )

    def tell(self, call: Call) -> None:
        """Call ``after``; what it raises is logged."""
        if self.after is None:
            return
        try:
            self.after(call)
        except Exception:
            log.warning("the callback after %s raised; the run goes on", call.name, exc_info=True)


def arguments_of(component: Component[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, defaults filled in. Raises TypeError for those that do not fit."""
    bound = component.signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


# -- outside of a run


class _Missing:
    """The step that there was not."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason

    def look(self, name: str) -> Any:
        raise not_there(self.name, self.reason)


def not_there(step: str, reason: str) -> StepSkipped:
    """What looking at an output of a skipped step raises."""
    return StepSkipped(
        f"step {step} was {reason}; it has no value to look at. Catch StepSkipped, or do without the value."
    )


class _Seen:
    """Whether a call was ever skipped outside of a run: until then nobody has to look for what cannot be there."""

    any = False


def plainly(component: Component[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A call outside of a run: the function's value, or what stands for that of a call that is skipped."""
    callbacks: Callbacks = component.options.callbacks
    if callbacks.before is None and callbacks.after is None:
        missing = missing_in((args, kwargs))
        return _called(component, args, kwargs) if missing is None else _stand_in(component, missing)
    call = Call(component.name, component.name, arguments_of(component, args, kwargs))
    wanted = callbacks.skipped(call)
    if wanted is not None:
        _Seen.any = True
        return _stand_in(component, _Missing(component.name, wanted.said))
    missing = missing_in((args, kwargs))
    return _stand_in(component, missing) if missing is not None else _watched(component, call, args, kwargs)


def _called(component: Component[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if context.plain.get() is None:
        return component.function(*args, **kwargs)
    # As in a run: what is inside a component is not the body of a pipeline.
    token = context.plain.set(None)
    try:
        return component.function(*args, **kwargs)
    finally:
        context.plain.reset(token)


def missing_in(value: Any) -> _Missing | None:
    """The skipped call behind what ``value`` is, or holds however deep, if there is one."""
    found: list[_Missing] = []

    def note(output: Any) -> Any:
        found.append(output._self_source)
        return output

    if _Seen.any:
        substitute(value, lambda output: note(output) if isinstance(output._self_source, _Missing) else output)
    return found[0] if found else None


def checked(value: Any) -> Any:
    """``value``, which a pipeline returns. Raises StepSkipped if there is none in some place of it."""
    missing = missing_in(value)
    if missing is not None:
        raise not_there(missing.name, missing.reason)
    return value


def _watched(component: Component[..., Any], call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    begun = time.perf_counter()
    try:
        value = _called(component, args, kwargs)
    except Exception as error:
        component.options.callbacks.tell(replace(call, status=Status.FAILED, error=f"{type(error).__name__}: {error}"))
        raise
    took = time.perf_counter() - begun

    def load() -> Mapping[str, Any]:
        return component.form.split(value, component.name)

    component.options.callbacks.tell(replace(call, status=Status.COMPLETED, seconds=took, load=load))
    return value


def _stand_in(component: Component[..., Any], missing: _Missing) -> Any:
    return component.form.join({name: Output(missing, name) for name in component.form.names})
