"""Pipelines whose runs are seldom seen: no steps, no result, numbers that are none, a run inside a run."""

from __future__ import annotations

import math
import os
import signal

from hpo_pipelines import component, pipeline, report


@pipeline(project="odd")
def nothing() -> None:
    pass


@pipeline(project="odd")
def refuses() -> None:
    raise RuntimeError("no step will ever run")


@component
def diverged() -> float:
    report("loss", math.inf)
    report("loss", math.nan)
    return math.nan


@pipeline(project="odd")
def infinite() -> float:
    return diverged()


@pipeline(project="odd")
def outer() -> None:
    nothing()


@component(cache=False)
def dies() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 1


@pipeline(project="shop")
def lost() -> int:
    return dies()
