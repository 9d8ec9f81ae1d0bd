"""The MLflow follower: mirrors each pipeline run into the experiment ``project/pipeline``.

Events only say where to look: what MLflow is to show is read from the store as it stands now, so taking a batch twice
changes nothing. A run gets its parameters and values first and its final status last.
"""

from __future__ import annotations

import getpass
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from hpo_pipelines.errors import HpoPipelinesError, TaskNotFound, TrackingError
from hpo_pipelines.store import Store
from hpo_pipelines.task import Attempt, Event, Metric, Task
from hpo_pipelines.tracking import contents
from hpo_pipelines.tracking.backend import Backend
from hpo_pipelines.tracking.base import one_line
from hpo_pipelines.tracking.contents import ATTEMPT_TAG, PARENT_TAG, Point
from hpo_pipelines.tracking.news import Gathering, News
from hpo_pipelines.tracking.runs import OWN, SINCE, Runs, is_run
from hpo_pipelines.types import Kind, Status

log = logging.getLogger(__name__)

Sources = Callable[[str], Mapping[str, str]]
"""From a snapshot's digest to the source of each component."""

_TRIES = 3
_REFUSALS = {"INVALID_PARAMETER_VALUE", "INVALID_STATE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST"}
"""MLflow's codes for what trying again will hardly change."""


@dataclass(frozen=True)
class _Work:
    """One run to be shown anew: its news, and those of its steps in the news that get a run of their own."""

    run: Task
    news: News
    steps: Sequence[Task]

    @property
    def tasks(self) -> Sequence[Task]:
        return [self.run, *self.steps]


