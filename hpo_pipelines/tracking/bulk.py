"""MLflow runs that are written into its tables (:mod:`.tables`), all of a batch in one transaction.

A run's id is made from its task's, so whoever is cut off at any point and tries again writes the same rows. That the
run is intended is still recorded before, and its id after: whoever goes on may have to do so through MLflow's client.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from blake3 import blake3
from sqlalchemy.exc import SQLAlchemyError

from hpo_pipelines.store import Store
from hpo_pipelines.task import Task
from hpo_pipelines.tracking import contents
from hpo_pipelines.tracking.backend import Backend
from hpo_pipelines.tracking.contents import TASK_TAG, Point
from hpo_pipelines.tracking.runs import INTENT, Found, Runs, is_run
from hpo_pipelines.tracking.schema import new_row
from hpo_pipelines.tracking.tables import Entry, Refused, Standing, Tables


def run_id_for(task: str) -> str:
    """The id of the run that stands for ``task`` where we choose it: 32 hexadecimal digits, as MLflow's are."""
    return blake3(task.encode()).hexdigest(length=16)


class BulkRuns(Runs):
    """:class:`Runs` of a database whose tables are known. Nothing is written before :meth:`settle`."""

    def __init__(
        self, store: Store, backend: Backend, tables: Tables, *, holds: Callable[[], bool] = lambda: True
    ) -> None:
        super().__init__(store, backend, holds=holds)
        self._tables = tables
        self._locations: dict[str, str] = {}
        self._standing: dict[str, Standing] = {}
        self._entries: dict[str, Entry] = {}
        self._settled: dict[str, str] = {}
        self._connected = True

    @classmethod
    def of(cls, store: Store, backend: Backend, *, holds: Callable[[], bool]) -> BulkRuns | None:
        """The runs of ``backend`` if its tables are known, which a database that is not there yet is made for."""
        if backend.is_http:
            return None
        backend.prepare()
        tables = Tables.open(backend.uri)
        return None if tables is None else cls(store, backend, tables, holds=holds)

    def connect(self) -> None:
        """Nothing to do."""

    # -- experiments

    def _find_experiment(self, name: str) -> str | None:
        found = self._tables.experiment(name)
        if found is None:
            return None
        ident, deleted, self._locations[found[0]] = found
        if deleted:
            # Rare, and it concerns the experiment's runs and their traces too.
            self.client.restore_experiment(ident)
        return ident

    def _make_experiment(self, name: str) -> str:
        place = self._backend.place(name)
        self._tables.make_experiment(name, place, contents.milliseconds(time.time()))
        return self._find_experiment(name) or ""

    # -- runs

    def load(self, tasks: Iterable[str]) -> None:
        """Look up what stands for these tasks, and what of it is in MLflow."""
        wanted = list(tasks)
        super().load(wanted)
        known = ((task, self._references.get(task)) for task in wanted)
        ids = [name if name is not None and is_run(name) else run_id_for(task) for task, name in known]
        self._standing = self._tables.standing(ids)

    def open(self, task: Task, experiment: str, tags: Mapping[str, str], *, known: bool = False) -> tuple[str, bool]:
        """The id of the run of ``task``, and whether it is to be made."""
        reference = self.reference(task.id)
        if reference is not None and is_run(reference):
            run = reference
            if run not in self._standing:
                raise Refused(f"The run of {task.label} was purged from MLflow.", "RESOURCE_DOES_NOT_EXIST")
        else:
            run = self._found(task.id, experiment, known=known)
            self._settled[task.id] = self._references[task.id] = run
        standing = self._standing.get(run)
        if standing is None:
            self._entries[run] = self._new(run, task, experiment, tags)
            return run, True
        if standing.deleted:
            raise Refused(f"The run of {task.label} was deleted in MLflow.", "INVALID_STATE")
        self._places[run] = standing.place
        return run, False

    def _found(self, task: str, experiment: str, *, known: bool) -> str:
        """The run that MLflow may have of an intended task under an id of its own, else ours."""
        ours = run_id_for(task)
        if ours in self._standing:
            return ours
        if task not in self._intended:
            found = [run for _, run in self._tables.tagged(experiment, TASK_TAG, task)]
        elif known:
            found = [run for run in [self._index(experiment).get(task)] if run is not None]
        else:
            return ours
        if not found:
            return ours
        self._standing |= self._tables.standing(found[:1])
        return found[0]

    def _new(self, run: str, task: Task, experiment: str, tags: Mapping[str, str]) -> Entry:
        row = new_row(
            run,
            experiment,
            self._locations[experiment],
            name=task.label,
            user_id=tags.get("mlflow.user", "unknown"),
            start_time=contents.milliseconds(task.started_at or task.created_at),
        )
        self._remember(run, row["artifact_uri"])
        return Entry(row, tags={**tags, "mlflow.runName": task.label})

    def _index(self, experiment: str) -> Mapping[str, str]:
        if experiment not in self._known:
            self._known[experiment] = dict(reversed(self._tables.tagged(experiment, TASK_TAG)))
        return self._known[experiment]

    def find(self, experiment: str, task: str) -> list[Found]:
        """The runs tagged as this task's, oldest first, deleted ones included."""
        found = [run for _, run in self._tables.tagged(experiment, TASK_TAG, task)]
        return [Found(run, self._tables.tags(run), self._tables.params(run)) for run in found]

    def set_deleted(self, runs: Sequence[str], *, deleted: bool) -> None:
        """Delete or restore these runs, as a person does in MLflow."""
        self._refuse_without_lease()
        self._tables.set_deleted(runs, contents.milliseconds(time.time()) if deleted else None)

    def is_deleted(self, run: str) -> bool:
        """Whether a person deleted the run in MLflow; what is deleted takes no more writes."""
        return any(standing.deleted for standing in self._tables.standing([run]).values())

    # -- writing

    def log(
        self, run: str, values: Sequence[Point], params: Mapping[str, str], tags: Mapping[str, str] | None = None
    ) -> None:
        """Add metric values and parameters, and set tags."""
        entry = self._entry(run)
        entry.values += values
        entry.params |= params
        entry.tags |= tags or {}

    def withdraw(self, run: str, prefix: str) -> None:
        """Take away the values of metrics whose key begins with ``prefix``, before others are added."""
        self._entry(run).withdrawn.append(prefix)

    def show_status(self, run: str, status: str, end: int | None = None) -> None:
        """Set the status, and the end time if there is one."""
        entry = self._entry(run)
        entry.status, entry.end = status, end

    def _tags_of(self, run: str) -> Mapping[str, str]:
        return self._tables.tags(run)

    def _untag(self, run: str, names: Sequence[str]) -> None:
        self._entry(run).gone += names

    def _place(self, run: str) -> str:
        return self._tables.standing([run])[run].place

    def _entry(self, run: str) -> Entry:
        return self._entries.setdefault(run, Entry())

    def settle(self) -> None:
        """Write all that was to be written, or nothing of it."""
        if not self._entries:
            return
        self._refuse_without_lease()
        try:
            self._tables.write(self._entries)
        except SQLAlchemyError:
            # It may have been migrated, so it is looked at again first.
            self._connected = False
            raise
        self._store.followers.set_mirrored_all(self._follower, self._settled)
        self._intended.difference_update(self._settled)
        made = sum(entry.row is not None for entry in self._entries.values())
        self._entries, self._settled = {}, {}
        self._count(made)

    def drop(self) -> None:
        """Forget what was to be written."""
        for task in self._settled:
            self._references[task] = INTENT
        self._entries, self._settled = {}, {}
