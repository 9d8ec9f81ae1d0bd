"""An MLflow server on loopback, for steps that use MLflow themselves and for a person's browser.

The socket is open before MLflow is imported: whoever connects waits for the few seconds until it answers.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from types import TracebackType
from urllib.parse import urlsplit

from hpo_pipelines.errors import ConfigError, TrackingError
from hpo_pipelines.settings import Settings
from hpo_pipelines.tracking.backend import Backend
from hpo_pipelines.tracking.process import ChildProcess, Message

START_SECONDS = 90.0


class MlflowServer:
    """Serves the backend of ``settings`` on ``host`` while this process lives; a context manager.

    One process, started with the first look at ``uri``. Where the tracking URI is itself a server's, that one is used
    and none is started. Raises ConfigError for tracking that is off, and for a port that is taken.
    """

    def __init__(self, settings: Settings, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.backend = Backend.of(settings)
        self._settings = settings
        self._place = host, port
        self._socket: socket.socket | None = None
        self._uri = self.backend.uri
        self._child: ChildProcess | None = None
        self._lock = threading.Lock()

    @property
    def uri(self) -> str:
        """The tracking URI to give to MLflow's clients. They may use it at once."""
        self.start()
        return self._uri

    def start(self) -> None:
        """Open the socket and start the process, without waiting for it. Does nothing the second time."""
        with self._lock:
            if self.backend.is_http or self._child is not None:
                return
            self._socket = _listening(*self._place)
            host, port = self._socket.getsockname()[:2]
            self._uri = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            self._child = ChildProcess("server", self._settings, self._heard, files=[self._socket.fileno()])
            self._child.start()

    def wait(self, timeout: float = START_SECONDS) -> None:
        """Return when MLflow answers. Raises TrackingError when it does not within ``timeout`` seconds."""
        self._get("/health", timeout)

    def page(self, run: str | None = None, *, timeout: float = START_SECONDS) -> str:
        """The address of MLflow's pages for a browser; of one of its runs, by id, when ``run`` is given.

        It asks MLflow for the run's experiment, so it waits for the server. Raises TrackingError.
        """
        # MLflow's pages open in a mode for language models, which hides runs, unless the address says otherwise.
        mode = "workflowType=machine_learning"
        if run is None:
            return f"{self.uri}/#/experiments?{mode}"
        answer = json.loads(self._get(f"/api/2.0/mlflow/runs/get?run_id={run}", timeout))
        experiment = answer["run"]["info"]["experiment_id"]
        return f"{self.uri}/#/experiments/{experiment}/runs/{run}?{mode}"

    def problem(self) -> str | None:
        """Why the server is down for good, None while it is not."""
        return self._child.problem if self._child is not None else None

    def join(self) -> None:
        """Wait until the server ends."""
        if self._child is not None:
            self._child.join()

    def stop(self, timeout: float = 5.0) -> bool:
        """End the server; returns whether it has ended within ``timeout`` seconds."""
        with self._lock:
            if self._child is None:
                return True
            self._child.leave()
            self._close()
        return self._child.join(timeout)

    def _heard(self, message: Message) -> None:
        if "down" in message:
            # Nobody answers any more: let clients be refused at once instead of waiting.
            self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _get(self, path: str, timeout: float) -> bytes:
        """The answer of MLflow to a GET. Raises TrackingError for anything else than a success."""
        uri = urlsplit(self.uri)
        kind = http.client.HTTPSConnection if uri.scheme == "https" else http.client.HTTPConnection
        deadline = time.monotonic() + timeout
        while True:
            connection = kind(uri.hostname or "", uri.port, timeout=max(0.1, deadline - time.monotonic()))
            try:
                connection.request("GET", f"{uri.path}{path}")
                response = connection.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException) as error:
                # A process that crashed while it started is started again, and takes the next connection.
                if time.monotonic() < deadline and self._child is not None and not self._child.problem:
                    time.sleep(0.1)
                    continue
                raise self._unreachable(error) from error
            finally:
                connection.close()
            if response.status >= 400:
                raise self._unreachable(f"{response.status} {body[:200].decode('utf-8', 'replace')}")
            return body

    def _unreachable(self, reason: object) -> TrackingError:
        cure = (
            f"See {self._child.log}."
            if self._child is not None
            else "Start it, or set MLFLOW_TRACKING_URI to one that runs."
        )
        return TrackingError(f"MLflow at {self.backend.shown} does not answer: {reason}. {cure}")

    def __enter__(self) -> MlflowServer:
        self.start()
        return self

    def __exit__(
        self, cls: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(256)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"MLflow cannot be served on {host}:{port}: {error.strerror}. Choose another port."
        ) from error
    return listening
