"""A component that runs alone: the pipeline of one call of it, so that it is recorded like any other run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from hpo_pipelines.component import ALONE_OPTIONS, Component, OutputForm
from hpo_pipelines.errors import DefinitionError
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.snapshot import Captured, capture

PROJECT = "default"
"""Of components that are run without one being named."""


class Standalone(Pipeline[..., Any]):
    """A pipeline of one step, called like its component; its code is the component's.

    It gives what the component gives; outputs that have names as a dict, one value of the run for each.
    """

    def __init__(self, component: Component[..., Any], *, project: str = PROJECT) -> None:
        self.component = component
        super().__init__(_body(component), project=project, name=component.name, first_party=())

    def captured(self) -> Captured:
        """See :meth:`Pipeline.captured`: that of the component, which is found by its name."""
        return capture(self.component)

    def __repr__(self) -> str:
        return f"<{self.component!r} alone>"


def standalone(component: Component[..., Any], *, project: str = PROJECT) -> Standalone:
    """The pipeline of one call of ``component``, named after it, in ``project``.

    Raises DefinitionError for a component with a parameter called like an option of ``run``, or whose parameters no
    pipeline can have.
    """
    taken = sorted(set(component.signature.parameters) & set(ALONE_OPTIONS))
    if taken:
        raise DefinitionError(
            f"{component.name} has a parameter called {taken[0]!r}, which is an option of run(): call it in a pipeline "
            f"instead, or rename it. Options: {', '.join(ALONE_OPTIONS)}."
        )
    return Standalone(component, project=project)


def as_pipeline(entry: Any) -> Pipeline[..., Any]:
    """What a snapshot is of, a pipeline or a component, as what is run."""
    return standalone(entry) if isinstance(entry, Component) else entry


def _body(component: Component[..., Any]) -> Callable[..., Any]:
    @functools.wraps(component.function)
    def alone(*args: Any, **kwargs: Any) -> Any:
        return _named(component.form, component(*args, **kwargs))

    return alone


def _named(form: OutputForm, value: Any) -> Any:
    """Several outputs by their names: as keys of a dict they are named again, and not stored twice."""
    return dict(zip(form.names, value, strict=True)) if form.shape == "tuple" else value
