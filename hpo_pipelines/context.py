"""Who is listening: the one way from the authoring layer to the engine, so that imports keep one direction.

Outside a run nobody listens and every component and pipeline is its plain function.
"""

from __future__ import annotations

import importlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpo_pipelines.chain import Definition
    from hpo_pipelines.component import Component
    from hpo_pipelines.pipeline import Pipeline


class Tracer(Protocol):
    """What a pipeline body runs against: called for every component and every nested pipeline."""

    def call(self, component: Component[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Start a step; returns what stands for its outputs, at once."""
        ...

    def nested(self, pipeline: Pipeline[..., Any], params: Mapping[str, Any]) -> Any:
        """Run ``pipeline`` as a run inside this one; returns its value."""
        ...

    def chain(self, definition: Definition, params: Mapping[str, Any]) -> Any:
        """Run the steps of a chain; returns its value."""
        ...

    def report(self, name: str, value: float, step: int | None) -> None:
        """Record a metric of the run itself."""
        ...

    def retrigger(self, changes: Mapping[str, Any], *, max_attempts: int, reason: str) -> NoReturn:
        """See :class:`Call`."""
        ...


class Call(Protocol):
    """What a pipeline body that nobody traces can ask for."""

    def retrigger(self, changes: Mapping[str, Any], *, max_attempts: int, reason: str) -> NoReturn:
        """Raise the signal that ends the body, for it to be called again with ``changes``."""
        ...


class Reporter(Protocol):
    """What :func:`hpo_pipelines.report` writes to inside a running step."""

    def report(self, name: str, value: float, step: int | None) -> None:
        """Record a metric of the step."""
        ...


plain: ContextVar[Call | None] = ContextVar("hpo_pipelines.plain", default=None)
"""The innermost call of a pipeline as a plain function; None inside components."""
tracer: ContextVar[Tracer | None] = ContextVar("hpo_pipelines.tracer", default=None)
reporter: ContextVar[Reporter | None] = ContextVar("hpo_pipelines.reporter", default=None)


def defaults_module() -> Any:
    """What runs pipelines, imported when a run is first asked for: plain functions never pay for it."""
    return importlib.import_module("hpo_pipelines.defaults")
