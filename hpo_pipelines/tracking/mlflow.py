"""The MLflow follower: mirrors each pipeline run into the experiment ``project/pipeline``.

Events only say where to look: what MLflow is to show is read from the store as it stands now, so taking a batch twice
changes nothing. A run gets its parameters and values first and its final status last.
"""

from __future__ import annotations

import getpass
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from hpo_pipelines.errors import HpoPipelinesError, TaskNotFound, TrackingError
from hpo_pipelines.store import Store
from hpo_pipelines.task import Attempt, Event, Metric, Task
from hpo_pipelines.tracking import contents, objectives
from hpo_pipelines.tracking.backend import Backend
from hpo_pipelines.tracking.base import one_line
from hpo_pipelines.tracking.bulk import BulkRuns
from hpo_pipelines.tracking.contents import ATTEMPT_TAG, PARENT_TAG, Point
from hpo_pipelines.tracking.lifecycle import fate_of, hide, show_again
from hpo_pipelines.tracking.news import Gathering, News
from hpo_pipelines.tracking.runs import OWN, SINCE, Runs, is_run
from hpo_pipelines.tracking.views import View, Views
from hpo_pipelines.types import Status

log = logging.getLogger(__name__)

Sources = Callable[[str], Mapping[str, str]]
"""From a snapshot's digest to the source of each component."""

