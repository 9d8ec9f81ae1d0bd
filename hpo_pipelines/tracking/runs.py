"""MLflow runs that stand for tasks: each is made once, and each write may be repeated without harm.

MLflow's client makes up the ids of runs and has no transactions, so before a run is made the intent is recorded in the
store, and after it the id. Where an intent is found without an id, we were killed or cut off in between, and the run is
looked for by its tag. Values of metrics are their own identity, parameters may be given twice, and the status comes
last. In databases that it knows :class:`hpo_pipelines.tracking.bulk.BulkRuns` does the same in far less time.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hpo_pipelines.errors import TrackingError
from hpo_pipelines.settings import Settings
from hpo_pipelines.store import Store
from hpo_pipelines.task import Task
from hpo_pipelines.tracking import contents
from hpo_pipelines.tracking.backend import Backend
from hpo_pipelines.tracking.base import one_line
from hpo_pipelines.tracking.contents import LABELS_TAG, TASK_TAG, Point
from hpo_pipelines.tracking.files import Files

log = logging.getLogger(__name__)

INTENT = "?"
"""In the place of a run's id: we were about to make it."""
OWN = "own"
"""In the place of a run's id: the step makes it itself when it starts, see :mod:`hpo_pipelines.tracking.steps`."""
SINCE = "*"
"""In the place of a task: the last event there was when this backend was first followed into."""


def is_run(reference: str) -> bool:
    """Whether a reference is the id of a run."""
    return reference not in (INTENT, OWN)


def run_id_of(store: Store, settings: Settings, task: str) -> str | None:
    """The id of the MLflow run that shows ``task``, None as long as there is none.

    Also None for a step that makes its run itself, which is found by its tag. Raises ConfigError when tracking is off.
    """
    reference = store.followers.mirrored(Backend.of(settings).follower, task)
    return reference if reference is not None and is_run(reference) else None


_PARAMS_AT_ONCE, _VALUES_AT_ONCE = 100, 1000
_ANALYZED_AFTER = (25, 500)
_REMEMBERED = 10_000
_UPLOAD_TRIES = 3


@dataclass(frozen=True)
class Found:
    """A run that was made elsewhere, with what it has."""

    id: str
    tags: Mapping[str, str]
    params: Mapping[str, str]


