"""What MLflow does not promise, in one place: its tables, the rows it makes, and how to tell that both still hold.

Nothing here imports MLflow, which takes seconds. See docs/decisions/0005.
"""

from __future__ import annotations

import math
import os
import posixpath
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    inspect,
    text,
)
from sqlalchemy.schema import SchemaItem

from hpo_pipelines.tracking.contents import Point

RELEASES = ("3.17",)
"""The releases of MLflow whose rows were compared with ours (tests/tracking/test_parity.py)."""
HEADS = ("dc11669786a5",)
"""The schema revisions that those releases make."""

_DIALECTS = ("sqlite", "postgresql")
_LARGEST = 1.7976931348623157e308

_tables = MetaData()


def _table(name: str, *items: SchemaItem) -> Table:
    return Table(name, _tables, *items)


experiments = _table(
    "experiments",
    Column("experiment_id", Integer, primary_key=True),
    Column("name", String),
    Column("artifact_location", String),
    Column("lifecycle_stage", String),
    Column("creation_time", BigInteger),
    Column("last_update_time", BigInteger),
    Column("workspace", String),
    UniqueConstraint("workspace", "name"),
)
runs = _table(
    "runs",
    Column("run_uuid", String, primary_key=True),
    Column("name", String),
    Column("source_type", String),
    Column("source_name", String),
    Column("entry_point_name", String),
    Column("user_id", String),
    Column("status", String),
    Column("start_time", BigInteger),
    Column("end_time", BigInteger),
    Column("source_version", String),
    Column("lifecycle_stage", String),
    Column("artifact_uri", String),
    Column("experiment_id", Integer),
    Column("deleted_time", BigInteger),
)
params = _table(
    "params",
    Column("key", String, primary_key=True),
    Column("value", String),
    Column("run_uuid", String, primary_key=True),
)
tags = _table(
    "tags",
    Column("key", String, primary_key=True),
    Column("value", String),
    Column("run_uuid", String, primary_key=True),
)
metrics = _table(
    "metrics",
    Column("key", String, primary_key=True),
    Column("value", Float(53), primary_key=True),
    Column("timestamp", BigInteger, primary_key=True),
    Column("run_uuid", String, primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("is_nan", Boolean, primary_key=True),
)
latest_metrics = _table(
    "latest_metrics",
    Column("key", String, primary_key=True),
    Column("value", Float(53)),
    Column("timestamp", BigInteger),
    Column("step", BigInteger),
    Column("is_nan", Boolean),
    Column("run_uuid", String, primary_key=True),
)


# -- rows


def experiment_row(name: str, location: str, now: int) -> dict[str, Any]:
    """The row of a new experiment whose artifacts are at ``location``; ``now`` in milliseconds."""
    return {
        "name": name,
        "artifact_location": location,
        "lifecycle_stage": "active",
        "creation_time": now,
        "last_update_time": now,
        "workspace": "default",
    }


def new_row(run: str, experiment: str, location: str, **known: Any) -> dict[str, Any]:
    """The row of a new run in the experiment whose artifacts are at ``location``, as MLflow makes it."""
    return {
        "run_uuid": run,
        "source_type": "UNKNOWN",
        "source_name": "",
        "entry_point_name": "",
        "status": "RUNNING",
        "end_time": None,
        "source_version": "",
        "lifecycle_stage": "active",
        "artifact_uri": _below(location, run),
        "experiment_id": int(experiment),
        "deleted_time": None,
        **known,
    }


def _below(location: str, run: str) -> str:
    if location.startswith("/"):
        return posixpath.join(location, run, "artifacts")
    # An experiment that somebody made elsewhere, in a bucket perhaps: the rules for that are MLflow's.
    from mlflow.utils.uri import append_to_uri_path

    return str(append_to_uri_path(location, run, "artifacts"))


def metric_row(run: str, point: Point) -> dict[str, Any]:
    """The row of one value of a metric. MLflow marks NaN beside the value, and has the largest number for infinity."""
    value, is_nan = point.value, math.isnan(point.value)
    if is_nan:
        value = 0.0
    elif math.isinf(value):
        value = math.copysign(_LARGEST, value)
    return {
        "key": point.key,
        "value": value,
        "timestamp": point.timestamp,
        "run_uuid": run,
        "step": point.step,
        "is_nan": is_nan,
    }


def order(row: Mapping[str, Any]) -> tuple[int, int, float]:
    """Of a metric's rows the latest is the greatest by this."""
    return row["step"], row["timestamp"], row["value"]


# -- is it what we know?


def unknown_release() -> str | None:
    """Why MLflow's own part of it is not what is known here, None if it is."""
    try:
        installed = version("mlflow")
    except PackageNotFoundError:
        return "MLflow is not installed"
    if installed.rpartition(".")[0] not in RELEASES:
        return f"MLflow {installed} is not of {', '.join(RELEASES)}"
    if os.environ.get("MLFLOW_ENABLE_WORKSPACES", "false").lower() not in ("", "false", "0"):
        return "MLflow's workspaces are on"
    return None


def unknown_tables(engine: Engine) -> str | None:
    """Why the database is not what is known here, None if it is."""
    if engine.dialect.name not in _DIALECTS:
        return f"the database is in {engine.dialect.name}"
    with engine.connect() as connection:
        found = inspect(connection)
        if not found.has_table("alembic_version"):
            return "the database is not MLflow's, or new"
        head = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
        if len(head) != 1 or head[0] not in HEADS:
            return f"the database has revision {', '.join(head)}, not {' or '.join(HEADS)}"
        for table in _tables.sorted_tables:
            columns = {column["name"] for column in found.get_columns(table.name)}
            if columns != set(table.c.keys()):
                return f"the columns of {table.name} are {', '.join(sorted(columns))}"
    return None
