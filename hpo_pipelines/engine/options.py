"""How one run is driven, which its record does not say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpo_pipelines.engine.journal import Journal
from hpo_pipelines.engine.refresh import Refresh
from hpo_pipelines.task import Task

if TYPE_CHECKING:
    from hpo_pipelines.engine.scheduler import Scheduler

Watch = Callable[[str, str, float, int], "str | None"]
"""Called with (component, metric, value, step) of every report; a returned reason prunes the run."""


@dataclass(frozen=True)
class RunOptions:
    """How a run is driven, which its task does not say."""

    executor: str | None = None
    """None: each step goes where its resources ask for."""
    refresh: Refresh = field(default_factory=Refresh)
    recalled: bool = False
    """Whether it is a run inside another whose end is in the journal: its body is only to give its value again."""
    outer: Scheduler | None = None
    """The steps of the run around, for one inside another."""
    journal: Journal | None = None
    """What the body saw before, for a run that is resumed."""
    reuse: bool = True
    """Whether outcomes are looked up, shared and recorded at all."""
    prior: Mapping[str, Task] = field(default_factory=dict)
    """Completed steps, by name, of a run of which only the rest is to be run again."""
    watch: Watch | None = None
    first_party: frozenset[str] = frozenset()
    """Installed modules that are the user's own code."""
    echo: bool = True
    """Whether what the body prints is also shown, not only kept."""
