"""One worker process of the local executor, as its driver sees it."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from typing import Any

from hpo_pipelines.executors import processes

_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from hpo_pipelines.executors.local_worker import main; main(int(sys.argv[2]))"
)


class WorkerProcess:
    """A worker and our end of its pipe. What it prints outside of steps goes to a file in ``folder``.

    ``snapshot`` is the code that it has loaded, empty at first; ``running`` is whatever its owner gave it to do.
    """

    def __init__(self, folder: str) -> None:
        ours, theirs = socket.socketpair()
        descriptor, self._log = tempfile.mkstemp(suffix=".log", dir=folder)
        with theirs, open(descriptor, "ab") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _BOOTSTRAP, json.dumps(sys.path), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                # Ctrl-C in the terminal is for the driver, which decides what becomes of the steps.
                start_new_session=True,
                # Python children of a step should be as easy to follow as the step itself.
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        self.connection = Connection(ours.detach())
        self.snapshot = ""
        self.running: Any = None

    def send(self, kind: str, payload: Any) -> None:
        """Send ``("run", assignment)`` or ``("cancel", attempt)``."""
        try:
            self.connection.send_bytes(pickle.dumps((kind, payload), protocol=5))
        except OSError:
            return  # it died; whoever reads our end sees the end of the pipe and says so

    def end(self) -> str:
        """Kill the process, if it still runs, and all that it started; returns how it died, for a person."""
        ours = self.process.poll() is None
        if ours:
            processes.kill_tree(self.process.pid)
        self.connection.close()
        return self._death(self.process.wait())

    def _death(self, code: int) -> str:
        if code < 0:
            return f"its process was killed by signal {-code} ({signal.strsignal(-code)})"
        with open(self._log, "rb") as file:
            words = file.read()[-2000:].decode("utf-8", "replace").strip()
        return f"its process exited with code {code}" + (f": {words}" if words else "")
