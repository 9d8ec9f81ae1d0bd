"""Secrets of a step: where they come from, and how their values are kept out of what is recorded."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import cloudpickle

from hpo_pipelines.errors import StepFailed
from hpo_pipelines.executors.base import Completed, Failed
from hpo_pipelines.failure import Failure

COVER = "***"
"""What stands where a secret's value was."""


def read(names: tuple[str, ...], label: str) -> Mapping[str, str]:
    """The values of the secrets ``names`` from this worker's own variables. Raises StepFailed for one that is not set.

    ``label`` says whose they are, for the message.
    """
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise StepFailed(
            f"{label} needs the secret{'s' * (len(missing) > 1)} {', '.join(missing)}, not set for the worker on "
            f"{socket.gethostname()}. Export it there before the worker starts (for a local run: in your own shell), "
            "or take it out of the component's secrets."
        )
    return {name: os.environ[name] for name in names}


@contextmanager
def revealed(secrets: Mapping[str, str]) -> Iterator[None]:
    """Have ``secrets`` among this process's variables, and those of processes it starts, for as long as the block."""
    os.environ.update(secrets)
    try:
        yield
    finally:
        for name in secrets:
            os.environ.pop(name, None)


class Mask:
    """Covers the values of ``secrets`` in texts, bytes and failures.

    A value is known as it is, and as JSON, ``repr`` and URLs spell it; not in pieces, encoded, or in ciphers.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        spelled = {
            spelling
            for value in secrets.values()
            for spelling in (value, json.dumps(value)[1:-1], repr(value)[1:-1], quote(value), quote(value, safe=""))
            if spelling
        }
        # The longest first: one secret may be part of another.
        self._texts = sorted(spelled, key=lambda text: (-len(text), text))
        self.spelled = [text.encode("utf-8", "surrogateescape") for text in self._texts]

    def text(self, text: str) -> str:
        for spelling in self._texts:
            text = text.replace(spelling, COVER)
        return text

    def data(self, data: bytes) -> bytes:
        for spelling in self.spelled:
            data = data.replace(spelling, COVER.encode())
        return data

    def finds(self, data: bytes) -> bool:
        """Whether some value is in ``data``."""
        return any(spelling in data for spelling in self.spelled)

    def value(self, value: Any) -> Any:
        """``value`` with texts covered wherever they are in lists, tuples and dicts."""
        if type(value) is str:
            return self.text(value)
        if type(value) is bytes:
            return self.data(value)
        if type(value) in (list, tuple, set):
            return type(value)(self.value(item) for item in value)
        if type(value) is dict:
            return {self.value(name): self.value(item) for name, item in value.items()}
        return value

    def failed(self, failed: Failed) -> Failed:
        """``failed`` without a value in any part of it; an exception that hides one keeps its readable parts only."""
        failure = failed.failure
        pickled = failure.pickled
        if pickled is not None and self.finds(pickled):
            pickled = self._pickled(failed.error)
        return Failed(
            replace(
                failure,
                message=self.text(failure.message),
                traceback=self.text(failure.traceback),
                log=self.text(failure.log),
                pickled=pickled,
            )
        )

    def _pickled(self, error: BaseException | None) -> bytes | None:
        if error is None:
            return None
        try:
            cls, *parts = cloudpickle.loads(Failure.of(error).pickled or b"")
            pickled = bytes(cloudpickle.dumps((cls, *(self.value(part) for part in parts))))
        except Exception:  # noqa: BLE001 - a user's exception may hold anything; its readable parts remain
            return None
        return None if self.finds(pickled) else pickled

    def completed(self, completed: Completed) -> Completed | Failed:
        """``completed``, unless a value is in what shows of an output, or in the whole of a small one."""
        for name, ref in completed.outputs.items():
            shown = json.dumps(dict(ref.preview), default=str, ensure_ascii=False).encode()
            if self.finds(shown) or (ref.inline is not None and self.finds(ref.inline)):
                error = StepFailed(
                    f"the output {name!r} holds the value of a secret, and outputs are recorded. Return what was done "
                    "with it, and read the secret anew in each component that declares it."
                )
                return Failed(Failure.of(error))
        return completed

    def stream(self, write: Callable[[bytes], None]) -> Stream:
        return Stream(self, write)


class Stream:
    """Covers values in bytes that come in pieces; keeps back an end that may be the beginning of a value."""

    def __init__(self, mask: Mask, write: Callable[[bytes], None]) -> None:
        self._mask = mask
        self._write = write
        self._kept = b""

    def __call__(self, data: bytes) -> None:
        covered = self._mask.data(self._kept + data)
        keep = max((_overlap(covered, spelling) for spelling in self._mask.spelled), default=0)
        self._kept = covered[len(covered) - keep :]
        self._out(covered[: len(covered) - keep])

    def flush(self) -> None:
        """Write what was kept back: nothing more comes."""
        kept, self._kept = self._kept, b""
        self._out(kept)

    def _out(self, data: bytes) -> None:
        if data:
            self._write(data)


def _overlap(data: bytes, value: bytes) -> int:
    """How many bytes at the end of ``data`` begin ``value``, which is not whole in it."""
    return next((n for n in range(min(len(data), len(value) - 1), 0, -1) if data.endswith(value[:n])), 0)
