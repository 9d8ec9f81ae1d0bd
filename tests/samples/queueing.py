"""Pipelines for queues: steps that leave a file for each time they ran."""

from __future__ import annotations

import sys
from pathlib import Path

from samples.sharing import ran, wait_for

from hpo_pipelines import component, pipeline, report, result


@component
def first(folder: str, n: int) -> int:
    ran(folder, f"first-{n}")
    return n


@component
def gated(folder: str, x: int) -> int:
    ran(folder, f"gated-{x}")
    wait_for(Path(folder, "open"))
    return x + 1


@component
def last(folder: str, x: int) -> int:
    ran(folder, f"last-{x}")
    report("score", float(x))
    return 2 * x


@pipeline
def three(folder: str, n: int = 0) -> int:
    """Waits in its second step until the file ``open`` is in ``folder``."""
    return last(folder, gated(folder, first(folder, n)))


@pipeline
def quick(folder: str, n: int = 0) -> int:
    return last(folder, n)


@pipeline
def telling(folder: str, n: int = 0) -> int:
    """After a step its body waits for the file ``open``, reports, and runs another pipeline inside."""
    n = result(first(folder, n))
    wait_for(Path(folder, "open"))
    report("seen", float(n))
    return quick(folder, n)


@pipeline
def leaving(folder: str) -> int:
    sys.exit(3)


@component
def climb(folder: str, slope: float) -> float:
    """Reports twenty values; the second half once the file ``open`` is in ``folder``."""
    for epoch in range(20):
        if epoch == 10:
            wait_for(Path(folder, "open"))
        report("height", slope * epoch, step=epoch)
    return slope * 19


@pipeline
def climbing(folder: str, slope: float = 1.0) -> float:
    return climb(folder, slope)


@component
def prefix(folder: str) -> int:
    """Prints, and runs until the file ``open`` is in ``folder``."""
    ran(folder, "prefix")
    print("the prefix is computed, æøå")
    wait_for(Path(folder, "open"))
    return 10


@pipeline
def sharing(folder: str, x: int = 0) -> int:
    print("the body has", x)
    return last(folder, prefix(folder) + x)


@component(cache=False)
def glance(slope: float) -> float:
    return slope


@pipeline
def looking(folder: str, slope: float = 1.0) -> int:
    """A cheap result, then a step that waits for the file ``open`` in ``folder``."""
    return gated(folder, int(result(glance(slope)) >= 0))
