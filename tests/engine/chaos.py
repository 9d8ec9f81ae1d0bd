"""Forks drivers of one run and kills them, at a moment or at a commit of the store. Run as a script by its tests.

Lines of JSON come in, ``{"home", "folder", "run"?, "call"?, "executor", "after"?, "commit"?, "when"?}``: drive that run
on, or a new one of ``resuming.twelve``, or do what ``call`` (``module:function``) does with a workspace and the line;
and die after so many seconds, or before or after that commit. One line goes out for each: ``{"killed", "commits",
"seconds", "error"}``. What all drivers import is imported once.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from samples import resuming

from hpo_pipelines import Workspace
from hpo_pipelines.store.driver import Driver


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        _called(order)  # imports it
        reading, writing = os.pipe()
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _drive(order, writing)
        os.close(writing)
        with os.fdopen(reading) as told:
            said = json.loads(told.read() or "{}")
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        seconds = time.monotonic() - began
        print(json.dumps({"killed": killed, "seconds": seconds, **said}), flush=True)


def _drive(order: dict[str, Any], writing: int) -> None:
    said: dict[str, Any] = {"commits": 0, "error": None}
    try:
        _arm(order, said)
        with Workspace(home=order["home"]) as workspace:
            call = _called(order)
            if call is not None:
                call(workspace, order)
            elif order.get("run"):
                workspace.resume(order["run"])
            else:
                resuming.twelve.run(folder=order["folder"], executor=order["executor"], workspace=workspace)
    except BaseException:  # noqa: BLE001 - told to the test
        said["error"] = traceback.format_exc()
    os.write(writing, json.dumps(said).encode())
    os._exit(0)


def _called(order: dict[str, Any]) -> Callable[[Workspace, dict[str, Any]], object] | None:
    module, _, name = order.get("call", "").partition(":")
    return getattr(importlib.import_module(module), name) if module else None


def _arm(order: dict[str, Any], said: dict[str, Any]) -> None:
    plain = Driver.sql

    def sql(self: Driver, text: str) -> None:
        if text != "COMMIT":
            return plain(self, text)
        said["commits"] += 1
        here = said["commits"] == order.get("commit")
        if here and order["when"] == "before":
            _die()
        plain(self, text)
        if here:
            _die()
        return None

    Driver.sql = sql  # type: ignore[method-assign]
    if order.get("after") is not None:
        timer = threading.Timer(order["after"], _die)
        timer.daemon = True
        timer.start()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


if __name__ == "__main__":
    main()
