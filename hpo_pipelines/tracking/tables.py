"""One MLflow database, read and written through its own tables.

Through its client a run costs MLflow some 20 ms of CPU in ten transactions, here one among many costs less than one,
and a batch is there whole or not at all. What is known of the tables stands in :mod:`hpo_pipelines.tracking.schema`.
"""

from __future__ import annotations

import logging
import posixpath
import re
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Table,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from hpo_pipelines.errors import TrackingError
from hpo_pipelines.tracking import schema
from hpo_pipelines.tracking.contents import KEY_LIMIT, PARAM_LIMIT, TAG_LIMIT, Point
from hpo_pipelines.tracking.schema import experiments, latest_metrics, metrics, params, runs, tags

log = logging.getLogger(__name__)

_NAME_LIMIT = 500
_KEY = re.compile(r"[/\w.\- :]+")


class Refused(TrackingError):
    """What MLflow would refuse; ``error_code`` is the code that it would give."""

    def __init__(self, message: str, error_code: str) -> None:
        super().__init__(message)
        self.error_code = error_code


@dataclass(frozen=True)
class Standing:
    """A run that is in MLflow: where its artifacts are, and whether a person deleted it."""

    place: str
    deleted: bool


@dataclass
class Entry:
    """What is to be written of one run; ``row`` only for one that is new, ``gone`` are tags to take away.

    ``withdrawn`` are the beginnings of the keys of metrics whose values are taken away first.
    """

    row: dict[str, Any] | None = None
    values: list[Point] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    status: str | None = None
    end: int | None = None


# -- statements


@lru_cache
def _insert(dialect: str, table: Table) -> postgresql.Insert:
    if dialect == "postgresql":
        return postgresql.insert(table)
    # Both classes offer the same on_conflict_do_nothing and on_conflict_do_update.
    return sqlite.insert(table)  # type: ignore[return-value]


@lru_cache
def _insert_new(dialect: str, table: Table) -> postgresql.Insert:
    return _insert(dialect, table).on_conflict_do_nothing()


@lru_cache
def _put(dialect: str, table: Table, *changing: str) -> postgresql.Insert:
    """Insert rows, or change these columns of those that are there."""
    statement = _insert(dialect, table)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns), set_={name: statement.excluded[name] for name in changing}
    )


@lru_cache
def _put_latest(dialect: str) -> postgresql.Insert:
    """Of a metric's values the latest is that with the greatest step, then time, then value."""
    statement = _insert(dialect, latest_metrics)
    new, old = statement.excluded, latest_metrics.c
    return statement.on_conflict_do_update(
        index_elements=[old.key, old.run_uuid],
        set_={name: new[name] for name in ("value", "timestamp", "step", "is_nan")},
        where=tuple_(new.step, new.timestamp, new.value) > tuple_(old.step, old.timestamp, old.value),
    )


_MOVE = (
    update(runs)
    .where(runs.c.run_uuid == bindparam("run"))
    .values(status=bindparam("to"), end_time=func.coalesce(bindparam("end", type_=BigInteger), runs.c.end_time))
)
_UNTAG = delete(tags).where(tags.c.run_uuid == bindparam("run"), tags.c.key == bindparam("name"))
_WITHDRAW, _WITHDRAW_LATEST = (
    delete(table).where(
        table.c.run_uuid == bindparam("run"), func.substr(table.c.key, 1, bindparam("length")) == bindparam("prefix")
    )
    for table in (metrics, latest_metrics)
)
_STANDING = select(runs.c.run_uuid, runs.c.artifact_uri, runs.c.lifecycle_stage).where(
    runs.c.run_uuid.in_(bindparam("ids", expanding=True))
)
_HIDE = (
    update(runs)
    .where(runs.c.run_uuid == bindparam("run"), runs.c.lifecycle_stage == bindparam("was"))
    .values(lifecycle_stage=bindparam("stage"), deleted_time=bindparam("at", type_=BigInteger))
)
_ACTIVE = select(experiments.c.experiment_id).where(
    experiments.c.experiment_id.in_(bindparam("ids", expanding=True)), experiments.c.lifecycle_stage == "active"
)
_EXPERIMENT = select(experiments.c.experiment_id, experiments.c.lifecycle_stage, experiments.c.artifact_location).where(
    experiments.c.name == bindparam("called"), experiments.c.workspace == "default"
)
_TAGGED = (
    select(tags.c.value, runs.c.run_uuid)
    .join(runs, runs.c.run_uuid == tags.c.run_uuid)
    .where(tags.c.key == bindparam("name"), runs.c.experiment_id == bindparam("inside"))
    .order_by(runs.c.start_time, runs.c.run_uuid)
)
_ONE_TAGGED = _TAGGED.where(tags.c.value == bindparam("holding"))
_PAIRS = {
    table: select(table.c.key, table.c.value).where(table.c.run_uuid == bindparam("run")) for table in (tags, params)
}


