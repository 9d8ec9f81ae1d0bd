"""Components: functions that do one piece of work, under a decorator that leaves them what they are."""

from __future__ import annotations

import copy
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from hpo_pipelines import context
from hpo_pipelines.callbacks import Callbacks, plainly
from hpo_pipelines.errors import DefinitionError, StepError
from hpo_pipelines.snapshot import Code
from hpo_pipelines.snapshot.loaded import remember
from hpo_pipelines.types import Cache, Environment, Resources, Retry, duration

if TYPE_CHECKING:
    from hpo_pipelines.run import Run

P = ParamSpec("P")
R = TypeVar("R")

SINGLE = "value"
"""The name of the output of a component that has just one."""


ALONE_OPTIONS = ("executor", "workspace", "refresh", "reuse", "tags", "project")
"""What :meth:`Component.run` takes beside parameters."""


@dataclass(frozen=True)
class Options:
    """How a component runs; nothing here but ``outputs`` changes what it computes."""

    outputs: tuple[str, ...] = ()
    formats: Mapping[str, str] = field(default_factory=dict)
    """The artifact format of outputs that ask for one."""
    resources: Resources = field(default_factory=Resources)
    retry: Retry = field(default_factory=Retry)
    timeout: float | None = None
    cache: Cache = field(default_factory=Cache)
    environment: Environment = field(default_factory=Environment)
    callbacks: Callbacks = field(default_factory=Callbacks)


@dataclass(frozen=True)
class OutputForm:
    """How a component's return value falls into named outputs, known before it runs.

    ``shape`` is ``none`` (nothing to store), ``single`` (one output named ``value``), ``tuple``, ``dict``, or a
    NamedTuple class's ``make``.
    """

    shape: str
    names: tuple[str, ...]
    make: Callable[[Iterable[Any]], Any] | None = None

    def join(self, outputs: Mapping[str, Any]) -> Any:
        """What a call gives back, from one value or stand-in per name."""
        if self.shape == "none":
            return None
        if self.shape == "single":
            return outputs[SINGLE]
        if self.shape == "dict":
            return {name: outputs[name] for name in self.names}
        members = tuple(outputs[name] for name in self.names)
        return self.make(members) if self.make else members

    def split(self, value: Any, component: str) -> dict[str, Any]:
        """The named outputs of a returned ``value``; raises StepError when it has another shape than declared."""
        if self.shape == "none":
            if value is not None:
                raise StepError(
                    f"{component} is annotated to return None and returned {type(value).__name__}; "
                    "its value would be lost. Correct the annotation."
                )
            return {}
        if self.shape == "single":
            return {SINGLE: value}
        if self.shape == "dict":
            if not isinstance(value, Mapping) or set(value) != set(self.names):
                raise StepError(self._mismatch(component, value))
            return {name: value[name] for name in self.names}
        if not isinstance(value, tuple | list) or len(value) != len(self.names):
            raise StepError(self._mismatch(component, value))
        return dict(zip(self.names, value, strict=True))

    def _mismatch(self, component: str, value: Any) -> str:
        found = f"{type(value).__name__} of {len(value)}" if hasattr(value, "__len__") else type(value).__name__
        return (
            f"{component} declares {len(self.names)} outputs ({', '.join(self.names)}) as a {self.shape} "
            f"and returned {found}. Return one value for each declared output."
        )


@dataclass(frozen=True)
class Home:
    """Where a component is from, in a run of other code than its own: another snapshot, with what belongs to that."""

    component: Component[..., Any]
    """As the snapshot has it, under its own name."""
    code: Code
    snapshot: str
    first_party: frozenset[str] = frozenset()


