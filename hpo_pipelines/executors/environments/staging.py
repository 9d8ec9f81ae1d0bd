"""Artifacts of a step that can reach no store but a folder: brought there before it runs, and fetched after."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.executors.base import Assignment, Completed, Ended

BringBack: TypeAlias = Callable[[Ended], Ended]


@contextmanager
def staged(assignment: Assignment) -> Iterator[tuple[Assignment, BringBack]]:
    """``assignment`` with its artifacts in a folder of this machine, and what is to be done to how it ended.

    A store that is a folder stays what it is. Raises ArtifactError when the store cannot be reached.
    """
    store = ArtifactStore(assignment.artifacts)
    if store.is_local:
        Path(store.url).mkdir(parents=True, exist_ok=True)
        yield assignment, lambda ended: ended
        return
    with tempfile.TemporaryDirectory(prefix="hpo-artifacts-") as folder:
        near = ArtifactStore(folder)
        for ref in (assignment.snapshot, *assignment.inputs):
            store.copy(ref, near)

        def bring_back(ended: Ended) -> Ended:
            for ref in ended.outputs.values() if isinstance(ended, Completed) else ():
                near.copy(ref, store)
            return ended

        yield replace(assignment, artifacts=near.url), bring_back
