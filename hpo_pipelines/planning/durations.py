"""How long a component takes, by what is recorded."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from hpo_pipelines.component import Component
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.types import Kind, Status

if TYPE_CHECKING:
    from hpo_pipelines.store import Store

LATEST = 10
"""How many executions count."""


class Durations:
    """Looks each component up once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, float | None] = {}

    def of(self, component: Component[..., Any]) -> float | None:
        """Seconds: the median of the component's latest executions, None if it never completed."""
        name = f"{component.__module__}:{component.__qualname__}"
        if name not in self._known:
            self._known[name] = self._median(component, name)
        return self._known[name]

    def _median(self, component: Component[..., Any], name: str) -> float | None:
        entries = self._store.cache.latest(component.name, 5 * LATEST)
        # Two components may have one name; a script's module is called otherwise than the same file imported.
        own = [entry.seconds for entry in entries if entry.parts.get("component") == name]
        seconds = own or [entry.seconds for entry in entries] or self._not_reusable(component)
        return statistics.median(seconds[:LATEST]) if seconds else None

    def _not_reusable(self, component: Component[..., Any]) -> list[float]:
        """Durations of executions whose outcome is under no key."""
        steps = self._store.tasks.list(
            TaskFilter(kind=Kind.STEP, name=component.name, status=Status.COMPLETED), limit=LATEST
        )
        return [step.seconds for step in steps if step.reused_from is None and step.seconds is not None]