class Runs:
    """The runs in one backend, through MLflow's client. ``holds`` says whether we may still make new ones.

    What is written may wait for :meth:`settle`, or be given up with :meth:`drop`; here it does not wait.
    """

    def __init__(self, store: Store, backend: Backend, *, holds: Callable[[], bool] = lambda: True) -> None:
        self._store = store
        self._backend = backend
        self._follower = backend.follower
        self._holds = holds
        self._references: dict[str, str | None] = {}
        self._intended: set[str] = set()
        self._experiments: dict[str, str] = {}
        self._known: dict[str, dict[str, str]] = {}
        self._places: dict[str, str] = {}
        self._files = Files()
        self._made = 0
        self._failed_uploads = 0
        self._connected = False

    @property
    def connected(self) -> bool:
        """Whether MLflow has answered, as the MLflow that is known here."""
        return self._connected

    def connect(self) -> None:
        """Import MLflow, make its database if need be, see that it answers: seconds the first time, then nothing.

        Raises what MLflow raises if it cannot be reached, or if something else answers in its place.
        """
        self.client.search_experiments(max_results=1)
        self._connected = True

    @cached_property
    def client(self) -> Any:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        # Trying again is the follower's business, which then looks first what became of the last try.
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        self._backend.prepare()
        from mlflow import MlflowClient

        return MlflowClient(self._backend.uri)

    # -- experiments

    def experiment(self, name: str) -> str:
        """The id of the experiment ``name``, made if there is none, restored if it was deleted."""
        if name not in self._experiments:
            self._experiments[name] = self._find_experiment(name) or self._make_experiment(name)
        return self._experiments[name]

    def _find_experiment(self, name: str) -> str | None:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            return None
        if found.lifecycle_stage == "deleted":
            # Its name stays taken, and new runs have to go somewhere.
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _make_experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        # Without a server MLflow would choose a folder below the current one.
        place = None if self._backend.is_http else self._backend.place(name)
        try:
            return str(self.client.create_experiment(name, artifact_location=place))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        # A step that uses MLflow itself was quicker.
        return self._find_experiment(name) or ""

    # -- making runs

    def load(self, tasks: Iterable[str]) -> None:
        """Look up what stands for these tasks, all at once, so that :meth:`reference` has it at hand."""
        wanted = list(tasks)
        self._references = dict.fromkeys(wanted) | self._store.followers.mirrored_all(self._follower, wanted)

    def reference(self, task: str) -> str | None:
        """The id of the task's run, INTENT, OWN, or None for a task that nothing was made of."""
        if task not in self._references:
            return self._store.followers.mirrored(self._follower, task)
        return self._references[task]

    def references(self, tasks: Sequence[str]) -> Mapping[str, str]:
        """What stands for each of these tasks now; those that nothing was made of are left out."""
        return self._store.followers.mirrored_all(self._follower, tasks)

    def intend(self, tasks: Iterable[str]) -> None:
        """Record that runs are about to be made for those of these tasks that have none."""
        wanted = list(tasks)
        with self._store.transaction():
            # Looked up again: a step that uses MLflow may have been started since.
            known = self._store.followers.mirrored_all(self._follower, wanted)
            new = {task: INTENT for task in wanted if task not in known}
            self._store.followers.set_mirrored_all(self._follower, new)
        self._references |= {**known, **new}
        self._intended |= set(new)

    def record(self, task: str, reference: str) -> None:
        """Save what stands for the task."""
        self._store.followers.set_mirrored(self._follower, task, reference)
        self._references[task] = reference

    def forget(self, tasks: Iterable[str]) -> None:
        """The runs of these tasks, or the experiment, may no longer be there: look for them, and make them again."""
        self._experiments.clear()
        for task in tasks:
            if is_run(self.reference(task) or INTENT):
                self.record(task, INTENT)

    def open(self, task: Task, experiment: str, tags: Mapping[str, str], *, known: bool = False) -> tuple[str, bool]:
        """The id of the run of ``task``, which was intended, and whether it was made just now.

        ``known`` says that the backend may have had one before it was followed into.
        """
        reference = self.reference(task.id)
        if reference is not None and is_run(reference):
            return reference, False
        found = None
        if task.id not in self._intended:  # we, or whoever was before us, may have been cut off while making it
            found = next((run.id for run in self.find(experiment, task.id)), None)
        elif known:
            found = self._index(experiment).get(task.id)
        self._intended.discard(task.id)
        run = found or self._make(task, experiment, tags)
        self.record(task.id, run)
        return run, True

    def _make(self, task: Task, experiment: str, tags: Mapping[str, str]) -> str:
        self._refuse_without_lease()
        start = contents.milliseconds(task.started_at or task.created_at)
        run = self.client.create_run(experiment, start_time=start, tags=dict(tags), run_name=task.label)
        self._remember(run.info.run_id, run.info.artifact_uri)
        self._count(1)
        return str(run.info.run_id)

    def _refuse_without_lease(self) -> None:
        if not self._holds():
            raise TrackingError(f"{self._follower}: the lease ran out; whoever has it now goes on.")

    def _remember(self, run: str, place: str) -> None:
        if len(self._places) > _REMEMBERED:
            self._places.clear()
        self._places[run] = place

    def _count(self, made: int) -> None:
        before, self._made = self._made, self._made + made
        first, every = _ANALYZED_AFTER
        if before < first <= self._made or before // every != self._made // every:
            try:
                self._backend.analyze()
            except sqlite3.Error as error:
                log.warning("MLflow's database was given no statistics, so its pages may be slow: %s", error)

    def find(self, experiment: str, task: str) -> list[Found]:
        """The runs tagged as this task's, oldest first, deleted ones included."""
        runs = self._search(experiment, f"tags.`{TASK_TAG}` = '{task}'")
        return [Found(str(run.info.run_id), run.data.tags, run.data.params) for run in runs]

    def _index(self, experiment: str) -> Mapping[str, str]:
        """Task → run of all the runs there were when this was first asked."""
        if experiment not in self._known:
            runs = self._search(experiment, f"tags.`{TASK_TAG}` LIKE '%'")
            self._known[experiment] = {run.data.tags[TASK_TAG]: run.info.run_id for run in reversed(runs)}
        return self._known[experiment]

    def _search(self, experiment: str, condition: str) -> list[Any]:
        from mlflow.entities import ViewType

        runs: list[Any] = []
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [experiment],
                condition,
                run_view_type=ViewType.ALL,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            runs += page
            token = page.token
            if not token:
                return runs

    # -- writing

    def log(
        self, run: str, values: Sequence[Point], params: Mapping[str, str], tags: Mapping[str, str] | None = None
    ) -> None:
        """Add metric values and parameters, and set tags."""
        from mlflow.entities import Metric, Param, RunTag

        texts = [Param(name, value) for name, value in params.items()]
        metrics = [Metric(point.key, point.value, point.timestamp, point.step) for point in values]
        marks = [RunTag(name, value) for name, value in (tags or {}).items()]
        while texts or metrics or marks:
            room = _VALUES_AT_ONCE - min(len(texts), _PARAMS_AT_ONCE) - min(len(marks), _PARAMS_AT_ONCE)
            self.client.log_batch(run, metrics[:room], texts[:_PARAMS_AT_ONCE], marks[:_PARAMS_AT_ONCE])
            metrics, texts, marks = metrics[room:], texts[_PARAMS_AT_ONCE:], marks[_PARAMS_AT_ONCE:]

    def withdraw(self, run: str, prefix: str) -> None:
        """Take away the values of metrics whose key begins with ``prefix``. MLflow's API cannot: here they stay."""

    def retag(self, run: str, wanted: Mapping[str, str]) -> None:
        """Set the tags ``wanted`` and take away those of ours that are not among them."""
        found = self._tags_of(run)
        ours = {name for name in found if name.startswith("hpo.") or name == "mlflow.note.content"}
        ours |= set(contents.labels_in(found.get(LABELS_TAG)))
        self._untag(run, sorted((ours & set(found)) - set(wanted)))
        self.log(run, (), {}, {name: value for name, value in wanted.items() if found.get(name) != value})

    def _tags_of(self, run: str) -> Mapping[str, str]:
        found: Mapping[str, str] = self.client.get_run(run).data.tags
        return found

    def _untag(self, run: str, names: Sequence[str]) -> None:
        for name in names:
            self.client.delete_tag(run, name)

    def upload(self, run: str, files: Mapping[str, str]) -> None:
        """Store ``files``, path → text, as the run's artifacts.

        Where that fails again and again (a bucket that only the server may write) the rest goes on without. Raises
        TrackingError the first times.
        """
        if self._failed_uploads >= _UPLOAD_TRIES:
            return
        try:
            self._upload(run, files)
        except Exception as error:
            self._failed_uploads += 1
            text = f"MLflow's artifacts cannot be written: {one_line(error)}."
            if self._failed_uploads < _UPLOAD_TRIES:
                raise TrackingError(text) from error
            log.error("%s From here on runs are shown without theirs.", text, exc_info=error)
        else:
            self._failed_uploads = 0

    def _upload(self, run: str, files: Mapping[str, str]) -> None:
        place = self._places.get(run) or self._place(run)
        if place.startswith("/"):
            # MLflow would write there too, after it has read the whole run once more to find out where.
            self._files.write(place, files)
            return
        with tempfile.TemporaryDirectory(prefix="hpo-mlflow-") as folder:
            Files().write(folder, files)
            self.client.log_artifacts(run, folder)

    def _place(self, run: str) -> str:
        return str(self.client.get_run(run).info.artifact_uri)

    def show_status(self, run: str, status: str, end: int | None = None) -> None:
        """Set the status; of a run that has ended with the time, in milliseconds since the epoch."""
        if end is None:
            self.client.update_run(run, status=status)
        else:
            self.client.set_terminated(run, status, end)

    def end(self, run: str, task: Task) -> None:
        """Set the final status and the end time."""
        at = contents.milliseconds(task.finished_at or task.created_at)
        self.show_status(run, contents.mlflow_status(task.status), at)

    def settle(self) -> None:
        """See that all that was to be written is; raises what MLflow raises."""

    def drop(self) -> None:
        """Forget what was to be written and is not."""

    def set_deleted(self, runs: Sequence[str], *, deleted: bool) -> None:
        """Delete or restore these runs, as a person does in MLflow; those that were purged are left out."""
        from mlflow.exceptions import MlflowException

        for run in runs:
            try:
                if self.is_deleted(run) != deleted:
                    (self.client.delete_run if deleted else self.client.restore_run)(run)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise

    def is_deleted(self, run: str) -> bool:
        """Whether a person deleted the run in MLflow; what is deleted takes no more writes."""
        return bool(self.client.get_run(run).info.lifecycle_stage == "deleted")
