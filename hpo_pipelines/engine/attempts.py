"""Which attempts of one run's steps executors still have, whatever became of the steps meanwhile."""

from __future__ import annotations

import threading

from hpo_pipelines.executors.base import Assignment, Listener, Message, ended


class Attempts:
    """The attempts of one run that were given to executors and have not been reported to be over."""

    def __init__(self) -> None:
        self._out: set[str] = set()
        self._changed = threading.Condition()

    def listened(self, assignment: Assignment, listener: Listener) -> Listener:
        """``listener`` for an attempt that is given to an executor now."""

        def hear(assignment: Assignment, message: Message) -> None:
            try:
                listener(assignment, message)
            finally:
                if ended(message):
                    self.forget(assignment)

        with self._changed:
            self._out.add(assignment.id)
        return hear

    def forget(self, assignment: Assignment) -> None:
        """No executor has it: it is over, or was refused."""
        with self._changed:
            self._out.discard(assignment.id)
            self._changed.notify_all()

    def settle(self, seconds: float) -> bool:
        """Wait until executors have none of them; ``False`` after ``seconds``."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._out, seconds)
