"""Components and pipelines of other snapshots than a run's own: what the steps of a chain are."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hpo_pipelines.chain import ChainStep
from hpo_pipelines.component import Component, Home
from hpo_pipelines.errors import CodeUnavailable
from hpo_pipelines.pipeline import Pipeline, components_of, pipelines_of
from hpo_pipelines.snapshot import Code, load_private
from hpo_pipelines.standalone import as_pipeline

if TYPE_CHECKING:
    from hpo_pipelines.engine.engine import Engine
    from hpo_pipelines.task import Task


def code_of(component: Component[..., Any], code: Code) -> Code:
    """The code that ``component`` is of, in a run of ``code``."""
    return component.home.code if component.home is not None else code


def snapshot_of(component: Component[..., Any], run: Task) -> str | None:
    """The digest of the snapshot that ``component`` is of, in ``run``."""
    return component.home.snapshot if component.home is not None else run.snapshot


def first_party_of(component: Component[..., Any], first_party: frozenset[str]) -> frozenset[str]:
    """What counts as the user's own code for ``component``, in a run where ``first_party`` does."""
    return component.home.first_party if component.home is not None else first_party


@dataclass(frozen=True)
class Lent:
    """A pipeline of another snapshot, with that."""

    pipeline: Pipeline[..., Any]
    code: Code
    snapshot: str


class Borrowing:
    """Loads snapshots for the chains of one engine, each once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lent: dict[str, Lent] = {}
        self._components: dict[tuple[str, str, str], Component[..., Any]] = {}
        self._lock = threading.Lock()

    def pipeline(self, snapshot: str, label: str) -> Lent:
        """The pipeline of ``snapshot``; ``label`` is the task that was recorded with it. Raises CodeUnavailable."""
        with self._lock:
            if snapshot not in self._lent:
                content = self._engine.artifacts.read_bytes(self._engine.snapshot_ref(snapshot))
                try:
                    code = load_private(content)
                    self._lent[snapshot] = Lent(as_pipeline(code.entry()), code, snapshot)
                except Exception as error:
                    raise CodeUnavailable(
                        f"the code of {label} does not load here: {type(error).__name__}: {error}. "
                        "It may need a library that is missing, or another Python version."
                    ) from error
            return self._lent[snapshot]

    def run(self, step: ChainStep) -> Lent:
        """The pipeline that ``step`` of a chain, a whole run, calls. Raises CodeUnavailable."""
        lent = self.pipeline(step.snapshot, step.task)
        if not step.component:
            return lent
        found = at(step.component, pipelines_of(lent.pipeline), lent.code)
        if not isinstance(found, Pipeline):
            raise CodeUnavailable(
                f"{step.component}, the pipeline of {step.task}, is a {type(found).__name__} in {lent.code}."
            )
        return replace(lent, pipeline=found)

    def component(self, step: ChainStep) -> Component[..., Any]:
        """The component that ``step`` of a chain calls, under the step's name. Raises CodeUnavailable."""
        key = step.snapshot, step.component, step.name
        found = self._components.get(key)
        if found is None:
            lent = self.pipeline(step.snapshot, step.task)
            own = component_at(lent.pipeline, lent.code, step.component, step.task)
            home = Home(own, lent.code, step.snapshot, frozenset(lent.pipeline.first_party))
            found = self._components.setdefault(key, own.borrowed(step.name, home))
        return found


def component_at(pipeline: Pipeline[..., Any], code: Code, place: str, label: str) -> Component[..., Any]:
    """The component at ``place`` (``module:qualname``) of ``pipeline``'s code. Raises CodeUnavailable."""
    found = at(place, components_of(pipeline), code)
    if not isinstance(found, Component):
        raise CodeUnavailable(f"{place}, the component of {label}, is a {type(found).__name__} in {code}.")
    return found


def at(place: str, named: Sequence[Component[..., Any] | Pipeline[..., Any]], code: Code) -> object:
    """What stands at ``place`` of ``code``: one of those ``named``, else whatever its module has there."""
    found = next((each for each in named if place_of(each) == place), None)
    if found is not None:
        return found
    module, _, qualname = place.partition(":")
    return code.resolve(module, qualname)


def place_of(named: Component[..., Any] | Pipeline[..., Any]) -> str:
    """Where it is: ``module:qualname``."""
    return f"{named.__module__}:{named.__qualname__}"
