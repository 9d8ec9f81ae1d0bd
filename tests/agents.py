"""An agent beside a test, in a thread, with a workspace of its own as another process has it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpo_pipelines import Workspace
from hpo_pipelines.agent import Agent


@contextmanager
def agent(home: Path, queue: str = "services") -> Iterator[Agent]:
    """Takes runs of ``queue`` in ``home`` until the block ends."""
    with Workspace(home=home) as place:
        taking = Agent(place, [queue])
        thread = threading.Thread(target=taking.run)
        thread.start()
        try:
            yield taking
        finally:
            taking.drain()
            thread.join(60)
