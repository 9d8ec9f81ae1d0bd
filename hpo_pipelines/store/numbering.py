"""The counters of each pipeline: the last number that a run got, and how many of its runs there are.

Counting 100,000 runs takes longer than all else that a page of a list shows. Whoever records, archives or deletes runs
keeps their counts, in the same transaction; those inside other runs are not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache

from sqlalchemy import Integer, bindparam, update
from sqlalchemy.sql.dml import ReturningInsert

from hpo_pipelines.store.database import Transaction
from hpo_pipelines.store.schema import insert_or, run_numbers
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind

_ADD = (
    update(run_numbers)
    .where(run_numbers.c.project == bindparam("of_project"), run_numbers.c.pipeline == bindparam("of_pipeline"))
    .values(
        runs=run_numbers.c.runs + bindparam("more_runs", type_=Integer),
        archived=run_numbers.c.archived + bindparam("more_archived", type_=Integer),
    )
)


@cache
def _next(dialect: str) -> ReturningInsert[int]:
    statement = insert_or(dialect, run_numbers).values(last=1)
    return statement.on_conflict_do_update(
        index_elements=["project", "pipeline"],
        set_={
            "last": run_numbers.c.last + 1,
            "runs": run_numbers.c.runs + statement.excluded.runs,
            "archived": run_numbers.c.archived + statement.excluded.archived,
        },
    ).returning(run_numbers.c.last)


def next_number(transaction: Transaction, run: Task) -> int:
    """The number of the new ``run``, which is counted from here on."""
    values = {"project": run.project, "pipeline": run.pipeline, "runs": 0, "archived": 0}
    if run.parent is None:
        values["runs" if run.archived_at is None else "archived"] = 1
    ((number,),) = transaction.rows(_next(transaction.connection.dialect.name), values)
    return int(number)


def uncount(transaction: Transaction, runs: Iterable[Task]) -> None:
    """Count the ``runs`` no more: they are deleted."""
    _add(transaction, runs, listed=(-1, 0), archived=(0, -1))


def recount(transaction: Transaction, runs: Iterable[Task]) -> None:
    """Count as archived those of ``runs``, as they were, that were not, and the others as not archived."""
    _add(transaction, runs, listed=(-1, 1), archived=(1, -1))


def _add(transaction: Transaction, runs: Iterable[Task], *, listed: tuple[int, int], archived: tuple[int, int]) -> None:
    more: dict[tuple[str, str], Counter[str]] = {}
    for run in runs:
        if run.kind is Kind.PIPELINE and run.parent is None:
            sums = more.setdefault((run.project, str(run.pipeline)), Counter())
            change = listed if run.archived_at is None else archived
            sums["runs"] += change[0]
            sums["archived"] += change[1]
    # In one order, so that two who do this at once wait for each other, and not in a circle.
    for (project, pipeline), sums in sorted(more.items()):
        values = {"of_project": project, "of_pipeline": pipeline}
        transaction.count(_ADD, {**values, "more_runs": sums["runs"], "more_archived": sums["archived"]})
