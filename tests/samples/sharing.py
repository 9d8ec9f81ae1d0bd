"""Pipelines whose steps leave a file for each time they ran and wait for a gate, and a driver for another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo_pipelines import Cache, Retry, component, pipeline, report


class Stumbled(Exception):
    """What the failing steps raise."""


def ran(folder: str, kind: str) -> int:
    """Leave a file for this execution; how many of its kind there were before."""
    before = len(list(Path(folder).glob(f"{kind}.*")))
    Path(folder, f"{kind}.{time.time_ns()}.{os.getpid()}").touch()
    return before


def wait_for(gate: Path) -> None:
    while not gate.exists():
        time.sleep(0.005)


@component
def prefix(folder: str, reports: int = 2) -> int:
    """Runs until the file ``open`` is in ``folder``."""
    before = ran(folder, "prefix")
    for epoch in range(reports):
        report("progress", epoch / 10, step=epoch)
    wait_for(Path(folder, "open"))
    return 100 + before


@component
def suffix(base: int, x: float) -> float:
    report("score", base + x)
    return base + x


@component(cache=Cache(ttl="1h"))
def aging(folder: str) -> int:
    before = ran(folder, "aging")
    wait_for(Path(folder, "open"))
    return before


def stumble(folder: str, times: int) -> int:
    """Fails the first ``times`` times; says in ``spans`` from when to when it ran."""
    before = ran(folder, "stumbling")
    began = time.time()
    wait_for(Path(folder, "open"))
    time.sleep(0.02)
    with Path(folder, "spans").open("a") as spans:
        spans.write(f"{began} {time.time()}\n")
    if before < times:
        raise Stumbled(f"execution {before + 1}")
    return before


@component
def stumbling(folder: str, times: int) -> int:
    return stumble(folder, times)


def again(folder: str, times: int) -> int:
    return stumble(folder, times)


hasty = component(again)
patient = component(retry=Retry(2, backoff=0.5))(again)
"""The same work, so one key, under two policies."""


@component
def quick(x: int) -> int:
    report("value", x)
    return x


@component
def noted(folder: str, name: str) -> str:
    """Says in ``order`` when it runs."""
    with Path(folder, "order").open("a") as order:
        order.write(f"{name}\n")
    return name


@pipeline(project="samples")
def noting(folder: str, name: str = "", x: int = 0) -> str:
    return noted(folder, name)


@pipeline(project="samples")
def shared(folder: str, x: float = 0.0) -> float:
    return suffix(prefix(folder), x)


@pipeline(project="samples")
def aged(folder: str) -> int:
    return aging(folder)


@pipeline(project="samples")
def stumbled(folder: str, times: int = 1) -> int:
    return stumbling(folder, times)


@pipeline(project="samples")
def hastily(folder: str, times: int = 1) -> int:
    return hasty(folder, times)


@pipeline(project="samples")
def patiently(folder: str, times: int = 1) -> int:
    return patient(folder, times)


@pipeline(project="samples")
def quickly(x: int = 1) -> int:
    return quick(x)


# -- another process


def drive(home: Path, name: str, params: Mapping[str, Any], **options: Any) -> subprocess.Popen[str]:
    """Another process that runs the pipeline ``name`` and prints one line of JSON.

    ``options``: ``store`` (its URL), ``lease`` and ``beat`` (seconds), ``executor``.
    """
    settings = json.dumps({"home": str(home), "name": name, "params": dict(params), **options})
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r}); "
    code += "from samples import sharing; sharing.main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, settings], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def main() -> None:
    from hpo_pipelines import Workspace
    from hpo_pipelines.engine import liveness

    settings = json.loads(sys.argv[1])
    liveness.LEASE_SECONDS = settings.get("lease", liveness.LEASE_SECONDS)
    liveness.BEAT_SECONDS = settings.get("beat", liveness.BEAT_SECONDS)
    with Workspace(settings.get("store"), home=settings["home"]) as workspace:
        run = workspace.run(globals()[settings["name"]], settings["params"], executor=settings.get("executor", "local"))
        print(json.dumps({"run": run.id, "label": run.label, "status": run.status}))
