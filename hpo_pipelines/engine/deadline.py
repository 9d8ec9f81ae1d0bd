"""The time that a run may take in all: when it is over, the run ends as failed, whatever is under way in it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hpo_pipelines.errors import ConfigError, HpoPipelinesError, RunTimedOut

if TYPE_CHECKING:
    from hpo_pipelines.engine.controller import Controller

REASON = "timeout"

GRACE_SECONDS = 3.0
"""How long the body may go on, once its steps are stopped, until the run is recorded as over without it."""

log = logging.getLogger(__name__)


@contextmanager
def deadline(controller: Controller) -> Iterator[None]:
    """Have ``controller`` expire, once, if the block takes longer than its pipeline's timeout.

    The clock runs from here: a run that is resumed has all of its time again. Raises ConfigError for a run whose steps
    run inline, which nothing can stop.
    """
    seconds = controller.pipeline.timeout
    options = controller.options
    if seconds is None or options.recalled or options.repeats or options.ladder:  # each run inside has its own
        yield
        return
    label = controller.run.label
    if (controller.options.executor or controller.engine.default_executor) == "inline":
        raise ConfigError(
            f"{label} has timeout={seconds:g} s, and the inline executor cannot stop a step: it runs in your own "
            "thread. Run it with executor='local', or leave the pipeline's timeout out while debugging."
        )
    over = threading.Event()
    error = RunTimedOut(f"{label} ran longer than its timeout of {seconds:g} s")
    timer = threading.Timer(seconds, _expire, (controller, error, over))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        over.set()
        timer.cancel()


def _expire(controller: Controller, error: RunTimedOut, over: threading.Event) -> None:
    controller.expire(error)
    controller.scheduler.settle()
    if over.wait(GRACE_SECONDS):
        return
    try:
        controller.end_expired()
    except HpoPipelinesError:
        log.warning("the timeout of %s could not be recorded", controller.run.label, exc_info=True)
