"""Calls what is to be called before and after the steps of a run.

Before a step in the thread of the body, of which that is a part; after it in a thread of its own, for which no step
and no other run waits.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpo_pipelines.callbacks import Call, Skip, arguments_of
from hpo_pipelines.component import Component
from hpo_pipelines.engine.borrowing import code_of
from hpo_pipelines.errors import StepAborted, StepSkipped
from hpo_pipelines.types import Status

if TYPE_CHECKING:
    from hpo_pipelines.engine.scheduler import Scheduler
    from hpo_pipelines.engine.step import StepCall

log = logging.getLogger(__name__)


def before(
    scheduler: Scheduler, component: Component[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Mapping[str, Any] | None, Skip | None]:
    """What the component's callbacks are to be told after the call, and whether they skip it."""
    callbacks = component.options.callbacks
    if callbacks.before is None and callbacks.after is None:
        return None, None
    named = arguments_of(component, args, kwargs)
    call = Call(scheduler.next_name(component), component.name, named, run=scheduler.run.label)
    return (None if callbacks.after is None else named), callbacks.skipped(call)


class Afterwards:
    """The callbacks after the steps of one run, one at a time, in the order in which these ended."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._waiting: deque[StepCall] = deque()
        self._changed = threading.Condition()
        self._is_calling = False

    def ended(self, step: StepCall) -> None:
        """``step`` is over; told of are outcomes, but not those that a resumed run recalls, which were told before."""
        recalled = step.recalled is not None and not step.recalled.again
        left_out = isinstance(step.error, StepAborted | StepSkipped) or step.cause is not None
        if step.arguments.told is None or recalled or left_out:
            return
        with self._changed:
            self._waiting.append(step)
            if not self._is_calling:
                self._is_calling = True
                threading.Thread(target=self._call, name="hpo-callbacks", daemon=True).start()

    def settle(self) -> None:
        """Wait until all have been called."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_calling)

    def _call(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._is_calling = False
                    self._changed.notify_all()
                    return
                step = self._waiting.popleft()
            try:
                step.component.options.callbacks.tell(self._told(step))
            except BaseException:
                log.warning("the callback after %s raised; the run goes on", step.name, exc_info=True)

    def _told(self, step: StepCall) -> Call:
        failure = step.failure
        return Call(
            step.name,
            step.component.name,
            step.arguments.told or {},
            run=self._scheduler.run.label,
            status=Status.COMPLETED if failure is None else Status.FAILED,
            reused=step.reused,
            seconds=None if step.reused else step.seconds,
            error="" if failure is None else f"{failure.type}: {failure.message}",
            load=lambda: self._loaded(step),
        )

    def _loaded(self, step: StepCall) -> Mapping[str, Any]:
        artifacts = self._scheduler.engine.artifacts
        code = code_of(step.component, self._scheduler.code)
        return {name: artifacts.get(ref, code=code) for name, ref in step.outputs.items()}
