"""``python -m benchmarks.routes [--runs N] [--store sqlite|postgresql|URL] [--rounds N] [--home FOLDER] [ROUTE …]``.

What each page and each REST route costs at N (100,000) runs: milliseconds from the request to the last byte (p50,
p95), the server's CPU milliseconds, bytes as they are sent, and p50 as a multiple of the floor, a bare FastAPI route
with one ``SELECT 1`` in the same process. One request at a time on one open connection; all routes take turns, so that
all are measured in the same moments. ``postgresql`` starts a throw-away server (without fsync).
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psutil

PAGES = {
    "pipelines": "/pipelines",
    "pipeline": "/pipelines/benchmarks/crowd",
    "pipeline, failed": "/pipelines/benchmarks/crowd?status=failed",
    "pipeline, by duration": "/pipelines/benchmarks/crowd?sort=-seconds",
    "pipeline, tag": "/pipelines/benchmarks/crowd?tag=nightly",
    "pipeline, a rare one": "/pipelines/vision/track",
    "run": "/runs/RUN",
    "run, a step": "/runs/RUN?step=fit&tab=why",
    "run, its center": "/runs/RUN/part/center",
    "run of 500 steps": "/runs/LONG",
    "studies": "/studies",
    "study of 10,000 trials": "/studies/STUDY",
    "study, rows": "/studies/STUDY/part/rows?sort=seconds",
    "study, trial": "/studies/STUDY/part/trial?trial=77",
    "cluster": "/cluster",
    "compare": "/compare?runs=RUN,RUN2,RUN3",
    "search": "/search?q=crowd",
    "search, a run": "/search?q=crowd%2350",
}
API = {
    "me": "/me",
    "pipelines": "/pipelines",
    "pipeline": "/pipelines/benchmarks/crowd",
    "runs": "/runs",
    "runs, 10": "/runs?limit=10",
    "runs, failed": "/runs?status=failed",
    "runs, of a pipeline": "/runs?project=benchmarks&pipeline=crowd",
    "runs, failed of a pipeline": "/runs?project=benchmarks&pipeline=crowd&status=failed,aborted",
    "runs, of a rare pipeline": "/runs?pipeline=track",
    "runs, tag": "/runs?tag=nightly",
    "runs, by duration": "/runs?sort=-seconds",
    "runs, by number": "/runs?sort=number",
    "runs, by pipeline": "/runs?sort=pipeline",
    "runs, by status": "/runs?sort=status",
    "runs, of a study": "/runs?study=STUDY",
    "runs, page 20": "/runs?cursor=CURSOR",
    "run": "/runs/RUN",
    "run by name": "/runs/LABEL",
    "run, steps": "/runs/RUN/steps",
    "run, step": "/runs/RUN/steps/fit",
    "run, graph": "/runs/RUN/graph",
    "run, metrics": "/runs/RUN/metrics",
    "run, artifacts": "/runs/RUN/artifacts",
    "run, why": "/runs/RUN/why",
    "run, console": "/runs/RUN/console",
    "run, source": "/runs/RUN/source",
    "studies": "/studies",
    "study": "/studies/STUDY",
    "study, best": "/studies/STUDY/best",
    "trials of 10,000": "/studies/STUDY/trials",
    "trials past 9,900": "/studies/STUDY/trials?after=9899",
    "queues": "/queues",
    "agents": "/agents",
    "events": "/events",
    "events, 500": "/events?after=1000",
    "records: tasks": "/records/tasks?kind=pipeline&top=true",
    "records: called": "/records/called?reference=LABEL",
    "records: children": "/records/children?run=RUN",
}
ROUTES = {f"page: {name}": path for name, path in PAGES.items()} | {
    f"api: {name}": f"/api/v1{path}" for name, path in API.items()
}
FLOOR = "floor"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routes", description=__doc__)
    parser.add_argument("routes", nargs="*", metavar="ROUTE", help="only those whose names hold one of these texts")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--store", default="sqlite", help="sqlite, postgresql, or the URL of an empty database")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--home", type=Path, help="where the runs are, or are to be, recorded (default: thrown away)")
    parser.add_argument("--json", action="store_true", help="print JSON lines instead of a table")
    options = parser.parse_args()
    with ExitStack() as stack:
        home = options.home or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpo-bench-")))
        home.mkdir(parents=True, exist_ok=True)
        os.environ.update(HPO_HOME=str(home), MLFLOW_TRACKING_URI="")
        if options.store != "sqlite":
            os.environ["HPO_STORE"] = stack.enter_context(_database(options.store))
        names = recorded(options.runs, options.trials)
        url, server = stack.enter_context(served("benchmarks.served"))
        chosen = {name: path for name, path in ROUTES.items() if _is_meant(name, options.routes)}
        for row in measured(url, server, chosen, names, options.rounds):
            print(json.dumps(row) if options.json else _line(row), flush=True)


def _is_meant(name: str, texts: list[str]) -> bool:
    return not texts or any(text in name for text in texts)


@contextmanager
def _database(store: str) -> Iterator[str]:
    if store != "postgresql":
        yield store
        return
    from tests.services import Postgresql

    server = Postgresql()
    try:
        server.start()
        yield server.url
    finally:
        server.remove()


def recorded(runs: int, trials: int) -> dict[str, str]:
    """What stands for the words in capitals in the paths; what is recorded already is taken as it is."""
    from benchmarks.runs import long_run, many_runs
    from benchmarks.trials import many_trials
    from hpo_pipelines import Study, Workspace
    from hpo_pipelines.errors import StudyError
    from hpo_pipelines.store import TaskFilter
    from hpo_pipelines.types import Kind

    with Workspace() as workspace:
        try:
            study = Study.called(workspace, f"crowd-{trials}")
        except StudyError:
            began = time.perf_counter()
            many_runs(workspace, runs)
            study = many_trials(workspace, trials, name=f"crowd-{trials}")
            long_run(workspace, 500)
            print(json.dumps({"recorded": runs, "seconds": round(time.perf_counter() - began, 1)}), flush=True)
        where = TaskFilter(kind=Kind.PIPELINE, project="benchmarks", pipeline="grown", top=True)
        some = workspace.store.tasks.list(where, limit=3)
        long = workspace.store.tasks.list(TaskFilter(kind=Kind.PIPELINE, pipeline="ranks"), limit=1)
        return {
            "STUDY": study.id, "RUN3": some[2].id, "RUN2": some[1].id, "RUN": some[0].id, "LONG": long[0].id,
            "LABEL": quote(f"grown#{some[0].number}", safe=""),
        }  # fmt: skip


@contextmanager
def served(module: str, *arguments: str) -> Iterator[tuple[str, psutil.Process]]:
    """The server of ``module`` in a process of its own: its URL, and the process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"], psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


