"""A run that is driven elsewhere, followed to its end, with what its body prints."""

from __future__ import annotations

import codecs
import sys
import time

from hpo_pipelines.run import Run

CONTROLLER = "controller"
"""The console of a run's body."""

PAUSES = (0.05, 0.1, 0.2)
"""Seconds between two looks, the last from then on."""


def follow(run: Run, *, echo: bool = True, printed: int = 0) -> Run:
    """Wait until ``run`` has ended; with ``echo`` print here what its body prints there, as it would if it ran here.

    ``printed`` bytes of its console were there before it was resumed, and are not printed again. One that is
    retriggered is followed to the end of its last attempt, which is what is returned.
    """
    body = Echo(run, printed) if echo else None
    looks = 0
    while True:
        ended = run.status.finished  # asked before the console is read: what was printed last is not missed
        if body is not None:
            body.look()
        if ended:
            following = run.last_attempt
            if following is run:
                return run
            run, body = following, Echo(following) if echo else None
            continue
        time.sleep(PAUSES[min(looks, len(PAUSES) - 1)])
        looks += 1


def printed_by(run: Run) -> int:
    """How many bytes the body of ``run`` has printed by now."""
    return run.workspace.store.consoles.sizes(run.id).get(CONTROLLER, 0)


class Echo:
    """Prints what is new in the console of a run's body, from the byte ``shown`` on."""

    def __init__(self, run: Run, shown: int = 0) -> None:
        self._run = run
        self._shown = shown
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def look(self) -> None:
        """Print what came since the last look."""
        if printed_by(self._run) <= self._shown:
            return
        for piece in self._run.workspace.store.consoles.read(self._run.id, CONTROLLER, self._shown):
            sys.stdout.write(self._decoder.decode(piece.data))
            self._shown += len(piece.data)
        sys.stdout.flush()