class MlflowMirror:
    """Shows in ``backend`` what is in ``store``; :meth:`take` is for a :class:`hpo_pipelines.tracking.base.Follower`.

    ``step_runs`` is the setting ``tracking_step_runs``. ``holds`` says whether the lease is still ours.
    """

    def __init__(
        self,
        store: Store,
        backend: Backend,
        *,
        step_runs: str = "auto",
        sources: Sources = lambda digest: {},
        holds: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._step_runs = step_runs
        self._shown_uri = backend.shown
        self._gathering = Gathering(store)
        self._runs = Runs(store, backend, holds=holds)
        self._shown: set[str] = set()
        self._refused: Counter[str] = Counter()
        self._known_until: int | None = None
        self._sources = lru_cache(maxsize=16)(sources)
        self._study_name = lru_cache(maxsize=256)(self._study_of)
        self._source_name = lru_cache(maxsize=256)(self._entry_of)

    def take(self, events: Sequence[Event]) -> None:
        """Show what ``events`` tell of. Raises TrackingError while MLflow cannot be reached or does not take it."""
        try:
            self._take(events)
        except HpoPipelinesError:
            raise
        except Exception as error:
            raise TrackingError(
                f"MLflow at {self._shown_uri} does not take our runs: {one_line(error)}. "
                "What is missing there is added when it does."
            ) from error

    def _take(self, events: Sequence[Event]) -> None:
        self._runs.connect()
        if self._known_until is None:
            self._known_until = self._since(events[0].id)
        work = [found for news in self._gathering.gather(events) if (found := self._work(news))]
        tasks = [task.id for each in work for task in each.tasks]
        self._runs.intend([task for task in tasks if self._runs.reference(task) is None])
        for each in work:
            try:
                self._show(each)
            except Exception as error:
                self._shown.clear()
                if not self._gives_up(each, error):
                    raise

    def _since(self, first: int) -> int:
        """The last event there was when this backend was first followed into: up to it, it may know runs already.

        So the same server under another name, or a store whose cursors were lost, gives no second copy of anything.
        """
        recorded = self._runs.reference(SINCE)
        if recorded is None:
            recorded = str(self._store.events.last() if first == 1 else 0)
            self._runs.record(SINCE, recorded)
        return int(recorded)

    # -- what to show

    def _work(self, news: News) -> _Work | None:
        try:
            run = self._store.tasks.get(news.run)
            steps = [self._store.tasks.get(step) for step in news.steps]
        except TaskNotFound:  # deleted since
            return None
        if run.status is Status.DRAFT:
            return None
        return _Work(run, news, [step for step in steps if self._has_run(step, run)])

    def _has_run(self, step: Task, run: Task) -> bool:
        """Whether the step gets an MLflow run of its own, and it is time to show it."""
        if self._runs.reference(step.id) == OWN:
            return step.status.finished
        if self._step_runs == "never" or (self._step_runs == "auto" and run.study is not None):
            return False
        if step.reused_from is not None or step.status in (Status.QUEUED, Status.SKIPPED):
            return False
        # What ended without a start was never executed.
        return step.status in (Status.RUNNING, Status.COMPLETED) or bool(self._store.tasks.attempts(step.id))

    def _is_known(self, news: News) -> bool:
        return news.first <= (self._known_until or 0)

    # -- runs

    def _show(self, work: _Work) -> None:
        run, news = work.run, work.news
        experiment = self._runs.experiment(f"{run.project}/{run.pipeline}")
        tags = self._tags(run)
        ending = run.status.finished and bool(news.moved or news.steps or news.values)
        steps = self._steps(run) if run.status.finished else []
        if run.status.finished:
            reused = sum(step.reused_from is not None for step in steps)
            tags |= {"hpo.steps": str(len(steps)), "hpo.reused": str(reused)}
        target, made = self._runs.open(run, experiment, tags, known=self._is_known(news))
        if ending:
            self._end(target, work, steps, {} if made else tags)
        else:
            self._go_on(target, work, made=made)
        if news.edited and not made:
            self._runs.retag(target, tags)
        for step in work.steps:
            self._show_step(step, work, target, experiment)
        if run.status.finished:
            self._shown.discard(target)
        else:
            self._shown.add(target)

    def _go_on(self, target: str, work: _Work, *, made: bool) -> None:
        run = work.run
        values = self._values(target, work, self._steps(run)) if work.news.values or target not in self._shown else []
        moved = work.news.moved and not made
        tags = {"hpo.status": str(run.status), "hpo.reason": run.reason or ""} if moved else {}
        self._runs.log(target, values, self._params(target, run), tags)
        if moved or run.status is not Status.RUNNING:
            self._runs.show_status(target, contents.mlflow_status(run.status))

    def _end(self, target: str, work: _Work, steps: Sequence[Task], tags: Mapping[str, str]) -> None:
        store, run = self._store, work.run
        ids = [run.id, *(step.id for step in steps)]
        ends = [event for event in store.events.story(run.id) if _is_end(event)]
        last = contents.closing(run, steps, store.metrics.of(ids), finished_before=len(ends) > 1)
        values = [*self._values(target, work, steps), *last]
        self._runs.log(target, values, self._params(target, run), tags)
        outputs = store.tasks.outputs_of(ids)
        shown = {**{step.name: outputs[step.id] for step in steps}, "return": outputs[run.id]}
        self._runs.upload(target, contents.files(run, shown, self._sources(run.snapshot) if run.snapshot else {}))
        self._runs.end(target, run)

    def _params(self, target: str, run: Task) -> dict[str, str]:
        return {} if target in self._shown else contents.param_texts(run.params)

    def _values(self, target: str, work: _Work, steps: Sequence[Task]) -> list[Point]:
        """The values that are new; at our first look all, as we do not know how far whoever was before us came."""
        prefixes = {work.run.id: "", **{step.id: f"{step.name}." for step in steps}}
        if target not in self._shown:
            return contents.points(self._store.metrics.of(list(prefixes)), prefixes)
        values: list[Metric] = []
        for task, first, last in work.news.values:
            values += self._store.metrics.between(task, first, last)
        return contents.points(values, prefixes)

    def _steps(self, run: Task) -> list[Task]:
        return [task for task in self._store.tasks.children(run.id) if task.kind is Kind.STEP]

    def _tags(self, run: Task) -> dict[str, str]:
        more: dict[str, object] = {"run": run.label}
        if run.parent is None and run.study is not None:
            more |= {"study": self._study_name(run.study), "trial": run.trial}
        tags = contents.tags(run, **more)
        source = self._source_name(run.snapshot) if run.snapshot else None
        tags |= {
            "mlflow.user": _user(),
            "mlflow.source.type": "LOCAL",
            "mlflow.source.name": source or str(run.pipeline),
        }
        enclosing = self._runs.reference(run.parent) if run.parent else None
        return tags | ({PARENT_TAG: enclosing} if enclosing is not None and is_run(enclosing) else {})

    def _study_of(self, study: str) -> str:
        try:
            return self._store.tasks.get(study).name
        except TaskNotFound:
            return study

    def _entry_of(self, snapshot: str) -> str | None:
        found = self._store.snapshots.get(snapshot)
        return None if found is None else found.entry

    # -- steps

    def _show_step(self, step: Task, work: _Work, parent: str, experiment: str) -> None:
        tags = contents.tags(step, run=work.run.label) | {PARENT_TAG: parent, "mlflow.user": _user()}
        if self._runs.reference(step.id) == OWN:
            self._adopt(step, tags, experiment)
        else:
            target, made = self._runs.open(step, experiment, tags, known=self._is_known(work.news))
            values = contents.points(self._store.metrics.of([step.id]), {step.id: ""})
            self._runs.log(target, values, contents.param_texts(step.params), {} if made else tags)
            if step.status.finished:
                self._end_step(target, step)

    def _end_step(self, target: str, step: Task) -> None:
        outputs = {step.name: self._store.tasks.outputs(step.id)}
        self._runs.upload(target, contents.files(step, outputs, {}))
        self._runs.end(target, step)

    def _adopt(self, step: Task, tags: Mapping[str, str], experiment: str) -> None:
        """Complete the runs that the step's attempts made themselves, around what the user's code wrote into them."""
        attempts = {str(attempt.number): attempt for attempt in self._store.tasks.attempts(step.id)}
        found = self._runs.find(experiment, step.id)
        values = contents.points(self._store.metrics.of([step.id]), {step.id: ""})
        for run in found:
            attempt = attempts.get(run.data.tags.get(ATTEMPT_TAG, ""))
            is_last = run is found[-1]
            shown = step if is_last or attempt is None else _as_attempt(step, attempt)
            texts = contents.param_texts(step.params)
            params = {name: text for name, text in texts.items() if name not in run.data.params}
            marks = {**tags, "hpo.status": str(shown.status)}
            self._runs.log(run.info.run_id, values if is_last else [], params, marks)
            self._end_step(run.info.run_id, shown)

    # -- refusals

    def _gives_up(self, work: _Work, error: Exception) -> bool:
        """Whether to leave a run as it is in MLflow, because however often we try it will not be otherwise."""
        code = getattr(error, "error_code", "")
        ours = isinstance(error, TypeError | ValueError | LookupError | AttributeError)
        if code not in _REFUSALS and not ours:
            return False
        run = work.run
        self._refused[run.id] += 1
        target = self._runs.reference(run.id)
        purged = code == "RESOURCE_DOES_NOT_EXIST"
        # The experiment may have been deleted, and what is purged has to be made again.
        self._runs.forget([task.id for task in work.tasks] if purged else [])
        if not purged and target is not None and is_run(target) and self._runs.is_deleted(target):
            log.info("%s was deleted in MLflow and is left alone", run.label)
            return True
        if self._refused[run.id] < _TRIES:
            return False
        log.error("%s cannot be shown in MLflow and is left as it is there", run.label, exc_info=error)
        return True


def _is_end(event: Event) -> bool:
    return event.kind == "status" and Status(event.data["to"]).finished


def _as_attempt(step: Task, attempt: Attempt) -> Task:
    """``step`` as it would be if this attempt had been its last."""
    finished = attempt.finished_at or step.finished_at
    return replace(step, status=attempt.status, finished_at=finished, error=attempt.error)


@lru_cache(maxsize=1)
def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"