class Component(Generic[P, R]):
    """A function under ``@component``: outside a run it is that function, inside one each call is a recorded step.

    ``function`` stays reachable for tests and tools.
    """

    __qualname__: str
    home: Home | None = None
    """Set in runs of other code; None for a component of the run's own."""

    def __init__(self, function: Callable[P, R], options: Options) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.options = options
        self.name = function.__name__
        self.signature = inspect.signature(function)
        self.form = output_form(function, options.outputs)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        listening = context.tracer.get()
        if listening is None:
            return plainly(self, args, kwargs)  # type: ignore[no-any-return]
        return listening.call(self, args, kwargs)  # type: ignore[no-any-return]

    def map(self, *sequences: Iterable[Any], **fixed: Any) -> list[R]:
        """One call for each item (for several sequences: for each tuple of items, which must be as many in each).

        Items go to the first parameters in order, ``fixed`` to the others by name. Inside a run the calls are steps
        that run in parallel. Raises ValueError when sequences differ in length.
        """
        if not sequences:
            raise TypeError(f"{self.name}.map needs at least one sequence to map over.")
        return [self(*items, **fixed) for items in zip(*sequences, strict=True)]

    def run(self, /, **params: Any) -> Run:
        """Run the component alone: a recorded run of one step, named after it; blocks until it has ended.

        Options beside its parameters are those of :meth:`Pipeline.run`, and ``project=`` (``"default"``). The run's
        value is what the component returns, named outputs as a dict.

        Raises ParameterError before anything runs for parameters that do not fit, or cannot be recorded (a table, say:
        such a component runs in a pipeline, or in a chain of recorded tasks), and DefinitionError if one is called like
        an option.
        """
        options = {name: params.pop(name) for name in ALONE_OPTIONS if name in params}
        return context.defaults_module().run_component(self, params, **options)  # type: ignore[no-any-return]

    def borrowed(self, name: str, home: Home) -> Component[P, R]:
        """The same component as a step called ``name`` in a run of other code than its own."""
        other = copy.copy(self)
        other.name, other.home = name, home
        return other

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<component {self.__module__}.{self.__qualname__}>"


@overload
def component(function: Callable[P, R], /) -> Component[P, R]: ...
@overload
def component(
    *,
    outputs: Sequence[str] | Mapping[str, str] = (),
    resources: Resources | None = None,
    retry: Retry | int | None = None,
    timeout: float | str | None = None,
    cache: Cache | bool | None = None,
    environment: Environment | Mapping[str, Any] | None = None,
    callbacks: Callbacks | None = None,
) -> Callable[[Callable[P, R]], Component[P, R]]: ...
def component(
    function: Callable[P, R] | None = None,
    /,
    *,
    outputs: Sequence[str] | Mapping[str, str] = (),
    resources: Resources | None = None,
    retry: Retry | int | None = None,
    timeout: float | str | None = None,
    cache: Cache | bool | None = None,
    environment: Environment | Mapping[str, Any] | None = None,
    callbacks: Callbacks | None = None,
) -> Component[P, R] | Callable[[Callable[P, R]], Component[P, R]]:
    """Make a component of a function, with or without parentheses.

    ``outputs`` names the members of a returned tuple or dict, which become separate artifacts; without it a
    ``tuple[A, B]``, NamedTuple or TypedDict annotation does the same. As a mapping it also says in which format each is
    stored: ``{"train": "parquet", "test": "arrow"}``, or ``{"value": "parquet"}`` for a component's only output.
    ``retry`` may be a number of further attempts, ``timeout`` seconds or text such as ``"10min"``; ``cache=False`` is
    short for ``Cache(enabled=False)`` and ``environment={"packages": ["torch==2.13"]}`` for an ``Environment(…)``.
    ``callbacks=Callbacks(before=…, after=…)`` are called around each call, which ``before`` may skip.

    Raises DefinitionError for what cannot be a component: a class, a coroutine, a generator, wrong options.
    """

    def decorate(target: Callable[P, R]) -> Component[P, R]:
        check_function(target, "component")
        remember(target.__module__)
        return Component(
            target,
            Options(
                outputs=_names(outputs),
                formats=dict(outputs) if isinstance(outputs, Mapping) else {},
                resources=_option(resources, Resources, "resources") or Resources(),
                retry=Retry(retry) if isinstance(retry, int) else _option(retry, Retry, "retry") or Retry(),
                timeout=None if timeout is None else duration(timeout),
                cache=Cache(enabled=cache) if isinstance(cache, bool) else _option(cache, Cache, "cache") or Cache(),
                environment=_environment(environment),
                callbacks=_option(callbacks, Callbacks, "callbacks") or Callbacks(),
            ),
        )

    return decorate if function is None else decorate(function)


