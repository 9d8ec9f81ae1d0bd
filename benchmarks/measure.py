"""Wall seconds, CPU seconds and peak memory of a piece of work, its child processes included."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil


@dataclass
class Cost:
    """What one piece of work took. ``cpu`` sums this process and its descendants, ``peak`` is their resident bytes."""

    wall: float = 0.0
    cpu: float = 0.0
    peak: int = 0


@contextlib.contextmanager
def cost(*, memory: bool = False) -> Iterator[Cost]:
    """Measure the block; ``memory`` samples the process tree every 20 ms, which costs some CPU itself."""
    found = Cost()
    done = threading.Event()
    sampler = threading.Thread(target=_sample, args=(found, done), daemon=True)
    before = _cpu()
    began = time.perf_counter()
    if memory:
        sampler.start()
    try:
        yield found
    finally:
        found.wall = time.perf_counter() - began
        found.cpu = _cpu() - before
        done.set()
        if memory:
            sampler.join()


def _tree() -> list[psutil.Process]:
    me = psutil.Process(os.getpid())
    return [me, *me.children(recursive=True)]


def _cpu() -> float:
    total = 0.0
    for process in _tree():
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    own = psutil.Process().cpu_times()
    # Children that have ended since are counted by the kernel on their parent.
    return total + own.children_user + own.children_system


def _sample(found: Cost, done: threading.Event) -> None:
    while not done.wait(0.02):
        used = 0
        for process in _tree():
            with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
                # Proportional set size: pages shared between processes count once.
                used += process.memory_full_info().pss
        found.peak = max(found.peak, used)