_AT_ONCE = 50
"""How many runs are read, and written in one transaction: bounds memory, and how long others wait to write."""
_TRIES = 3
_REFUSALS = {"INVALID_PARAMETER_VALUE", "INVALID_STATE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST"}
"""MLflow's codes for what trying again will hardly change."""


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
        self._backend = backend
        self._holds = holds
        self._step_runs = step_runs
        self._gathering = Gathering(store)
        self._views = Views(store)
        self._called = self._runs = Runs(store, backend, holds=holds)
        self._shown: set[str] = set()
        self._refused: Counter[str] = Counter()
        self._known_until: int | None = None
        self._sources = lru_cache(maxsize=16)(sources)
        self._study = lru_cache(maxsize=256)(self._study_of)
        self._source_name = lru_cache(maxsize=256)(self._entry_of)

    def take(self, events: Sequence[Event]) -> None:
        """Show what ``events`` tell of. Raises TrackingError while MLflow cannot be reached or does not take it."""
        try:
            self._take(events)
        except HpoPipelinesError:
            raise
        except Exception as error:
            raise TrackingError(
                f"MLflow at {self._backend.shown} does not take our runs: {one_line(error)}. "
                "What is missing there is added when it does."
            ) from error

    def _take(self, events: Sequence[Event]) -> None:
        self._connect()
        if self._known_until is None:
            self._known_until = self._since(events[0].id)
        fate = fate_of(events, self._store, self._backend.follower)
        if fate.back:
            show_again(self._runs, self._store, fate.back)
        news = self._gathering.gather(events)
        for start in range(0, len(news), _AT_ONCE):
            self._show_all(self._views_of(news[start : start + _AT_ONCE]))
        if fate.hidden or fate.gone:
            hide(self._runs, self._store, fate)

    def _connect(self) -> None:
        if not self._runs.connected:
            self._runs = BulkRuns.of(self._store, self._backend, holds=self._holds) or self._called
            self._runs.connect()

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

    def _views_of(self, news: Sequence[News]) -> list[View]:
        """What is to be shown; the runs that are to be made for it are intended."""
        views = self._views.first(news)
        tasks = {task.id: None for view in views for task in view.tasks}
        self._runs.load(tasks | {view.run.parent: None for view in views if view.run.parent})
        views = [
            replace(
                view,
                own=[step for step in view.own if self._has_run(step, view.run)],
                # What is no more to be shown is taken away, and all the rest shown again.
                shown=self._runs.reference(view.run.id) in self._shown and not view.news.withdrawn,
            )
            for view in views
        ]
        if new := [task.id for view in views for task in view.tasks if self._runs.reference(task.id) is None]:
            self._runs.intend(new)
        return self._views.complete(views)

    def _show_all(self, views: Sequence[View]) -> None:
        for view in views:
            self._try(view)
        try:
            self._runs.settle()
        except Exception as error:  # noqa: BLE001 - whatever it is, the runs that do not cause it are to be shown
            log.debug("one by one, to find out what is refused: %s", error)
            self._runs.drop()
            for view in views:
                self._try(view, settle=True)

    def _try(self, view: View, *, settle: bool = False) -> None:
        try:
            self._show(view)
            if settle:
                self._runs.settle()
        except Exception as error:
            self._shown.clear()
            gives_up = self._gives_up(view, error)
            if settle or not gives_up:
                self._runs.drop()
            if not gives_up:
                raise

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

    def _show(self, view: View) -> None:
        run = view.run
        experiment = self._runs.experiment(f"{run.project}/{run.pipeline}")
        tags = self._tags(view)
        target, made = self._runs.open(run, experiment, tags, known=self._is_known(view.news))
        self._withdraw(target, view)
        if view.ending:
            self._end(target, view, {} if made else tags)
        else:
            self._go_on(target, view, made=made)
        if view.news.edited and not made:
            self._runs.retag(target, tags)
        for step in view.own:
            self._show_step(step, view, target, experiment)
        if run.status.finished:
            self._shown.discard(target)
        else:
            self._shown.add(target)

    def _withdraw(self, target: str, view: View) -> None:
        """Take away what attempts reported that did not count, or nobody knows any more."""
        names = {step.id: f"{step.name}." for step in view.steps}
        for task, metric in view.news.withdrawn:
            prefix = metric if task == view.run.id else names.get(task, "")
            if prefix:
                self._runs.withdraw(target, contents.key(prefix))

    def _go_on(self, target: str, view: View, *, made: bool) -> None:
        run = view.run
        moved = view.news.moved and not made
        tags = {"hpo.status": str(run.status), "hpo.reason": run.reason or ""} if moved else {}
        self._runs.log(target, self._values(view), self._params(view), tags)
        if moved or run.status is not Status.RUNNING:
            self._runs.show_status(target, contents.mlflow_status(run.status))

    def _end(self, target: str, view: View, tags: Mapping[str, str]) -> None:
        run, steps = view.run, view.steps
        last = contents.closing(run, steps, view.metrics, finished_before=view.ends > 1)
        study = self._study(run.study) if run.study is not None and run.parent is None else None
        if study is not None:
            last += objectives.points(study.params, run, steps, view.metrics, view.outputs_of(run.id))
        self._runs.log(target, [*self._values(view), *last], self._params(view), tags)
        shown = {**{step.name: view.outputs_of(step.id) for step in steps}, "return": view.outputs_of(run.id)}
        self._runs.upload(target, contents.files(run, shown, self._sources(run.snapshot) if run.snapshot else {}))
        self._runs.end(target, run)

    def _params(self, view: View) -> dict[str, str]:
        return {} if view.shown else contents.param_texts(view.run.params)

    def _values(self, view: View) -> list[Point]:
        """The values that are new; at our first look all, as we do not know how far whoever was before us came."""
        prefixes = {view.run.id: "", **{step.id: f"{step.name}." for step in view.steps}}
        if not view.shown:
            return contents.points(view.metrics, prefixes)
        values: list[Metric] = []
        for task, first, last in view.news.values:
            values += self._store.metrics.between(task, first, last)
        return contents.points(values, prefixes)

    def _tags(self, view: View) -> dict[str, str]:
        run = view.run
        more: dict[str, object] = {"run": run.label}
        if run.parent is None and run.study is not None:
            study = self._study(run.study)
            more |= {"study": run.study if study is None else study.name, "trial": run.trial}
            more |= {} if study is None else objectives.tags(study.params)
        if run.status.finished:
            more |= {"steps": len(view.steps), "reused": sum(step.reused_from is not None for step in view.steps)}
        tags = contents.tags(run, **more)
        source = self._source_name(run.snapshot) if run.snapshot else None
        tags |= {
            "mlflow.user": _user(),
            "mlflow.source.type": "LOCAL",
            "mlflow.source.name": source or str(run.pipeline),
        }
        enclosing = self._runs.reference(run.parent) if run.parent else None
        return tags | ({PARENT_TAG: enclosing} if enclosing is not None and is_run(enclosing) else {})

    def _study_of(self, study: str) -> Task | None:
        try:
            return self._store.tasks.get(study)
        except TaskNotFound:
            return None

    def _entry_of(self, snapshot: str) -> str | None:
        found = self._store.snapshots.get(snapshot)
        return None if found is None else found.entry

    # -- steps

    def _show_step(self, step: Task, view: View, parent: str, experiment: str) -> None:
        tags = contents.tags(step, run=view.run.label) | {PARENT_TAG: parent, "mlflow.user": _user()}
        values = contents.points(view.metrics_of(step.id), {step.id: ""})
        if self._runs.reference(step.id) == OWN:
            if step.status.finished:
                self._adopt(step, view, tags, values, experiment)
            return
        target, made = self._runs.open(step, experiment, tags, known=self._is_known(view.news))
        if any(task == step.id for task, _ in view.news.withdrawn):
            self._runs.withdraw(target, "")
        self._runs.log(target, values, contents.param_texts(step.params), {} if made else tags)
        if step.status.finished:
            self._end_step(target, step, view)

    def _end_step(self, target: str, step: Task, view: View) -> None:
        self._runs.upload(target, contents.files(step, {step.name: view.outputs_of(step.id)}, {}))
        self._runs.end(target, step)

    def _adopt(self, step: Task, view: View, tags: Mapping[str, str], values: Sequence[Point], experiment: str) -> None:
        """Complete the runs that the step's attempts made themselves, around what the user's code wrote into them."""
        attempts = {str(attempt.number): attempt for attempt in self._store.tasks.attempts(step.id)}
        texts = contents.param_texts(step.params)
        found = self._runs.find(experiment, step.id)
        for run in found:
            attempt = attempts.get(run.tags.get(ATTEMPT_TAG, ""))
            is_last = run is found[-1]
            shown = step if is_last or attempt is None else _as_attempt(step, attempt)
            params = {name: text for name, text in texts.items() if name not in run.params}
            self._runs.log(run.id, values if is_last else [], params, {**tags, "hpo.status": str(shown.status)})
            self._end_step(run.id, shown, view)

    # -- refusals

    def _gives_up(self, view: View, error: Exception) -> bool:
        """Whether to leave a run as it is in MLflow, because however often we try it will not be otherwise."""
        code = getattr(error, "error_code", "")
        ours = isinstance(error, TypeError | ValueError | LookupError | AttributeError)
        if code not in _REFUSALS and not ours:
            return False
        run = view.run
        self._refused[run.id] += 1
        target = self._runs.reference(run.id)
        purged = code == "RESOURCE_DOES_NOT_EXIST"
        # The experiment may have been deleted, and what is purged has to be made again.
        self._runs.forget([task.id for task in view.tasks] if purged else [])
        if not purged and target is not None and is_run(target) and self._runs.is_deleted(target):
            log.info("%s was deleted in MLflow and is left alone", run.label)
            return True
        if self._refused[run.id] < _TRIES:
            return False
        log.error("%s cannot be shown in MLflow and is left as it is there", run.label, exc_info=error)
        return True


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