def check_function(target: object, decorator: str) -> None:
    """Raise DefinitionError unless ``target`` is a function that ``decorator`` can run as it is."""
    if isinstance(target, Component):
        raise DefinitionError(
            f"@{decorator} stands over {target!r}, which is a component already; keep one of the two."
        )
    if isinstance(target, type) or not callable(target) or not hasattr(target, "__name__"):
        raise DefinitionError(f"@{decorator} goes over a function; {target!r} is a {type(target).__name__}.")
    plain = inspect.unwrap(target)
    if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain):
        raise DefinitionError(
            f"@{decorator} goes over a plain function; {target.__name__} is async. Call asyncio.run inside a plain one."
        )
    if inspect.isgeneratorfunction(plain):
        raise DefinitionError(
            f"@{decorator} goes over a function that returns its value; {target.__name__} is a generator. "
            "Return a list instead."
        )


def _names(outputs: Sequence[str] | Mapping[str, str]) -> tuple[str, ...]:
    if isinstance(outputs, Mapping) and not all(isinstance(format, str) for format in outputs.values()):
        raise DefinitionError(f"outputs={dict(outputs)!r}: as a mapping, outputs gives each name a format's name.")
    if isinstance(outputs, str) or not all(isinstance(name, str) and name.isidentifier() for name in outputs):
        raise DefinitionError(
            f'outputs={outputs!r}: outputs is a tuple of names such as ("train", "test"), each a Python identifier.'
        )
    if len(set(outputs)) != len(outputs):
        raise DefinitionError(f"outputs={outputs!r}: two outputs have one name.")
    return () if tuple(outputs) == (SINGLE,) and isinstance(outputs, Mapping) else tuple(outputs)


T = TypeVar("T")


def _option(value: object, cls: type[T], name: str) -> T | None:
    if value is None or isinstance(value, cls):
        return value
    raise DefinitionError(f"{name}={value!r}: {name} takes a {cls.__name__}(...), not a {type(value).__name__}.")


def _environment(value: Environment | Mapping[str, Any] | None) -> Environment:
    if isinstance(value, Mapping):
        known = [field.name for field in fields(Environment)]
        for name in value:
            if name not in known:
                raise DefinitionError(f"environment={value!r}: there is no {name!r} in it. Known: {', '.join(known)}.")
        return Environment(**value)
    return _option(value, Environment, "environment") or Environment()


def output_form(function: Callable[..., Any], outputs: tuple[str, ...]) -> OutputForm:
    """How the return value of ``function`` falls into outputs, from ``outputs`` and its return annotation."""
    annotation = _return_annotation(function)
    origin = typing.get_origin(annotation)
    if outputs:
        shape = "dict" if typing.is_typeddict(annotation) or _is(origin or annotation, Mapping) else "tuple"
        return OutputForm(shape, outputs)
    if annotation is None or annotation is type(None):
        return OutputForm("none", ())
    if typing.is_typeddict(annotation):
        return OutputForm("dict", tuple(typing.get_type_hints(annotation)))
    if _is(annotation, tuple) and hasattr(annotation, "_fields"):
        return OutputForm("tuple", tuple(annotation._fields), annotation._make)
    members = typing.get_args(annotation)
    if origin is tuple and members and members != ((),) and Ellipsis not in members:
        return OutputForm("tuple", tuple(str(index) for index in range(len(members))))
    return OutputForm("single", (SINGLE,))


def _is(annotation: Any, cls: type) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, cls)


def _return_annotation(function: Callable[..., Any]) -> Any:
    """The resolved return annotation; a missing one, or one whose names are not importable here, promises nothing."""
    plain = inspect.unwrap(function)
    if "return" not in getattr(plain, "__annotations__", {}):
        return Any
    annotation = plain.__annotations__["return"]
    try:
        while isinstance(annotation, str):  # a quoted annotation under postponed evaluation is quoted twice
            annotation = eval(annotation, getattr(plain, "__globals__", {}))
    except Exception:  # noqa: BLE001 - names under TYPE_CHECKING, or a library absent here
        return Any
    return annotation
