"""The small frozen values that everything else is written in: options, statuses, ids, durations, sizes."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hpo_pipelines.errors import DefinitionError, ParameterError


class Kind(StrEnum):
    """What a task records."""

    PIPELINE = "pipeline"
    STEP = "step"
    STUDY = "study"


class Status(StrEnum):
    """Where a task stands. *Reused* is a fact about a step (``reused_from``), never a status."""

    DRAFT = "draft"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"
    PRUNED = "pruned"
    SKIPPED = "skipped"

    @property
    def finished(self) -> bool:
        return self not in (Status.DRAFT, Status.QUEUED, Status.RUNNING)


@dataclass(frozen=True)
class Resources:
    """What one step needs while it runs.

    ``cpu`` and ``gpu`` are counts (fractions allowed), ``memory`` is bytes or a size such as ``"4GB"`` and a limit:
    a step whose process tree uses more is stopped. ``custom`` names any other resource of a cluster.
    """

    cpu: float = 1.0
    gpu: float = 0.0
    memory: int | str | None = None
    custom: Mapping[str, float] = field(default_factory=dict)
    queue: str | None = None

    def __post_init__(self) -> None:
        for name in ("cpu", "gpu"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
                raise DefinitionError(f"Resources({name}={value!r}): {name} is a number, 0 or more.")
        if self.memory is not None:
            object.__setattr__(self, "memory", size(self.memory))

    @property
    def memory_bytes(self) -> int | None:
        """The memory limit in bytes, ``None`` for no limit."""
        return None if self.memory is None else size(self.memory)


@dataclass(frozen=True)
class Queue:
    """Where tasks wait, and what of a cluster serves them: a queue without labels and resources is served anywhere.

    ``labels`` place: a step runs only on nodes that have them, values in Ray's words (``"a100"``, ``"in(a100,h100)"``,
    ``"!spot"``). ``resources`` cap: a step takes so much of each custom resource while it runs, so that a node which
    has ``{"queue:gpu": 2}`` serves two steps of a queue that takes 1.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=dict)

    @property
    def places(self) -> bool:
        """Whether it matters where its steps run, which only a cluster can heed."""
        return bool(self.labels or self.resources)


@dataclass(frozen=True)
class Retry:
    """How often a failed step is tried again: ``times`` more attempts, after ``backoff`` seconds doubled each time.

    A random share of up to half the delay is added (jitter), so that trials that failed together do not return
    together. ``on`` names the exception classes worth another try; a lost worker always is.
    """

    times: int = 0
    backoff: float | str = 1.0
    on: tuple[type[BaseException], ...] = (Exception,)

    def __post_init__(self) -> None:
        if isinstance(self.times, bool) or not isinstance(self.times, int) or self.times < 0:
            raise DefinitionError(f"Retry(times={self.times!r}): times is a whole number, 0 or more.")
        object.__setattr__(self, "backoff", duration(self.backoff))
        on = self.on if isinstance(self.on, tuple) else (self.on,)
        for cls in on:
            if not (isinstance(cls, type) and issubclass(cls, BaseException)):
                raise DefinitionError(f"Retry(on={self.on!r}): on holds exception classes, for instance (OSError,).")
        object.__setattr__(self, "on", on)

    def delay(self, attempt: int, random: float) -> float:
        """Seconds to wait after failed attempt number ``attempt`` (from 1), for a ``random`` share in [0, 1)."""
        return float(self.backoff) * 2.0 ** (attempt - 1) * (1 + random / 2)


@dataclass(frozen=True)
class KeyPart:
    """Something a step depends on that is known by ``name``, and counts by its ``digest``; see ``Cache.depends``."""

    name: str
    digest: str


