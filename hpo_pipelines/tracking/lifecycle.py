"""Runs that are archived, restored or deleted here are deleted and restored in MLflow.

MLflow's own deleting keeps a run until ``mlflow gc``, and hides it until then: what archiving means here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from hpo_pipelines.store import Store
from hpo_pipelines.task import Event, Task
from hpo_pipelines.tracking.news import RESTORED
from hpo_pipelines.tracking.runs import OWN, Runs, is_run
from hpo_pipelines.types import Kind

ARCHIVED, DELETED = "archived", "deleted"
_AT_ONCE = 500


@dataclass
class Fate:
    """What a batch of events says of runs that went or came back, as the store has it by now."""

    hidden: list[Task] = field(default_factory=list)
    """Archived."""
    back: list[Task] = field(default_factory=list)
    """Restored."""
    gone: dict[str, str] = field(default_factory=dict)
    """Deleted tasks, each with what stood for it in MLflow."""


def fate_of(events: Iterable[Event], store: Store, follower: str) -> Fate:
    """The fate that ``events`` tell of."""
    about = [event for event in events if event.kind in (ARCHIVED, RESTORED, DELETED)]
    fate = Fate()
    if not about:
        return fate
    tasks = {}
    for some in _parts(list({event.task for event in about})):
        tasks.update(store.tasks.get_all(some))
    for task in tasks.values():
        if task.kind is Kind.PIPELINE:
            (fate.hidden if task.archived_at is not None else fate.back).append(task)
    lost = [event for event in about if event.kind == DELETED]
    # A run that was made while its task was being deleted is known only since.
    late = {}
    for some in _parts([event.task for event in lost]):
        late.update(store.followers.mirrored_all(follower, some))
    for event in lost:
        reference = event.data.get("mirrors", {}).get(follower) or late.get(event.task)
        if reference is not None:
            fate.gone[event.task] = reference
    return fate


def show_again(runs: Runs, store: Store, tasks: Sequence[Task]) -> None:
    """Restore the MLflow runs of ``tasks`` and of their steps."""
    runs.set_deleted(_runs_of(runs, store, tasks), deleted=False)


def hide(runs: Runs, store: Store, fate: Fate) -> None:
    """Delete, as MLflow does, the runs of what is archived or gone."""
    found = _runs_of(runs, store, fate.hidden)
    found += [reference for reference in fate.gone.values() if is_run(reference)]
    runs.set_deleted(found, deleted=True)


def _runs_of(runs: Runs, store: Store, tasks: Sequence[Task]) -> list[str]:
    found: list[str] = []
    for some in _parts([task.id for task in tasks]):
        of = {task.id: task for task in tasks if task.id in set(some)}
        children = [child for group in store.tasks.children_of(some).values() for child in group]
        steps = {child.id: child for child in children if child.kind is Kind.STEP}
        for part in _parts([*of, *steps]):
            for task, reference in runs.references(part).items():
                if is_run(reference):
                    found.append(reference)
                elif reference == OWN:
                    run = of[str(steps[task].parent)]
                    experiment = runs.experiment(f"{run.project}/{run.pipeline}")
                    found += [made.id for made in runs.find(experiment, task)]
    return found


def _parts(ids: Collection[str]) -> Iterable[list[str]]:
    rest = list(ids)
    return [rest[start : start + _AT_ONCE] for start in range(0, len(rest), _AT_ONCE)]
