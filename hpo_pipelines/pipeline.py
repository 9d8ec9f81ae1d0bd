"""Pipelines: functions whose body, plain Python, calls components; under a decorator that leaves them what they are."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from hpo_pipelines import context
from hpo_pipelines.component import Component, check_function
from hpo_pipelines.errors import CodeUnavailable, DefinitionError
from hpo_pipelines.identity import refuse_identity_tests
from hpo_pipelines.parameters import Parameters
from hpo_pipelines.retriggering import PlainCall
from hpo_pipelines.snapshot import Captured, capture
from hpo_pipelines.snapshot.loaded import remember
from hpo_pipelines.types import Kind, duration

if TYPE_CHECKING:
    from hpo_pipelines.assembly import Assembly
    from hpo_pipelines.planning import Plan, Reach
    from hpo_pipelines.run import Run
    from hpo_pipelines.task import Task
    from hpo_pipelines.workspace import Workspace

P = ParamSpec("P")
R = TypeVar("R")

RUN_OPTIONS = ("executor", "workspace", "refresh", "reuse", "tags")
"""What :meth:`Pipeline.run` takes beside parameters; no parameter may have such a name."""


class Pipeline(Generic[P, R]):
    """A function under ``@pipeline``: outside a run it is that function; :meth:`run` records a run of it.

    Called inside the body of another pipeline's run it is a nested run.
    """

    __qualname__: str
    timeout: float | None = None
    """Seconds that a run may take in all. Snapshots of earlier versions have none."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        project: str,
        name: str,
        first_party: tuple[str, ...],
        timeout: float | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.project = project
        self.name = name
        self.first_party = first_party
        self.timeout = timeout
        self.signature = inspect.signature(function)
        self.parameters = Parameters.of(function)
        refuse_identity_tests(function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        listening = context.tracer.get()
        if listening is None:
            return PlainCall(self.function, self.parameters).value(args, kwargs)  # type: ignore[no-any-return]
        bound = self.signature.bind(*args, **kwargs)
        return listening.nested(self, bound.arguments)  # type: ignore[no-any-return]

    def run(self, /, **params: Any) -> Run:
        """Run the pipeline with ``params`` laid over its defaults; blocks until it has ended.

        Options beside the parameters: ``executor="inline" | "local" | "ray"``, ``workspace=`` (a Workspace; the default
        one lives under ``$HPO_HOME``), ``refresh=True`` or a list of steps that must not be reused, ``reuse=False``
        (reuse nothing, and leave nothing to be reused), ``tags=[...]``.
        Returns the run whatever its status: a failed run does not raise here.

        Raises ParameterError before anything runs when a parameter is unknown or has a wrong type.
        """
        options = {name: params.pop(name) for name in RUN_OPTIONS if name in params}
        return context.defaults_module().run_pipeline(self, params, **options)  # type: ignore[no-any-return]

    def draft(self, /, **params: Any) -> Run:
        """A recorded draft with ``params``, to be run, cloned or enqueued later. Options as for :meth:`run`."""
        options = {name: params.pop(name) for name in RUN_OPTIONS if name in params}
        return context.defaults_module().draft_pipeline(self, params, **options)  # type: ignore[no-any-return]

    def plan(self, /, **params: Any) -> Plan:
        """What a run with ``params`` would reuse and what it would run, without running anything.

        Options beside the parameters: ``workspace=``, and ``refresh=`` as for :meth:`run`.
        """
        options = {name: params.pop(name) for name in ("workspace", "refresh") if name in params}
        return context.defaults_module().plan_pipeline(self, params, **options)  # type: ignore[no-any-return]

    def reach(self, /, **params: Any) -> Reach:
        """Which parameters reach which step, with ``params`` over the defaults: the body is followed, no step runs.

        Option beside the parameters: ``workspace=``. See :func:`hpo_pipelines.planning.reach`.
        """
        options = {name: params.pop(name) for name in ("workspace",) if name in params}
        return context.defaults_module().reach_pipeline(self, params, **options)  # type: ignore[no-any-return]

    @staticmethod
    def from_tasks(
        name: str,
        project: str = "default",
        *,
        parameters: Mapping[str, Any] | None = None,
        workspace: Workspace | None = None,
    ) -> Assembly:
        """A pipeline made of recorded tasks: :meth:`~hpo_pipelines.assembly.Assembly.add` its steps, then run it.

        ``parameters`` are its own, each with a default, or with a type if it has none. ``workspace`` is where the tasks
        are recorded; by default the default one. Raises DefinitionError for what no pipeline can be called or have.
        """
        made = importlib.import_module("hpo_pipelines.assembly").Assembly
        return made(name, project, parameters=parameters, workspace=workspace)  # type: ignore[no-any-return]

    def captured(self) -> Captured:
        """Its code by value, to be recorded with a run of it; see :func:`hpo_pipelines.snapshot.capture`."""
        return capture(self, first_party=frozenset(self.first_party))

    def __repr__(self) -> str:
        return f"<pipeline {self.project}/{self.name}>"


@overload
def pipeline(function: Callable[P, R], /) -> Pipeline[P, R]: ...
@overload
def pipeline(
    *,
    project: str = "default",
    name: str | None = None,
    first_party: Sequence[str] = (),
    timeout: float | str | None = None,
) -> Callable[[Callable[P, R]], Pipeline[P, R]]: ...
def pipeline(
    function: Callable[P, R] | None = None,
    /,
    *,
    project: str = "default",
    name: str | None = None,
    first_party: Sequence[str] = (),
    timeout: float | str | None = None,
) -> Pipeline[P, R] | Callable[[Callable[P, R]], Pipeline[P, R]]:
    """Make a pipeline of a function, with or without parentheses.

    ``project`` groups pipelines and their runs; ``name`` defaults to the function's; ``first_party`` names installed
    modules that are your own code and travel with the pipeline. ``timeout`` (seconds, or text such as ``"1h"``) is how
    long a run may take in all, from its start or from when it is resumed; then its steps are stopped and it fails with
    the reason ``timeout``.

    Raises DefinitionError for what cannot be a pipeline, for a parameter called like an option of ``run``, and for an
    ``is`` test of a step's output, which no stand-in can answer.
    """

    def decorate(target: Callable[P, R]) -> Pipeline[P, R]:
        check_function(target, "pipeline")
        remember(target.__module__)
        if isinstance(target, Pipeline):
            raise DefinitionError(
                f"@pipeline stands over {target!r}, which is a pipeline already; keep one of the two."
            )
        taken = sorted(set(inspect.signature(target).parameters) & set(RUN_OPTIONS))
        if taken:
            raise DefinitionError(
                f"{target.__name__} has a parameter called {taken[0]!r}, which is an option of run(); rename it. "
                f"Options: {', '.join(RUN_OPTIONS)}."
            )
        title = target.__name__ if name is None else name
        check_titles(project, title)
        limit = None if timeout is None else duration(timeout)
        return Pipeline(target, project=project, name=title, first_party=tuple(first_party), timeout=limit)

    return decorate if function is None else decorate(function)


def check_titles(project: object, name: object) -> None:
    """Raise DefinitionError for what a project, or a pipeline, cannot be called."""
    for what, text in (("project", project), ("name", name)):
        if not isinstance(text, str) or not text or "#" in text or (what == "name" and "/" in text):
            raise DefinitionError(f"{what}={text!r}: {what} is text without '#', and a name without '/'.")


def components_of(pipeline: Pipeline[..., Any]) -> list[Component[..., Any]]:
    """The components that the body names, also by way of pipelines and functions of the modules that it is in.

    Those that a body gets at in other ways (out of a list, by ``getattr``) are not among them.
    """
    return [each for each in _named_by(pipeline) if isinstance(each, Component)]


def pipelines_of(pipeline: Pipeline[..., Any]) -> list[Pipeline[..., Any]]:
    """``pipeline``, and those that its body names, like :func:`components_of`."""
    return [each for each in _named_by(pipeline) if isinstance(each, Pipeline)]


def pipeline_in(pipeline: Pipeline[..., Any], task: Task) -> Pipeline[..., Any]:
    """That of ``task``, which has the code of ``pipeline``: of a run inside another one that the body names, like
    :func:`components_of`.

    Raises CodeUnavailable where the body gets at it in another way.
    """
    if task.kind is Kind.STEP or task.pipeline in (None, pipeline.name):
        return pipeline
    for each in pipelines_of(pipeline):
        if each.name == task.pipeline:
            return each
    raise CodeUnavailable(
        f"{task.label} was recorded with the code of {pipeline.name}, whose body does not name {task.pipeline}: it "
        "gets at it in another way. Name it there, or take the run around it."
    )


def _named_by(pipeline: Pipeline[..., Any]) -> Iterator[Component[..., Any] | Pipeline[..., Any]]:
    seen: set[int] = set()
    modules: set[str] = set()
    pending: list[Any] = [pipeline]
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Component):
            yield value
        elif isinstance(value, Pipeline):
            yield value
            modules.add(value.function.__module__)
            pending.append(value.function)
        elif isinstance(value, FunctionType) and value.__module__ in modules:
            pending += _named_in(value)


def _named_in(function: FunctionType) -> Iterator[Any]:
    """The values of the global, free and module names that the code of ``function`` uses."""
    known = dict(function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            known[name] = cell.cell_contents
        except ValueError:
            continue  # not bound yet
    for names in _names(function.__code__):
        for name in names:
            if name in known:
                yield known[name]
                if isinstance(known[name], ModuleType):
                    yield from (vars(known[name])[inner] for inner in names if inner in vars(known[name]))


def _names(code: CodeType) -> Iterator[tuple[str, ...]]:
    yield (*code.co_names, *code.co_freevars)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
