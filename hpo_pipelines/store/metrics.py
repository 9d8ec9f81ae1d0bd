"""``store.metrics``: the series of values that steps and runs report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import bindparam, delete, func, select

from hpo_pipelines.store.database import Database
from hpo_pipelines.store.records import metric_of, metric_row, metric_value
from hpo_pipelines.store.schema import metrics
from hpo_pipelines.store.within import within
from hpo_pipelines.task import Metric, Task

_any_of = within(metrics.c.task, "tasks")
_OF = select(metrics).where(_any_of).order_by(metrics.c.id)
_BETWEEN = (
    select(metrics)
    .where(
        metrics.c.id.between(bindparam("first"), bindparam("last")),
        metrics.c.task == bindparam("of"),
    )
    .order_by(metrics.c.id)
)
_newest = select(func.max(metrics.c.id)).where(_any_of).group_by(metrics.c.task, metrics.c.name)
_LATEST = (
    select(metrics.c.task, metrics.c.name, metrics.c.value).where(metrics.c.id.in_(_newest)).order_by(metrics.c.id)
)

_WITHDRAW = delete(metrics).where(metrics.c.task == bindparam("of"))
_WITHDRAW_ONE = _WITHDRAW.where(metrics.c.name == bindparam("name"), metrics.c.step == bindparam("step"))


class Metrics:
    """The reported values of a store. Every method raises StoreError if the database refuses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, reported: Iterable[Metric]) -> None:
        """Append values, in their order.

        For each task one event ``metrics`` holds the ids of its first and last row, ``{"first", "last"}``, for
        :meth:`between`. They are written when the transaction ends; an unknown task is refused then.
        """
        rows: dict[str, list[dict[str, object]]] = {}
        for metric in reported:
            rows.setdefault(metric.task, []).append(metric_row(metric))
        with self._database.transaction() as transaction:
            for task, values in rows.items():
                transaction.metrics(task, values)

    def withdraw(self, task_ids: Sequence[str], *, name: str | None = None, step: int | None = None) -> None:
        """Take back what these tasks have reported, for they report anew; with ``name`` only its value at ``step``.

        For each task that had any, one event ``withdrawn`` says ``{"name", "values"}`` (how many), so that who has
        shown them shows them no more.
        """
        with self._database.transaction() as transaction:
            transaction.flush()
            for task in task_ids:
                one = {} if name is None else {"name": name, "step": step}
                gone = transaction.count(_WITHDRAW if name is None else _WITHDRAW_ONE, {"of": task, **one})
                if gone:
                    transaction.event(task, "withdrawn", {"name": name, "values": gone})

    def of(self, task_ids: Sequence[str]) -> list[Metric]:
        """Every value of these tasks, in the order in which they were recorded."""
        return [metric_of(row) for row in self._database.rows(_OF, {"tasks": task_ids}, ordered=True)]

    def between(self, task_id: str, first: int, last: int) -> list[Metric]:
        """The values of a task that one event ``metrics`` tells of, by its ``first`` and ``last``."""
        rows = self._database.rows(_BETWEEN, {"of": task_id, "first": first, "last": last}, ordered=True)
        return [metric_of(row) for row in rows]

    def latest(self, task_ids: Sequence[str]) -> dict[tuple[str, str], float]:
        """The value recorded last of each task and name."""
        rows = self._database.rows(_LATEST, {"tasks": task_ids}, ordered=True)
        return {(task, name): metric_value(value) for task, name, value in rows}

    def named(self, run_id: str, steps: Sequence[Task]) -> dict[str, float]:
        """The last values of a run with these ``steps``, by name; see :func:`named_values`."""
        return named_values(run_id, steps, self.latest([run_id, *(task.id for task in steps)]))


def named_values(run_id: str, steps: Sequence[Task], latest: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """The ``latest`` values (:meth:`Metrics.latest`) of a run with these ``steps``, by name.

    ``fit.val_auc`` of the last call of ``fit``, ``fit.2.val_auc`` of that call, the run's own by their own names.
    """
    found = {name: value for (task, name), value in latest.items() if task == run_id}
    tasks = {task.id: task for task in steps if task.component is not None}
    reported = [(tasks[task], name, value) for (task, name), value in latest.items() if task in tasks]
    ordered = sorted(reported, key=lambda report: report[0].position or 0)
    found |= {f"{task.name}.{name}": value for task, name, value in ordered}
    return found | {f"{task.component}.{name}": value for task, name, value in ordered}
