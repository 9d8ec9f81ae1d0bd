"""``store.holdings``: who needs which stored outputs, for what measures and empties the place where their bytes are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from sqlalchemy import Connection, bindparam, func, literal_column, select

from hpo_pipelines.store.database import Database
from hpo_pipelines.store.records import cache_outputs
from hpo_pipelines.store.schema import artifacts, cache, leases, outputs, snapshots, tasks
from hpo_pipelines.types import Kind, Status

_is_run = tasks.c.kind == literal_column(f"'{Kind.PIPELINE}'")
_OUTCOMES = select(
    cache.c.key, cache.c.task, cache.c.component, cache.c.outputs, cache.c.seconds, cache.c.created_at, cache.c.hits,
    cache.c.hit_at,
).order_by(cache.c.key)  # fmt: skip
_RUNS = select(tasks.c.id, tasks.c.parent, tasks.c.status, tasks.c.started_at).where(_is_run)
_LEASES = select(leases.c.name).where(leases.c.expires_at > bindparam("now"))
_FILED = (
    select(tasks.c.id, tasks.c.kind, tasks.c.parent, tasks.c.component, tasks.c.finished_at, outputs.c.digest)
    .join(outputs, outputs.c.task == tasks.c.id)
    .join(artifacts, (artifacts.c.digest == outputs.c.digest) & (artifacts.c.value_digest == outputs.c.value_digest))
    .where(artifacts.c.inline.is_(None))
    .order_by(tasks.c.id)
)
_SIZES = select(artifacts.c.digest, func.max(artifacts.c.size)).group_by(artifacts.c.digest)

RUN_LEASE = "run:"
"""What the names of the leases on driving a run begin with; behind it stands the id of the run."""


@dataclass(frozen=True)
class Holding:
    """An outcome, whose ``id`` is its key, or a task with outputs in files, and the byte digests of what it needs.

    ``used_at`` (seconds since the epoch) is when an outcome was made or last reused, and when a task ended. The fields
    behind it are an outcome's: the ``task`` that computed it, in so many ``seconds``, and its ``hits``.
    """

    id: str
    digests: frozenset[str]
    used_at: float
    component: str = ""
    task: str = ""
    seconds: float = 0.0
    hits: int = 0

    @property
    def is_outcome(self) -> bool:
        return bool(self.task)


class Holdings:
    """Reads who needs what. Every method raises StoreError if the database refuses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def outcomes(self) -> list[Holding]:
        """Every recorded outcome, by key."""
        found = []
        for key, task, component, named, seconds, created_at, hits, hit_at in self._database.rows(_OUTCOMES, {}):
            digests = frozenset(digest for digest, _ in cache_outputs(named).values())
            used_at = max(created_at, hit_at or 0.0)
            found.append(Holding(key, digests, used_at, component, task, seconds, hits))
        return found

    def tasks(self) -> tuple[list[Holding], list[Holding]]:
        """The tasks with outputs in files, in two lists: those that are needed, and steps of runs that are over.

        Needed are what runs returned, whatever their status, and the steps of a run that is not over, or that is
        inside one that is not: their outputs are read yet.
        """
        with self._database.read() as connection:
            open_runs = _open(connection)
            filed = connection.execute(_FILED).all()
        needed: list[Holding] = []
        over: list[Holding] = []
        for (task, kind, parent, component, finished_at), rows in groupby(filed, itemgetter(0, 1, 2, 3, 4)):
            holding = Holding(task, frozenset(row.digest for row in rows), finished_at or 0.0, component or "")
            (needed if kind == Kind.PIPELINE or parent in open_runs else over).append(holding)
        return needed, over

    def code(self) -> frozenset[str]:
        """The digests of all recorded code: small, needed by clones and resumed runs, and never given up."""
        rows = self._database.rows(select(snapshots.c.content_digest), {})
        return frozenset(digest for (digest,) in rows)

    def sizes(self) -> dict[str, int]:
        """Stored bytes by byte digest of every recorded artifact, those inside the store too."""
        return {digest: int(size) for digest, size in self._database.rows(_SIZES, {})}

    def under_way_since(self) -> float | None:
        """When the oldest run that somebody drives was started; None when nobody drives any.

        Whoever drives a run holds a lease on it, and on those inside it. One that a killed process has left running is
        not under way: what it had not recorded it writes again when it is resumed.
        """
        with self._database.read() as connection:
            now = self._database.dialect.now(connection)
            driven = {name.removeprefix(RUN_LEASE) for (name,) in connection.execute(_LEASES, {"now": now})}
            runs = connection.execute(_RUNS).all() if driven else []
        around = {run.id: run.parent for run in runs}
        under_way = []
        for run in runs:
            if run.started_at is not None and not Status(run.status).finished and _root(run.id, around) in driven:
                under_way.append(run.started_at)
        return min(under_way, default=None)


def _root(run: str, around: Mapping[str, str | None]) -> str:
    """The outermost run around ``run``."""
    outer = around.get(run)
    return run if outer is None else _root(outer, around)


def _open(connection: Connection) -> set[str]:
    """The runs that are not over, and those inside them."""
    runs = {run: (parent, Status(status)) for run, parent, status, _ in connection.execute(_RUNS)}
    found = set()
    for run in runs:
        around: str | None = run
        while around in runs:
            parent, status = runs[around]
            if not status.finished:
                found.add(run)
                break
            around = parent
    return found
