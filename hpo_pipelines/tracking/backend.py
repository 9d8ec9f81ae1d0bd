"""Where MLflow keeps what is mirrored, and how it has to be set up. MLflow itself is imported only in `prepare`."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from blake3 import blake3

from hpo_pipelines.errors import ConfigError

if TYPE_CHECKING:
    from hpo_pipelines.settings import Settings

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Otherwise every end of a run over HTTP reads it once more, for a line on the console.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True)
class Backend:
    """One MLflow tracking store: ``uri`` as MLflow takes it, absolute; ``home`` is ours, for what we keep beside it."""

    uri: str
    home: Path

    @classmethod
    def of(cls, settings: Settings) -> Backend:
        """The backend that ``settings`` name. Raises ConfigError for none, and for one that MLflow gave up."""
        uri = settings.tracking_uri.strip()
        scheme = urlsplit(uri).scheme
        if not uri:
            raise ConfigError(
                "tracking is off: tracking_uri is empty. Name an MLflow tracking URI, or take the setting out."
            )
        if scheme in ("", "file"):
            raise ConfigError(
                f"tracking_uri={uri!r}: MLflow keeps its runs in a database, no longer in a folder. "
                f"Write sqlite:///{Path(settings.home, 'mlflow.db')}, or the URL of a tracking server."
            )
        return cls(absolute_uri(uri).rstrip("/"), settings.home)

    @property
    def is_http(self) -> bool:
        return urlsplit(self.uri).scheme in ("http", "https")

    @property
    def follower(self) -> str:
        """The name under which the store's events are followed into this backend: each has a cursor of its own."""
        parts = urlsplit(self.uri)
        public = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        return f"mlflow:{blake3(public.encode()).hexdigest()[:12]}"

    @property
    def shown(self) -> str:
        """The URI without a password, for messages."""
        parts = urlsplit(self.uri)
        if "@" not in parts.netloc:
            return self.uri
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    @property
    def sqlite_file(self) -> Path | None:
        return sqlite_path(self.uri)

    @property
    def artifacts(self) -> Path:
        """The folder of MLflow's artifacts, where no server decides that."""
        return self.home / "mlflow-artifacts"

    def place(self, experiment: str) -> str:
        """The folder for the artifacts of the experiment called so."""
        return str(self.artifacts / re.sub(r"[^\w.\-]+", "_", experiment))

    def environment(self) -> dict[str, str]:
        """Variables that have to be set before MLflow is imported by a process that uses this backend itself."""
        if self.is_http:
            return dict(_QUIET)
        return {
            **_QUIET,
            # log_batch holds one connection while it opens a second: 15 writers at once lock up the default pool.
            "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "50",
            "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "50",
            # Otherwise ./mlruns of whatever folder the process runs in.
            "_MLFLOW_SERVER_ARTIFACT_ROOT": str(self.artifacts),
        }

    def prepare(self) -> None:
        """Set the variables of :meth:`environment`; make a SQLite database, if it is one and is not there.

        It is made whole or not at all, and once, whoever asks.

        MLflow's own way leaves a half-migrated file behind when it is killed, and lets two processes trip over each
        other. Takes seconds the first time. Raises whatever MLflow raises.
        """
        os.environ.update(self.environment())
        path = self.sqlite_file
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_name(f"{path.name}.lock")):
            if not path.exists():
                _create(path)
            if path.parent == self.home:
                _set_up(path)

    def analyze(self) -> None:
        """Give SQLite statistics: without them, sorting runs by a metric takes time quadratic in their number."""
        path = self.sqlite_file
        if path is not None and path.parent == self.home:
            with closing(sqlite3.connect(path, timeout=5.0)) as connection:
                connection.execute("ANALYZE")


def absolute_uri(uri: str) -> str:
    """``uri``, with the whole path where it names a SQLite file relative to the current folder."""
    path = sqlite_path(uri)
    if path is None or path.is_absolute():
        return uri
    return uri.replace(str(path), str(path.absolute()), 1)


def sqlite_path(uri: str) -> Path | None:
    """The file that ``sqlite:///file`` or ``sqlite+pysqlite:///file?options`` names."""
    scheme, _, rest = uri.partition(":///")
    return Path(unquote(rest.partition("?")[0])) if scheme.partition("+")[0] == "sqlite" and rest else None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _create(path: Path) -> None:
    from mlflow import MlflowClient

    temporary = path.with_name(f".{path.name}.new")
    for suffix in ("", "-journal"):
        temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)
    MlflowClient(f"sqlite:///{temporary}").search_experiments(max_results=1)
    os.replace(temporary, path)


def _set_up(path: Path) -> None:
    # MLflow never asks for a write-ahead log, without which its readers and writers wait for each other.
    with closing(sqlite3.connect(path, timeout=20.0)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
