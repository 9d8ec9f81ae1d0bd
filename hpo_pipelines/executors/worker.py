"""What runs inside a worker, whichever executor started it: one page, read top to bottom.

A worker process serves one code snapshot at a time and keeps what it has loaded, by digest, between steps.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hpo_pipelines import context
from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.component import Component
from hpo_pipelines.errors import HpoPipelinesError
from hpo_pipelines.executors.base import Assignment, Begun, Completed, Ended, Failed, Reported, Slot
from hpo_pipelines.failure import Failure
from hpo_pipelines.output import substitute
from hpo_pipelines.snapshot import Code, install

if TYPE_CHECKING:
    from hpo_pipelines.executors.environments.annexes import Annexes

Send = Callable[[Reported | Begun], None]
Write = Callable[[bytes], None]


class StepReporter:
    """Where ``report`` goes inside a running step."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def report(self, name: str, value: float, step: int | None) -> None:
        self._send(Reported(name, value, step, time.time()))


def to_console(data: bytes) -> None:
    """Write ``data`` where this process prints."""
    while data:
        data = data[os.write(1, data) :]


class Loader:
    """What a worker process has loaded: artifact stores by URL, the code of one snapshot, components by locator.

    And the processes apart that it keeps for steps with an environment of their own; ``write`` takes what those print.
    """

    def __init__(self, code: Code | None = None, write: Write = to_console) -> None:
        self._write = write
        self._annexes: Annexes | None = None
        self._stores: dict[str, ArtifactStore] = {}
        self._given = code
        self._snapshot = ""
        self._code = code
        self._components: dict[str, Component[..., Any]] = {}

    def store(self, url: str) -> ArtifactStore:
        if url not in self._stores:
            self._stores[url] = ArtifactStore(url)
        return self._stores[url]

    def code(self, assignment: Assignment) -> Code:
        """The assignment's code; another snapshot than the last takes its place."""
        if self._given is not None:
            return self._given
        if self._code is None or self._snapshot != assignment.snapshot_digest:
            content = self.store(assignment.artifacts).read_bytes(assignment.snapshot)
            self._code = install(content)
            self._snapshot = assignment.snapshot_digest
            self._components.clear()
        return self._code

    @property
    def annexes(self) -> Annexes:
        if self._annexes is None:
            # Only what names an environment pays for it.
            from hpo_pipelines.executors.environments.annexes import Annexes

            self._annexes = Annexes(self._write)
        return self._annexes

    def close(self) -> None:
        """End the processes apart; they come back when they are needed."""
        if self._annexes is not None:
            self._annexes.close()

    def component(self, assignment: Assignment, code: Code) -> Component[..., Any]:
        digest = assignment.locator.digest
        if digest not in self._components:
            self._components[digest] = code.locate(assignment.locator)
        return self._components[digest]


def execute(assignment: Assignment, loader: Loader, send: Send) -> Ended:
    """Run one attempt now: load, call, store. User code and its values may fail; this function does not.

    One with an environment of its own runs in a process apart, which ``send``s :class:`Begun` if it has a timeout, and
    may be lost without this one.

    Interrupts (KeyboardInterrupt, SystemExit) of the user's code are failures too; one that comes from a cancel is
    told apart by who sent it.
    """
    if assignment.environment.apart:
        return loader.annexes.run(assignment, send)
    begun = time.perf_counter()
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    try:
        code = loader.code(assignment)
        store = loader.store(assignment.artifacts)
        component = loader.component(assignment, code)
        retry_on = component.options.retry.on
        args, kwargs = load_arguments(assignment, code, store)
        with _variables(assignment.variables), _around(assignment.around):
            value = call(component, args, kwargs, StepReporter(send))
        outputs = component.form.split(value, component.name)
        formats = component.options.formats
        stored = {
            name: store.put(item, name=f"{component.name}.{name}", format=formats.get(name), code=code)
            for name, item in outputs.items()
        }
    except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is the step's failure
        own = not isinstance(error, HpoPipelinesError)
        failure = Failure.of(error, retryable=isinstance(error, retry_on), skip=2 if own else 0)
        return Failed(failure, error)
    return Completed(stored, time.perf_counter() - begun)


def load_arguments(assignment: Assignment, code: Code, store: ArtifactStore) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The step's own copies of its arguments, each slot filled with its input."""
    args, kwargs = code.load(assignment.arguments)
    if assignment.inputs:
        loaded = [store.get(ref, code=code) for ref in assignment.inputs]
        args, kwargs = substitute((args, kwargs), lambda slot: loaded[slot.index], leaf=Slot)
    return args, kwargs


def call(
    component: Component[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], reporter: StepReporter
) -> Any:
    """The component's plain function, with nobody tracing and ``report`` going to ``reporter``."""
    tracing, calling = context.tracer.set(None), context.plain.set(None)
    reporting = context.reporter.set(reporter)
    try:
        return component.function(*args, **kwargs)
    finally:
        context.reporter.reset(reporting)
        context.plain.reset(calling)
        context.tracer.reset(tracing)


def _around(place: str) -> contextlib.AbstractContextManager[Any]:
    """The context manager named by ``place``, imported only by the steps that run in it."""
    if not place:
        return contextlib.nullcontext()
    module, _, name = place.partition(":")
    manager: contextlib.AbstractContextManager[Any] = getattr(importlib.import_module(module), name)()
    return manager


@contextlib.contextmanager
def _variables(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
