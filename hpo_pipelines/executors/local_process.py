"""One worker process of the local executor, as its driver sees it."""

from __future__ import annotations

import contextlib
import json
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from multiprocessing.connection import Connection
from typing import Any

from hpo_pipelines.executors import processes
from hpo_pipelines.types import Environment

_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from hpo_pipelines.executors.local_worker import main; main(int(sys.argv[2]))"
)


class WorkerProcess:
    """A worker and our end of its pipe.

    ``snapshot`` is the code that it has loaded, empty at first, and ``environment`` that of its last step; ``running``
    is whatever its owner gave it to do.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        # What it prints outside of steps, such as why it could not start.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        with theirs:
            self.process = subprocess.Popen(
                # -P: a types.py in the working folder must not stand in for the library's before sys.path is set.
                [sys.executable, "-P", "-c", _BOOTSTRAP, json.dumps(sys.path), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                # Ctrl-C in the terminal is for the driver, which decides what becomes of the steps.
                start_new_session=True,
            )
        self.connection = Connection(ours.detach())
        self.snapshot = ""
        self.environment: Environment | None = None
        self.running: Any = None
        self._sending = threading.Lock()

    def send(self, kind: str, payload: Any) -> None:
        """Send ``("run", assignment)`` or ``("cancel", attempt)``; from any thread."""
        data = pickle.dumps((kind, payload), protocol=5)
        with self._sending, contextlib.suppress(OSError):
            # If it has died, whoever reads our end sees the end of the pipe and says so.
            self.connection.send_bytes(data)

    def end(self) -> str:
        """Kill the process, if it still runs, and all that it started; returns how it died, for a person."""
        if self.process.poll() is None:
            processes.kill_tree(self.process.pid)
        else:
            processes.kill_session(self.process.pid)
        with self._sending:
            self.connection.close()
        code = self.process.wait()
        with self._log:
            return self._death(code)

    def _death(self, code: int) -> str:
        if code < 0:
            return f"its process was killed by signal {-code} ({signal.strsignal(-code)})"
        self._log.seek(0)
        words = self._log.read()[-2000:].decode("utf-8", "replace").strip()
        return f"its process exited with code {code}" + (f": {words}" if words else "")
