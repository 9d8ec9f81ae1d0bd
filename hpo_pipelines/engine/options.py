"""How one run is driven, which its record does not say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hpo_pipelines.component import SINGLE
from hpo_pipelines.engine.journal import Journal
from hpo_pipelines.engine.refresh import Refresh
from hpo_pipelines.engine.repeats import Repeats
from hpo_pipelines.engine.rungs import Ladder
from hpo_pipelines.store import Store
from hpo_pipelines.task import Task
from hpo_pipelines.types import ArtifactRef, Kind, Status

if TYPE_CHECKING:
    from hpo_pipelines.artifacts import ArtifactStore
    from hpo_pipelines.engine.scheduler import Scheduler
    from hpo_pipelines.snapshot import Code

Watch = Callable[[str, str, float, int], "str | None"]
"""Called with (component, metric, value, step) of every report; a returned reason prunes the run.

Of a result of a step, ``metric`` is the name of the output, empty where it has but one, and ``step`` 0.
"""


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
    results: frozenset[str] = frozenset()
    """The results that ``watch`` is told of as well: ``component``, or ``component.output`` of one with several."""
    repeats: Repeats | None = None
    """Set for a run that is its pipeline several times."""
    ladder: Ladder | None = None
    """Set for a run that is its pipeline at one rung after another."""
    first_party: frozenset[str] = frozenset()
    """Installed modules that are the user's own code."""
    shared: bool = False
    """Whether another process goes on with it if this one cannot record for a moment how it goes."""
    echo: bool = True
    """Whether what the body prints is also shown, not only kept."""

    def heard(self, component: str, series: Iterable[tuple[str, float, int]]) -> str | None:
        """Why to prune the run after these reports (name, value, step), if ``watch`` says so."""
        if self.watch is None:
            return None
        return next((said for report in series if (said := self.watch(component, *report))), None)

    def gave(
        self, component: str, outputs: Mapping[str, ArtifactRef], artifacts: ArtifactStore, code: Code
    ) -> str | None:
        """Why to prune the run now that a step has given ``outputs``; what is no number is passed over."""
        if not self.results:
            return None
        numbers = results(component, outputs, self.results, lambda ref: artifacts.get(ref, code=code))
        return self.heard(component, ((name, value, 0) for name, value in numbers))


def results(
    component: str, outputs: Mapping[str, ArtifactRef], wanted: Collection[str], load: Callable[[ArtifactRef], Any]
) -> Iterator[tuple[str, float]]:
    """The numbers among the ``outputs`` of a step that are ``wanted``, by the name of the output; see ``Watch``."""
    for name, ref in outputs.items():
        if (component if name == SINGLE else f"{component}.{name}") in wanted:
            try:
                yield "" if name == SINGLE else name, float(load(ref))
            except (TypeError, ValueError):
                continue


ASKED = "asked"
"""The kind of the event that keeps what a run was asked to do otherwise than usual, for whoever resumes it."""


def asked(options: RunOptions) -> dict[str, Any]:
    """What of ``options`` decides which steps of the run are reused, as JSON; empty if it is nothing but the usual."""
    refresh = options.refresh
    said: dict[str, Any] = {} if options.reuse else {"reuse": False}
    if refresh != Refresh():
        said["refresh"] = True if refresh.everything else sorted(refresh.steps)
    if refresh.from_steps:
        said["from"] = sorted(refresh.from_steps)
    if options.repeats is not None:
        said["repeats"] = options.repeats.as_option()
    if options.ladder is not None:
        said["ladder"] = options.ladder.as_option()
    if options.prior:
        said["kept"] = next(iter(options.prior.values())).parent
    return said


def asked_again(store: Store, run: Task, options: RunOptions) -> RunOptions:
    """``options`` for a run that is resumed, with what it was :func:`asked` for when it was started."""
    said = next((event.data for event in store.events.story(run.id) if event.kind == ASKED), {})
    if not said:
        return options
    wanted = said.get("refresh", False)
    names = frozenset() if isinstance(wanted, bool) else frozenset(wanted)
    return replace(
        options,
        refresh=Refresh(wanted is True, names, frozenset(said.get("from", ()))),
        reuse=options.reuse and said.get("reuse", True),
        repeats=Repeats.of_option(said.get("repeats")),
        ladder=Ladder.of_option(said.get("ladder")),
        prior=completed(store, said["kept"]) if "kept" in said else options.prior,
    )


def completed(store: Store, run: str) -> dict[str, Task]:
    """The steps of a run that completed, by name."""
    children = store.tasks.children(run)
    return {task.name: task for task in children if task.kind is Kind.STEP and task.status is Status.COMPLETED}