# -- the database


class Tables:
    """The tables of one MLflow database. Methods raise Refused for what MLflow would refuse, SQLAlchemyError else."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._dialect = engine.dialect.name
        weakref.finalize(self, engine.dispose)

    @classmethod
    def open(cls, uri: str) -> Tables | None:
        """The tables in the database at ``uri``, None if it is not one that is known here."""
        unknown = schema.unknown_release()
        if unknown is None:
            try:
                engine = _engine(uri)
                unknown = schema.unknown_tables(engine)
            except (SQLAlchemyError, ImportError) as error:
                unknown = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        if unknown is not None:
            log.debug("runs go through MLflow's client, one by one: %s", unknown)
            return None
        log.debug("runs are written into MLflow's tables, many at once")
        return cls(engine)

    # reading

    def standing(self, ids: Collection[str]) -> dict[str, Standing]:
        """Those of these runs that are there."""
        with self._engine.connect() as connection:
            rows = connection.execute(_STANDING, {"ids": list(ids)})
            return {run: Standing(place or "", stage != "active") for run, place, stage in rows}

    def experiment(self, name: str) -> tuple[str, bool, str] | None:
        """Id, whether it was deleted, and place of the artifacts of the experiment called so."""
        with self._engine.connect() as connection:
            for ident, stage, location in connection.execute(_EXPERIMENT, {"called": name}):
                return str(ident), stage != "active", location or ""
        return None

    def tagged(self, experiment: str, name: str, value: str | None = None) -> list[tuple[str, str]]:
        """(the tag's value, run) of the runs that have the tag ``name``, and ``value`` if given; oldest first."""
        of = {"name": name, "inside": int(experiment)}
        with self._engine.connect() as connection:
            found = (
                connection.execute(_TAGGED, of)
                if value is None
                else connection.execute(_ONE_TAGGED, {**of, "holding": value})
            )
            return [(held, run) for held, run in found]

    def tags(self, run: str) -> dict[str, str]:
        return self._pairs(tags, run)

    def params(self, run: str) -> dict[str, str]:
        return self._pairs(params, run)

    def _pairs(self, table: Table, run: str) -> dict[str, str]:
        with self._engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(_PAIRS[table], {"run": run})}

    # writing

    def make_experiment(self, name: str, location: str, now: int) -> None:
        """Make an experiment, unless there is one of this name; ``now`` in milliseconds."""
        row = schema.experiment_row(name, location, now)
        _short(name, _NAME_LIMIT)
        with self._transaction() as connection:
            connection.execute(_insert_new(self._dialect, experiments), [row])

    def set_deleted(self, ids: Sequence[str], at: int | None) -> None:
        """Delete these runs as MLflow's client does, at the time ``at`` in milliseconds; None: restore them."""
        was, stage = ("deleted", "active") if at is None else ("active", "deleted")
        if ids:
            with self._transaction() as connection:
                connection.execute(_HIDE, [{"run": run, "was": was, "stage": stage, "at": at} for run in ids])

    def write(self, entries: Mapping[str, Entry]) -> None:
        """Write all, by run, or nothing. What is there already stays once, so it may be repeated."""
        rows = _Rows(entries)
        with self._transaction() as connection:
            _refuse_deleted(connection, {row["experiment_id"] for row in rows.runs})
            for statement, values in rows.statements(self._dialect):
                if values:
                    connection.execute(statement, values)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            # Not deferred: what was looked up inside then still holds when it is written.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if self._dialect == "sqlite" else "BEGIN")
            try:
                yield connection
                connection.exec_driver_sql("COMMIT")
            except IntegrityError as error:
                _roll_back(connection)
                # A row's run or experiment is not there.
                raise Refused(f"MLflow's database refused: {error.orig}.", "RESOURCE_DOES_NOT_EXIST") from error
            except (OperationalError, ProgrammingError):
                _roll_back(connection)
                raise
            except DBAPIError as error:
                _roll_back(connection)
                raise Refused(f"MLflow's database refused: {error.orig}.", "BAD_REQUEST") from error
            except BaseException:
                _roll_back(connection)
                raise


