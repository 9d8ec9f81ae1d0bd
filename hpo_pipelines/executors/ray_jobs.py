"""Commands of ours as jobs of a Ray cluster: submitted to its head over HTTP, where they outlive who submitted them."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo_pipelines.errors import ConfigError, TaskNotFound
from hpo_pipelines.types import Queue

ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
"""What Ray says of jobs that are over."""

PERIOD_SECONDS = 1.0
"""Between looks at a job whose log cannot be followed just now."""

STOP_SECONDS = 20.0
"""How long a job that is stopped is waited for."""

START_SECONDS = 60.0
"""How long a head that has just started may take until it can run a job."""

TALKATIVE = (
    "ray.dashboard.modules.job.sdk", "ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging",
)  # fmt: skip
"""Loggers of Ray that say what nobody asked."""

COMMAND = ("python", "-m", "hpo_pipelines")
"""Runs ``hpo`` on the cluster, whose Python has this package."""


@dataclass(frozen=True)
class Job:
    """What Ray says of a job: a hint, since its table does not survive every restart of the head."""

    id: str
    status: str
    message: str
    entrypoint: str
    metadata: Mapping[str, str]

    @property
    def is_over(self) -> bool:
        return self.status in ENDED


@dataclass(frozen=True)
class Order:
    """One command for the cluster: ``arguments`` of ``hpo``, and what it needs there.

    ``folder`` is uploaded and is the working directory, less what ``excluded`` (patterns as in .gitignore) names.
    """

    id: str
    arguments: Sequence[str]
    queue: Queue
    folder: Path
    excluded: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


class _Console:
    """Writes what it hears once, though each time that the log is followed it begins at its beginning."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._written = 0
        self._at = 0

    def begin(self) -> None:
        self._at = 0

    def hear(self, text: str) -> None:
        new = text[max(0, self._written - self._at) :]
        self._at += len(text)
        if new:
            self._write(new)
            self._written += len(new)


class Jobs:
    """The job server of the cluster whose head answers at ``address`` (``http://head:8265``).

    The token of ``$RAY_AUTH_TOKEN``, or of the file ``$RAY_AUTH_TOKEN_PATH``, goes with each request. Raises
    ConfigError when it cannot be reached, refuses the token, or the packages to talk to it are missing here.
    """

    def __init__(self, address: str) -> None:
        if not address.startswith(("http://", "https://")):
            raise ConfigError(f"--address {address!r}: it is the URL of the head's job server, http://HEAD:8265.")
        self.address = address.rstrip("/")
        self._client = _client(self.address)

    def submit(self, order: Order) -> str:
        """Submit ``order``; returns the job's id, which is the order's."""
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                return self._submitted(order)
            except Exception as error:
                # A head that has just started answers before it can run anything.
                if "try again later" not in str(error) or time.monotonic() > end:
                    raise _refused(self.address, error) from error
            time.sleep(PERIOD_SECONDS)

    def _submitted(self, order: Order) -> str:
        environment = {"working_dir": str(order.folder), "excludes": list(order.excluded)}
        submitted: str = self._client.submit_job(
            submission_id=order.id,
            entrypoint=shlex.join([*COMMAND, *order.arguments]),
            runtime_env={**environment, "env_vars": dict(order.variables)},
            metadata=dict(order.metadata),
            entrypoint_num_cpus=0,
            entrypoint_resources=dict(order.queue.resources) or None,
            entrypoint_label_selector=dict(order.queue.labels) or None,
        )
        return submitted

    def get(self, id: str) -> Job:
        """The job called ``id``. Raises TaskNotFound."""
        with self._answered(id):
            found = self._client.get_job_info(id)
        status = str(found.status.value if hasattr(found.status, "value") else found.status)
        return Job(id, status, found.message or "", found.entrypoint or "", found.metadata or {})

    def logs(self, id: str) -> str:
        """What the job has printed so far. Raises TaskNotFound."""
        with self._answered(id):
            return str(self._client.get_job_logs(id))

    def follow(self, id: str, write: Callable[[str], None]) -> Job:
        """Hand ``write`` what the job prints, until it is over; returns how it ended. Raises TaskNotFound."""
        console = _Console(write)
        while not (job := self.get(id)).is_over:
            try:
                asyncio.run(self._tail(id, console))
            except (RuntimeError, OSError) as error:
                logging.getLogger(__name__).debug("the log of %s broke off: %s", id, error)
            time.sleep(PERIOD_SECONDS)
        # Its last words, and all of it where the log could not be followed.
        console.begin()
        console.hear(self.logs(id))
        return job

    async def _tail(self, id: str, console: _Console) -> None:
        console.begin()
        async for text in self._client.tail_job_logs(id):
            console.hear(text)

    def stop(self, id: str) -> Job:
        """Have the job end, softly first; returns how it stands then, or after 20 s at most. Raises TaskNotFound."""
        with self._answered(id):
            self._client.stop_job(id)
        end = time.monotonic() + STOP_SECONDS
        while not (job := self.get(id)).is_over and time.monotonic() < end:
            time.sleep(PERIOD_SECONDS)
        return job

    @contextmanager
    def _answered(self, id: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            words = str(error)
            if "does not exist" in words or "404" in words:
                raise TaskNotFound(
                    f"the cluster at {self.address} has no job {id!r}; its head may have restarted."
                ) from None
            raise _refused(self.address, error) from error


def token() -> str | None:
    """The token that the environment has for clusters with authentication, None without one."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return os.environ["RAY_AUTH_TOKEN"]
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if not path:
        return None
    try:
        return Path(path).expanduser().read_text().strip()
    except OSError as error:
        raise ConfigError(f"RAY_AUTH_TOKEN_PATH={path!r}: the token cannot be read: {error}.") from None


def _client(address: str) -> Any:
    known = token()
    headers = {"Authorization": f"Bearer {known}"} if known else None
    try:
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise _missing(error) from error
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with _no_other_address():
            return JobSubmissionClient(address, headers=headers)
    except Exception as error:
        raise _refused(address, error) from error


@contextmanager
def _no_other_address() -> Iterator[None]:
    """The client would take the address of ``$RAY_ADDRESS`` before the one that it is given."""
    hidden = {name: os.environ.pop(name) for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _refused(address: str, error: Exception) -> ConfigError:
    words = str(error).strip()
    if "ray[default]" in words:
        return _missing(error)
    if "401" in words or "403" in words or "nauthenticated" in words or "Unauthorized" in words:
        return ConfigError(f"Ray at {address} wants its token: set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to its file.")
    return ConfigError(f"Ray at {address} refused, or cannot be reached: {words.partition(chr(10))[0]}")


def _missing(error: Exception) -> ConfigError:
    return ConfigError(
        f"submitting needs packages that are not installed here: pip install 'hpo-pipelines[cluster]' ({error})."
    )
