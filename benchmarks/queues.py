"""``python -m benchmarks.queues [--runs N] [--store URL]``: what waiting in queues costs.

How many runs agents can take a second, one and eight at a time; how long from ``enqueue`` to the start of the first
step; N (1,000) three-step runs by one agent on two CPUs, with what it takes of memory; and the memory of a controller
that waits.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

CLAIMER = """
import json, sys, time
from hpo_pipelines import Workspace
from hpo_pipelines.agent import Agent

with Workspace() as workspace:
    agent = Agent(workspace, ["default"])
    print("ready", flush=True)
    sys.stdin.readline()
    taken, began = 0, time.perf_counter()
    while (entry := agent._waiting()) is not None:
        taken += 1
    print(json.dumps({"taken": taken, "seconds": time.perf_counter() - began}), flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queues", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--store", help="URL of an empty PostgreSQL database (default: SQLite)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hpo-bench-", ignore_cleanup_errors=True) as home:
        os.environ.update(HPO_HOME=home, MLFLOW_TRACKING_URI="", HPO_LOCAL_CPUS="2")
        if options.store:
            os.environ["HPO_STORE"] = options.store
        for case in (claims, latency, waiting, many):
            for row in case(options.runs, Path(home)):
                print(
                    json.dumps({name: round(v, 2) if isinstance(v, float) else v for name, v in row.items()}),
                    flush=True,
                )


def _enqueued(workspace: Any, count: int, queue: str, pipeline: Any, **params: Any) -> list[Any]:
    runs = [pipeline.draft(workspace=workspace, **params) for _ in range(count)]
    return [run.enqueue(queue=queue) for run in runs]


def claims(count: int, home: Path) -> list[dict[str, Any]]:
    """Runs taken a second, by one agent and by eight."""
    from benchmarks import pipelines
    from hpo_pipelines import Workspace

    rows = []
    with Workspace() as workspace:
        for agents in (1, 8):
            runs = _enqueued(workspace, count, "default", pipelines.trial)
            takers = [_python("-c", CLAIMER, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(agents)]
            for taker in takers:
                taker.stdout.readline()  # type: ignore[union-attr]
            for taker in takers:
                taker.stdin.write("go\n")  # type: ignore[union-attr]
                taker.stdin.flush()  # type: ignore[union-attr]
            told = [json.loads(taker.communicate()[0]) for taker in takers]
            taken, seconds = [one["taken"] for one in told], max(one["seconds"] for one in told)
            assert sum(taken) == count, taken
            rows.append({"case": "claims", "agents": agents, "runs_per_s": count / seconds, "most": max(taken)})
            for run in runs:
                run.abort()
    return rows


def latency(count: int, home: Path) -> list[dict[str, Any]]:
    """Milliseconds from ``enqueue`` to the start of the first step, by an agent that waits."""
    from benchmarks import pipelines
    from hpo_pipelines import Workspace

    agent = _agent("default", 8)
    found = []
    with Workspace() as workspace:
        for index in range(105):
            run = pipelines.trial.draft(workspace=workspace)
            began = time.time()
            run.enqueue(queue="default")
            run.wait(60)
            if index >= 5:
                found.append(1e3 * (min(step.task.started_at for step in run.steps.values()) - began))
    agent.terminate()
    agent.wait()
    return [{"case": "enqueue to first step", "median_ms": statistics.median(found), "p99_ms": sorted(found)[98]}]


def waiting(count: int, home: Path) -> list[dict[str, Any]]:
    """Kilobytes of an agent for each run whose body waits."""
    from benchmarks import pipelines
    from hpo_pipelines import Workspace

    gate = home / "gate"
    agent = _agent("default", 200)
    with Workspace() as workspace:
        _enqueued(workspace, 1, "default", pipelines.trial)[0].wait(60)
        before = psutil.Process(agent.pid).memory_info().rss
        runs = _enqueued(workspace, 200, "default", pipelines.held, gate=str(gate))
        _until(lambda: workspace.store.queues.counts().get("default") == (0, 200))
        _until(lambda: all(run.steps for run in runs))
        after = psutil.Process(agent.pid).memory_info().rss
        gate.touch()
        began = time.perf_counter()
        assert all(run.wait(120).status == "completed" for run in runs)
        ended = time.perf_counter() - began
    agent.terminate()
    agent.wait()
    return [{"case": "200 waiting controllers", "kb_each": (after - before) / 200 / 1e3, "all_ended_after_s": ended}]


def many(count: int, home: Path) -> list[dict[str, Any]]:
    """``count`` three-step runs, queued at once, by one agent with two CPUs."""
    from benchmarks import pipelines
    from hpo_pipelines import Status, Workspace

    with Workspace() as workspace:
        runs = _enqueued(workspace, count, "default", pipelines.trial)
        began = time.perf_counter()
        agent = _agent("default", 8)
        peak = 0
        while workspace.store.queues.counts().get("default"):
            peak = max(peak, psutil.Process(agent.pid).memory_info().rss)
            time.sleep(0.2)
        seconds = time.perf_counter() - began
        agent.terminate()
        agent.wait()
        statuses = [run.status for run in runs]
    completed = statuses.count(Status.COMPLETED)
    return [
        {
            "case": f"{count} three-step runs",
            "completed": completed,
            "lost": count - completed,
            "seconds": seconds,
            "runs_per_s": count / seconds,
            "agent_peak_mb": peak / 1e6,
        }
    ]


def _agent(queue: str, max_runs: int) -> subprocess.Popen[str]:
    return _python(
        "-m", "hpo_pipelines", "agent", "--queue", queue, "--max-runs", str(max_runs), "--executor", "local",
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _python(*arguments: str, **pipes: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, *arguments], env=environment, text=True, **pipes)


def _until(true: Any) -> None:
    while not true():
        time.sleep(0.05)


if __name__ == "__main__":
    main()