@dataclass
class Cost:
    """What the requests of one route took."""

    status: int = 0
    size: int = 0
    milliseconds: list[float] = field(default_factory=list)
    cpu: float = 0.0


def measured(
    url: str, server: psutil.Process, routes: dict[str, str], names: dict[str, str], rounds: int
) -> list[dict[str, Any]]:
    """One row for each of ``routes`` and the floor; the first two rounds, which fill caches, do not count."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)
    names = {"CURSOR": _cursor(connection), **names} if any("CURSOR" in path for path in routes.values()) else names
    paths = {FLOOR: "/floor", **{name: _filled(path, names) for name, path in routes.items()}}
    costs = {name: Cost() for name in paths}
    for round in range(rounds + 2):
        for name, path in paths.items():
            for _ in range(5 if name == FLOOR else 1):
                _ask(connection, server, path, costs[name] if round > 1 else Cost())
    floor = statistics.median(costs[FLOOR].milliseconds)
    return [_row(name, cost, floor) for name, cost in costs.items()]


def _ask(connection: http.client.HTTPConnection, server: psutil.Process, path: str, cost: Cost) -> bytes:
    before, began = server.cpu_times(), time.perf_counter()
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    body = answer.read()
    cost.milliseconds.append(1e3 * (time.perf_counter() - began))
    after = server.cpu_times()
    cost.cpu += 1e3 * (after.user - before.user + after.system - before.system)
    cost.status, cost.size = answer.status, len(body)
    return body


def _cursor(connection: http.client.HTTPConnection) -> str:
    """Where page 20 of the runs begins."""
    cursor = ""
    for _ in range(19):
        connection.request("GET", f"/api/v1/runs{cursor and '?cursor='}{cursor}")
        cursor = json.loads(connection.getresponse().read())["next"]
    return cursor


def _filled(path: str, names: dict[str, str]) -> str:
    return re.sub("[A-Z]{3,}[0-9]?", lambda word: names[word[0]], path)


def _row(name: str, cost: Cost, floor: float) -> dict[str, Any]:
    median = statistics.median(cost.milliseconds)
    ordered = sorted(cost.milliseconds)
    return {
        "route": name,
        "status": cost.status,
        "p50_ms": round(median, 2),
        "p95_ms": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 2),
        "of_floor": round(median / floor, 1),
        "cpu_ms": round(cost.cpu / len(ordered), 1),
        "bytes": cost.size,
    }


def _line(row: dict[str, Any]) -> str:
    return "  ".join(
        [f"{row['route']:32}", f"{row['status']}", f"p50 {row['p50_ms']:8.2f} ms", f"p95 {row['p95_ms']:8.2f} ms",
         f"x{row['of_floor']:6.1f}", f"cpu {row['cpu_ms']:7.1f} ms", f"{row['bytes']:8} bytes"]
    )  # fmt: skip


if __name__ == "__main__":
    main()
