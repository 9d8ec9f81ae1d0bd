"""What the store has of the runs that a batch of news is about: each kind of record read once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from hpo_pipelines.store import Store
from hpo_pipelines.task import Event, Metric, Task
from hpo_pipelines.tracking.news import News
from hpo_pipelines.types import ArtifactRef, Kind, Status

_IDS_AT_ONCE = 5000
"""How many ids one query names; SQLite takes 32766."""

T = TypeVar("T")


@dataclass(frozen=True)
class View:
    """One run to be shown anew, as the store has it."""

    run: Task
    news: News
    own: Sequence[Task] = ()
    """Its steps in the news; later those of them that get an MLflow run of their own."""
    steps: Sequence[Task] = ()
    """All its steps, where :attr:`whole` asks for them."""
    metrics: Sequence[Metric] = ()
    """All values of the run and these steps, in the order in which they were recorded; not of one that is ``shown``."""
    outputs: Mapping[str, Mapping[str, ArtifactRef]] | None = None
    """Of the run and these steps, where the run has ended."""
    ends: int = 0
    """How often it has ended."""
    shown: bool = False
    """It is going on, and all but the news of it is in MLflow."""

    @property
    def tasks(self) -> Sequence[Task]:
        """Those that get an MLflow run."""
        return [self.run, *self.own]

    @property
    def ending(self) -> bool:
        """It has ended, and that is news."""
        return self.run.status.finished and bool(self.news.moved or self.news.steps or self.news.values)

    @property
    def whole(self) -> bool:
        """Its steps matter, also those that there is no news of."""
        return self.run.status.finished or bool(self.news.values) or not self.shown

    def metrics_of(self, task: str) -> list[Metric]:
        return [metric for metric in self.metrics if metric.task == task]

    def outputs_of(self, task: str) -> Mapping[str, ArtifactRef]:
        return (self.outputs or {}).get(task, {})


class Views:
    """Reads views from ``store``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def first(self, news: Sequence[News]) -> list[View]:
        """The runs and the steps in the news; drafts, and runs deleted since, have no view."""
        tasks = _all(self._store.tasks.get_all, [id for each in news for id in (each.run, *each.steps)])
        found = []
        for each in news:
            run = tasks.get(each.run)
            if run is not None and run.status is not Status.DRAFT:
                found.append(View(run, each, [tasks[step] for step in each.steps if step in tasks]))
        return found

    def complete(self, views: Sequence[View]) -> list[View]:
        """Each view with what has to be known beside the run and its ``own`` steps."""
        store = self._store
        children = _all(store.tasks.children_of, [view.run.id for view in views if view.whole])
        steps = {run: [task for task in tasks if task.kind is Kind.STEP] for run, tasks in children.items()}
        metrics = self._metrics(views, steps)
        ended = [view for view in views if view.run.status.finished]
        outputs = _all(store.tasks.outputs_of, _ids(views, steps, lambda view: view.ending, _finished))
        stories = _all(store.events.stories, [view.run.id for view in ended])
        return [
            replace(
                view,
                steps=steps.get(view.run.id, ()),
                metrics=metrics.get(view.run.id, ()),
                outputs=outputs,
                ends=sum(map(_is_end, stories.get(view.run.id, ()))),
            )
            for view in views
        ]

    def _metrics(self, views: Sequence[View], steps: Mapping[str, Sequence[Task]]) -> dict[str, list[Metric]]:
        """Run → values, in the order in which they were recorded."""
        wanted = _ids(views, steps, lambda view: view.run.status.finished or not view.shown, _any)
        places = {view.run.id: view.run.id for view in views}
        places |= {step.id: view.run.id for view in views for step in (*view.own, *steps.get(view.run.id, ()))}
        found: dict[str, list[Metric]] = {}
        for ids in _parts(wanted):
            for metric in self._store.metrics.of(ids):
                found.setdefault(places[metric.task], []).append(metric)
        return found


def _all(read: Callable[[Sequence[str]], Mapping[str, T]], ids: Iterable[str]) -> dict[str, T]:
    return {key: value for part in _parts(ids) for key, value in read(part).items()}


def _ids(
    views: Sequence[View],
    steps: Mapping[str, Sequence[Task]],
    whole: Callable[[View], bool],
    single: Callable[[Task], bool],
) -> Iterable[str]:
    """The runs that are ``whole`` with all their steps, and of the others the own steps that are ``single``."""
    found: dict[str, None] = {}
    for view in views:
        if whole(view):
            found |= dict.fromkeys([view.run.id, *(step.id for step in steps.get(view.run.id, ()))])
        found |= dict.fromkeys(step.id for step in view.own if single(step))
    return found


def _any(step: Task) -> bool:
    return True


def _finished(step: Task) -> bool:
    return step.status.finished


def _parts(ids: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(ids)
    while part := list(islice(remaining, _IDS_AT_ONCE)):
        yield part


def _is_end(event: Event) -> bool:
    return event.kind == "status" and Status(event.data["to"]).finished
