"""Imports MLflow once, then forks a mirror for each line of its input: ``seconds batch``; prints how each one ended.

``python zygote.py HOME TIER``: a mirror, which writes through MLflow's ``client`` or into its ``tables``, runs until it
has caught up, or is killed with SIGKILL after ``seconds``. Lines of several such pairs start as many mirrors at once.
``0`` seconds kills nobody.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import replace

import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  what a mirror would import first

from hpo_pipelines.settings import Settings
from hpo_pipelines.store import Store
from hpo_pipelines.tracking import schema
from hpo_pipelines.tracking.backend import Backend
from hpo_pipelines.tracking.base import Follower, Pace
from hpo_pipelines.tracking.mlflow import MlflowMirror


def mirror(batch: int) -> None:
    settings = replace(Settings.load(sys.argv[1]), tracking_step_runs="always")
    store = Store.open(settings.store)
    backend = Backend.of(settings)
    target = MlflowMirror(store, backend, step_runs="always", holds=lambda: follower.holds())
    follower = Follower(store, backend.follower, target.take, pace=Pace(batch=batch, linger=0.02, backoff=0.02))
    last = store.events.last()
    # None while another one follows: it may finish, or be killed.
    while follower.cursor is None or follower.cursor < last:
        time.sleep(follower.turn())
    follower._release()


def start(batch: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        mirror(batch)
        code = 0
    finally:
        os._exit(code)


def main() -> None:
    if sys.argv[2] == "client":
        schema.RELEASES = ()
    print("ready", flush=True)
    for line in sys.stdin:
        words = line.split()
        pairs = list(zip(words[::2], words[1::2], strict=True))
        mirrors = [(start(int(batch)), float(seconds)) for seconds, batch in pairs]
        killers = [threading.Timer(seconds, os.kill, (pid, signal.SIGKILL)) for pid, seconds in mirrors if seconds]
        for killer in killers:
            killer.start()
        # Not reaped yet, so that a killer that comes too late meets nobody else under that number.
        for pid, _ in mirrors:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        for killer in killers:
            killer.cancel()
            killer.join()
        print(*[os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid, _ in mirrors], flush=True)


if __name__ == "__main__":
    main()
