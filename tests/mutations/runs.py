"""Runs pipelines of small projects, each in a fresh process: this one imports what all of them need, and forks.

Reads a request a line from its standard input and writes an answer a line, both JSON. A request has ``project`` (the
folder of flow.py), ``site`` (a folder of installed distributions), ``home`` ($HPO_HOME), ``step`` and ``params``; see
:class:`mutations.harness.Outcome` for the answer, or ``error`` with a traceback.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import tempfile
import threading
import traceback
from typing import Any

import pandas as pd

import hpo_pipelines.canonical.arrow
import hpo_pipelines.canonical.frames  # noqa: F401 - imported once, before the forks
from hpo_pipelines import Workspace, component, pipeline


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Import flow.py, run its pipeline, and say what became of the step."""
    sys.path[:0] = [request["project"], request["site"]]
    os.chdir(request["project"])
    flow = importlib.import_module("flow").flow
    with Workspace(home=request["home"]) as workspace:
        done = flow.run(executor="inline", workspace=workspace, **request["params"])
        step = done.steps[request["step"]]
        entries = workspace.store.cache.list(step.component)
        made_by = step.reused_from or step.id
        entry = next((entry for entry in entries if entry.task == made_by), None)
        return {
            "status": str(done.status),
            "reused": step.reused_from is not None,
            "reason": step.reason,
            "parts": None if entry is None else entry.parts,
        }


def answer(request: dict[str, Any], pipe: int) -> None:
    """In a child: write the answer into ``pipe`` and end."""
    try:
        found = run(request)
    except BaseException:  # noqa: BLE001 - whatever a project raises is the answer
        found = {"error": traceback.format_exc()}
    with os.fdopen(pipe, "w") as file:
        json.dump(found, file)
    sys.stdout.flush()
    os._exit(0)


@component
def one() -> pd.DataFrame:
    return pd.DataFrame({"a": ["b"]})


@pipeline
def warm() -> pd.DataFrame:
    return one()


def prepare(home: str) -> None:
    """Run something once, so that what is read, compiled and imported for the first run is so before the forks.

    Leaves an empty store in ``home``.
    """
    with Workspace(home=home):
        pass
    with tempfile.TemporaryDirectory() as folder, Workspace(home=folder) as workspace:
        for _ in range(2):
            warm.run(executor="inline", workspace=workspace)
    for thread in threading.enumerate():  # A fork takes along the locks of threads, not the threads.
        if thread is not threading.main_thread():
            thread.join()
    gc.collect()
    gc.freeze()
    gc.disable()  # A collection would copy every page that the fork shares.


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What a project prints is no answer.
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            answer(json.loads(line), writing)
        os.close(writing)
        with os.fdopen(reading) as file:
            found = file.read()
        os.waitpid(child, 0)
        answers.write((found or json.dumps({"error": "the process died without an answer"})) + "\n")
        answers.flush()


if __name__ == "__main__":
    sys.dont_write_bytecode = True  # Two edits within a second leave bytecode that looks current.
    prepare(sys.argv[1])
    main()