@dataclass(frozen=True)
class Cache:
    """When a step's recorded outcome may stand in for running it again.

    ``version`` and ``depends`` enter the key; ``ignore`` names arguments that do not; ``ttl`` is the age beyond which
    an outcome is no longer reused (seconds, or ``"7d"``).
    """

    enabled: bool = True
    version: str | None = None
    ttl: float | str | None = None
    depends: tuple[Any, ...] = ()
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.ttl is not None:
            object.__setattr__(self, "ttl", duration(self.ttl))
        for name in ("depends", "ignore"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise DefinitionError(f"Cache({name}={value!r}): {name} is a tuple; write {name}=({value!r},).")
            object.__setattr__(self, name, tuple(value))


@dataclass(frozen=True)
class Environment:
    """What a step's process has that the driver's need not; where anything is named, that is a process apart.

    ``packages`` are requirements as pip reads them (``"torch==2.13"``), put ahead of what is installed. ``env`` holds
    variables that are set before the process imports anything. ``python`` is a minor version, and can only be that of
    the driver. ``image`` names a container image. ``secrets`` names variables of the worker that the step gets; their
    values are kept out of all that is recorded.

    Raises DefinitionError for what cannot be one.
    """

    packages: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    python: str | None = None
    image: str | None = None
    secrets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("packages", "secrets"):
            value = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(item, str) and item for item in value):
                raise DefinitionError(f"Environment({name}={value!r}): {name} is a list of texts, such as [{value!r}].")
        object.__setattr__(self, "packages", tuple(sorted({_requirement(item) for item in self.packages})))
        object.__setattr__(self, "secrets", tuple(sorted(set(self.secrets))))
        object.__setattr__(self, "env", _variables(self.env, self.secrets))
        if self.python is not None:
            object.__setattr__(self, "python", _minor(self.python))
        if self.image is not None and (not isinstance(self.image, str) or not re.fullmatch(r"[\w][^\s]*", self.image)):
            raise DefinitionError(f'Environment(image={self.image!r}): image is a name such as "python:3.11-slim".')

    @property
    def apart(self) -> bool:
        """Whether a step needs a process of its own for this."""
        return bool(self.packages or self.env or self.image or self.secrets)


def _requirement(text: str) -> str:
    """``text`` in the one form that all spellings of a requirement share."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise DefinitionError(
            f"Environment(packages=[{text!r}]): {str(error).partition(chr(10))[0]}. Write a requirement such as "
            '"torch==2.13" or "tiny @ file:///wheels/tiny-1.0-py3-none-any.whl"; options of the installer go into '
            "its own variables (UV_… or PIP_…)."
        ) from None
    requirement.name = canonicalize_name(requirement.name)
    return str(requirement)


def _variables(env: Mapping[str, str], secrets: tuple[str, ...]) -> dict[str, str]:
    for name, value in env.items():
        if not isinstance(name, str) or not isinstance(value, str) or not name or "=" in name or "\0" in name + value:
            raise DefinitionError(
                f"Environment(env={{{name!r}: {value!r}}}): names and values are text; quote numbers."
            )
        if name in secrets:
            raise DefinitionError(
                f"Environment: {name!r} is among env and secrets; a secret's value is not written here."
            )
    return dict(sorted(env.items()))


def _minor(python: str) -> str:
    """The minor version ``python`` names. Raises DefinitionError unless it is the one that runs."""
    here = "{}.{}".format(*sys.version_info)
    if not isinstance(python, str) or not re.fullmatch(r"\d+\.\d+(\.\d+)?", python):
        raise DefinitionError(f'Environment(python={python!r}): python is a minor version such as "{here}".')
    if ".".join(python.split(".")[:2]) != here:
        raise DefinitionError(
            f"Environment(python={python!r}): steps run on the minor version of their driver, which is {here}: values "
            f"and code travel between them. Leave python out, or start the driver with Python {python}."
        )
    return here


_UNITS = {"ms": 1e-3, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZES = {
    "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip


def _quantity(value: object, units: Mapping[str, float], rule: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-zA-Z]+)\s*", value)
        if match and match[2].lower() in units:
            return float(match[1]) * units[match[2].lower()]
    raise ParameterError(f"{rule}; got {value!r}. Known units: {', '.join(units)}.")


def duration(value: float | str) -> float:
    """Seconds of ``90``, ``"90s"``, ``"10min"``, ``"2h"``, ``"7d"``. Raises ParameterError for anything else."""
    return _quantity(value, _UNITS, 'a duration is seconds, or a number with a unit such as "10min"')


def size(value: int | str) -> int:
    """Bytes of ``1024``, ``"4GB"``, ``"512MiB"``. Raises ParameterError for anything else."""
    return int(_quantity(value, _SIZES, 'a size is bytes, or a number with a unit such as "4GB"'))


_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_id_lock = threading.Lock()
_last_id = 0


def new_id() -> str:
    """A fresh id: 26 characters that sort by time of creation (https://github.com/ulid/spec).

    Ids made by one process increase strictly, also within a millisecond.
    """
    global _last_id
    fresh = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    with _id_lock:
        _last_id = fresh if fresh > _last_id else _last_id + 1
        number = _last_id
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


@dataclass(frozen=True)
class ArtifactRef:
    """What stands for a stored output wherever it travels: a few hundred bytes, never the value itself.

    ``digest`` is the BLAKE3 of the stored bytes (storage); ``value_digest`` is the identity of the value (keys): equal
    values have one, however they were pickled. ``inline`` holds the stored bytes themselves when they are few.
    """

    digest: str
    value_digest: str
    format: str
    size: int
    preview: Mapping[str, Any] = field(default_factory=dict)
    inline: bytes | None = None
