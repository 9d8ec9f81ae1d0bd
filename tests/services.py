"""Fixtures for real services, each private to the test session. Load as a pytest plugin.

A service that is missing skips its tests on a laptop and fails them where ``CI`` is ``true``.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

_START = 60.0


def missing(service: str, cure: str) -> NoReturn:
    """Skip the test for want of ``service``, or fail it in continuous integration."""
    message = f"{service} is missing: {cure}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def wait_until(true: Callable[[], bool], what: str, seconds: float = _START) -> None:
    """Return as soon as ``true()``; fail with ``what`` was waited for after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.02)


def _binary(name: str) -> str:
    # Debian keeps them out of the PATH.
    places = [shutil.which(name), *sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)]
    for place in places:
        if place is not None:
            return str(place)
    missing("PostgreSQL", "apt-get install postgresql, or put initdb and postgres on the PATH.")


def _account(folder: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it runs as the account that its package made."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    account = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(folder, account.pw_uid, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


class Postgresql:
    """A throw-away PostgreSQL in a private folder, reached over a socket there; to be started, also again."""

    def __init__(self) -> None:
        initdb, self._postgres = _binary("initdb"), _binary("postgres")
        self.folder = Path(tempfile.mkdtemp(prefix="hpo-pg-"))
        self._account, self._data = _account(self.folder), self.folder / "data"
        self._environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        self._server: subprocess.Popen[bytes] | None = None
        command = [initdb, "-D", str(self._data), "-U", "hpo", "-A", "trust", "-E", "UTF8", "--no-sync"]
        options: dict[str, Any] = {"cwd": self.folder, "env": self._environment, **self._account}
        made = subprocess.run(command, capture_output=True, text=True, check=False, **options)
        if made.returncode != 0:
            shutil.rmtree(self.folder)
            pytest.fail(f"initdb failed: {made.stderr}", pytrace=False)

    @property
    def url(self) -> str:
        """Of its maintenance database."""
        return f"postgresql+psycopg://hpo@/postgres?host={self.folder}"

    def start(self) -> None:
        """Start it, and wait until it answers; nothing if it runs."""
        if self._server is not None:
            return
        # Durability is not what these tests are about, and the disk is shared.
        settings = ("listen_addresses=", "fsync=off", "full_page_writes=off", "shared_buffers=32MB")
        options = [word for setting in settings for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            server = self._server = subprocess.Popen(
                [self._postgres, "-D", str(self._data), "-k", str(self.folder), *options],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._account,
            )
        wait_until(lambda: server.poll() is not None or _answers(self.folder), "PostgreSQL to start")
        if server.poll() is not None:
            pytest.fail(f"PostgreSQL did not start: {(self.folder / 'log').read_text()}", pytrace=False)

    def stop(self) -> None:
        """Stop it, whoever is connected; nothing if it is stopped."""
        server, self._server = self._server, None
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait(_START)

    def remove(self) -> None:
        """Stop it, and leave nothing of it."""
        self.stop()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of a throw-away PostgreSQL server's maintenance database."""
    server = Postgresql()
    try:
        server.start()
        yield server.url
    finally:
        server.remove()


@pytest.fixture(scope="module")
def postgresql_to_stop() -> Iterator[Postgresql]:
    """A PostgreSQL that is the module's to stop and to start again."""
    server = Postgresql()
    try:
        server.start()
        yield server
    finally:
        server.remove()


def _answers(folder: Path) -> bool:
    import psycopg

    try:
        psycopg.connect(host=str(folder), user="hpo", dbname="postgres").close()
    except psycopg.OperationalError:
        return False
    return True


_schemas = itertools.count(1)


@pytest.fixture
def postgresql_database(postgresql_url: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL schema of the test's own: as good as a database, and made in a moment."""
    import psycopg

    name = f"test_{next(_schemas)}"
    folder = postgresql_url.partition("?host=")[2]
    with psycopg.connect(host=folder, user="hpo", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        yield f"{postgresql_url}&options=-csearch_path%3D{name}"
        connection.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """A bucket of a stand-in for S3 on a loopback socket; the variables that lead there are set."""
    if not all(importlib.util.find_spec(name) for name in ("moto", "s3fs", "flask")):
        missing("a stand-in for S3", "pip install 'moto[s3,server]' s3fs")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import s3fs

        # What the stand-in holds outlives its server: each gets a bucket of its own.
        bucket = f"artifacts-{secrets.token_hex(4)}"
        s3fs.S3FileSystem().mkdir(bucket)
        yield f"s3://{bucket}"
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
