"""What runs in the processes beside a driver: ``python -m hpo_pipelines.tracking mirror``, ``notifications``
or ``server DESCRIPTOR``.

The first line of the standard input holds the settings, further ones are requests. At its end the driver is gone.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, BinaryIO

from hpo_pipelines.errors import ConfigError, HpoPipelinesError
from hpo_pipelines.settings import Settings
from hpo_pipelines.tracking.process import settings_from

log = logging.getLogger("hpo_pipelines.tracking")

FAREWELL = 7.0
"""Seconds in which a mirror whose driver is gone finishes what there is."""
HARD_END = 9.0
"""Seconds after which it ends, whatever it is doing."""
_LOOK = 1.0


class Line:
    """Our end of the line to the driver."""

    def __init__(self) -> None:
        # Whatever a library prints goes to the log, not to the driver.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._sending = threading.Lock()
        self._parent = os.getppid()

    def send(self, **message: Any) -> None:
        with self._sending:
            try:
                self._out.write(json.dumps(message) + "\n")
                self._out.flush()
            except OSError:  # the driver is gone; the other direction tells
                return

    def messages(self) -> Iterator[Mapping[str, Any]]:
        """What the driver says, until it hangs up or is gone."""
        with open(0, "rb", buffering=0, closefd=False) as pipe:
            for line in self._lines(pipe):
                yield json.loads(line)

    def _lines(self, pipe: BinaryIO) -> Iterator[bytes]:
        pending = b""
        while True:
            ready, _, _ = select.select([pipe], [], [], _LOOK)
            # A process forked by the driver may keep its end of the pipe open; our parent then is another one.
            if not ready and os.getppid() != self._parent:
                return
            if not ready:
                continue
            data = pipe.read(65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            yield from lines


def mirror(line: Line, settings: Settings, messages: Iterator[Mapping[str, Any]]) -> None:
    """Follow the store's events into MLflow until the driver is gone."""
    from hpo_pipelines.store import Store
    from hpo_pipelines.tracking.backend import Backend
    from hpo_pipelines.tracking.base import Follower
    from hpo_pipelines.tracking.mlflow import MlflowMirror

    # The steps go first. Not lower, nor as idle work: neither made a study measurably faster, and on a busy machine the
    # mirror may be stopped while it holds the store's one write lock, for which the driver then waits.
    os.nice(10)
    store = Store.open(settings.store, create=False)
    backend = Backend.of(settings)
    target = MlflowMirror(
        store,
        backend,
        step_runs=settings.tracking_step_runs,
        sources=partial(component_sources, store, settings.artifacts),
        holds=lambda: follower.holds(),
    )
    follower = Follower(store, backend.follower, target.take, heard=lambda problem: line.send(problem=problem))
    threading.Thread(target=_obey, args=(line, follower, messages), name="hpo-line", daemon=True).start()
    follower.run()
    store.close()


def notifications(line: Line, settings: Settings, messages: Iterator[Mapping[str, Any]]) -> None:
    """Tell the webhooks until the driver is gone."""
    from hpo_pipelines.store import Store
    from hpo_pipelines.tracking.notifying import Notifying

    os.nice(10)
    store = Store.open(settings.store, create=False)
    notifying = Notifying(store, settings, heard=lambda problem: line.send(problem=problem))
    threading.Thread(target=_obey, args=(line, notifying, messages), name="hpo-line", daemon=True).start()
    notifying.run()
    store.close()


def _obey(line: Line, follower: Any, messages: Iterator[Mapping[str, Any]]) -> None:
    for message in messages:
        # In a thread of its own: the driver may ask again, or go, before it is done.
        threading.Thread(target=_drain, args=(line, follower, message), daemon=True).start()
    end_after(HARD_END)
    try:
        follower.drain(FAREWELL)
    finally:
        follower.stop()


def _drain(line: Line, follower: Any, message: Mapping[str, Any]) -> None:
    try:
        done = follower.drain(message["timeout"])
    except HpoPipelinesError as error:
        log.warning("draining: %s", error)
        done = False
    line.send(drained=message["drain"], ok=done)


def component_sources(store: Any, artifacts: str, digest: str) -> Mapping[str, str]:
    """The source of each component in the snapshot ``digest``; none when it cannot be read any more."""
    from hpo_pipelines.artifacts import ArtifactStore
    from hpo_pipelines.snapshot import Content

    snapshot = store.snapshots.get(digest)
    if snapshot is None:
        return {}
    try:
        return Content.decode(ArtifactStore(artifacts).read_bytes(snapshot.content)).components
    except HpoPipelinesError as error:
        log.warning("the sources of snapshot %s: %s", digest, error)
        return {}


def end_after(seconds: float) -> None:
    """End this process after ``seconds``, whatever it is doing then; what it leaves undone is done again later."""
    timer = threading.Timer(seconds, os._exit, [0])
    timer.daemon = True
    timer.start()


def server(line: Line, settings: Settings, messages: Iterator[Mapping[str, Any]]) -> None:
    """Serve MLflow on the listening socket that was handed down until the driver is gone."""
    from hpo_pipelines.tracking.serving import run

    def hang_up(leave: Callable[[], None]) -> None:
        for _ in messages:
            continue
        end_after(HARD_END)
        leave()

    run(settings, int(sys.argv[2]), until=hang_up)


def main() -> int:
    """Take the role named on the command line; returns the exit code."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
    )
    line = Line()
    messages = line.messages()
    first = next(messages, None)
    if first is None:
        return 0
    settings = settings_from(first)
    try:
        {"mirror": mirror, "server": server, "notifications": notifications}[sys.argv[1]](line, settings, messages)
    except HpoPipelinesError as error:
        log.error("%s", error)
        line.send(problem=str(error).partition("\n")[0])
        # Settings do not change by trying again.
        return 0 if isinstance(error, ConfigError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