def _roll_back(connection: Connection) -> None:
    try:
        connection.exec_driver_sql("ROLLBACK")
    except DBAPIError:
        # Some errors, a full disk for one, have ended it already.
        connection.invalidate()


def _refuse_deleted(connection: Connection, used: Collection[int]) -> None:
    active = {row[0] for row in connection.execute(_ACTIVE, {"ids": list(used)})} if used else set()
    if active != set(used):
        raise Refused(
            "The experiment was deleted in MLflow; runs are made in an active one.", "INVALID_PARAMETER_VALUE"
        )


class _Rows:
    """The rows of each table."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.runs: list[dict[str, Any]] = []
        self._moves: list[dict[str, Any]] = []
        self._gone: list[dict[str, Any]] = []
        self._withdrawn: list[dict[str, Any]] = []
        self._pairs: dict[Table, list[dict[str, Any]]] = {tags: [], params: []}
        self._metrics: list[dict[str, Any]] = []
        self._latest: list[dict[str, Any]] = []
        for run, entry in entries.items():
            self._add(run, entry)

    def _add(self, run: str, entry: Entry) -> None:
        if entry.row is not None:
            self.runs.append({**entry.row, "status": entry.status or entry.row["status"], "end_time": entry.end})
        elif entry.status is not None:
            self._moves.append({"run": run, "to": entry.status, "end": entry.end})
        self._gone += [{"run": run, "name": name} for name in entry.gone]
        self._withdrawn += [{"run": run, "prefix": each, "length": len(each)} for each in entry.withdrawn]
        for table, pairs, limit in ((tags, entry.tags, TAG_LIMIT), (params, entry.params, PARAM_LIMIT)):
            rows = [
                {"key": _key(name), "value": _short(value, limit), "run_uuid": run} for name, value in pairs.items()
            ]
            self._pairs[table] += rows
        latest: dict[str, dict[str, Any]] = {}
        for point in entry.values:
            row = schema.metric_row(run, _checked(point))
            self._metrics.append(row)
            best = latest.setdefault(point.key, row)
            if schema.order(row) > schema.order(best):
                latest[point.key] = row
        self._latest += latest.values()

    def statements(self, dialect: str) -> Iterable[tuple[Any, Sequence[Mapping[str, Any]]]]:
        """What to execute, with its rows, in an order that foreign keys allow."""
        return (
            (_put(dialect, runs, "status", "end_time"), self.runs),
            (_UNTAG, self._gone),
            (_put(dialect, tags, "value"), self._pairs[tags]),
            # A parameter is never changed.
            (_insert_new(dialect, params), self._pairs[params]),
            (_WITHDRAW, self._withdrawn),
            (_WITHDRAW_LATEST, self._withdrawn),
            (_insert_new(dialect, metrics), self._metrics),
            (_put_latest(dialect), self._latest),
            (_MOVE, self._moves),
        )


@lru_cache(maxsize=4096)
def _key(name: str) -> str:
    """``name``, if MLflow takes it for a parameter, metric or tag (:func:`contents.key` makes it so)."""
    path = posixpath.normpath(name)
    if not _KEY.fullmatch(name) or len(name) > KEY_LIMIT or path != name or path.startswith(("..", "/")) or path == ".":
        raise Refused(f"MLflow takes no parameter, metric or tag called {name!r}.", "INVALID_PARAMETER_VALUE")
    return name


def _short(value: str, limit: int) -> str:
    if len(value) > limit:
        raise Refused(f"MLflow takes {limit} characters here, not {len(value)}.", "INVALID_PARAMETER_VALUE")
    return value


def _checked(point: Point) -> Point:
    _key(point.key)
    if point.timestamp < 0:
        raise Refused(
            f"The metric {point.key!r} has a time before 1970, which MLflow refuses.", "INVALID_PARAMETER_VALUE"
        )
    return point


def _engine(uri: str) -> Engine:
    dialect = uri.partition(":")[0].partition("+")[0]
    if dialect == "sqlite":
        # Its connections stay open: the last to be closed moves the log into the file, which takes longer than a batch.
        engine = create_engine(uri, isolation_level="AUTOCOMMIT", connect_args={"timeout": 20.0})
        event.listen(engine, "connect", _set_up)
        return engine
    return create_engine(uri, isolation_level="AUTOCOMMIT", pool_pre_ping=True)


def _set_up(connection: Any, _record: object) -> None:
    # As MLflow does: nothing is written for a run or an experiment that is not there.
    connection.execute("PRAGMA foreign_keys=ON")
