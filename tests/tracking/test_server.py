"""The MLflow server on loopback."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from hpo_pipelines.errors import ConfigError, TrackingError
from hpo_pipelines.settings import Settings
from hpo_pipelines.tracking.backend import Backend
from hpo_pipelines.tracking.server import MlflowServer
from hpo_pipelines.tracking.serving import environment, without_assistant

from .conftest import Shown


def get(uri: str, path: str, **headers: str) -> tuple[int, bytes]:
    parts = urlsplit(uri)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=90)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


# -- without MLflow


def test_a_server_of_the_users_is_used_itself(settings: Settings) -> None:
    with MlflowServer(replace(settings, tracking_uri="http://127.0.0.1:9/mlflow")) as server:
        assert server.uri == "http://127.0.0.1:9/mlflow"
        assert server.page() == "http://127.0.0.1:9/mlflow/#/experiments?workflowType=machine_learning"
        with pytest.raises(TrackingError, match=r"does not answer.*Start it"):
            server.wait(5.0)
        with pytest.raises(TrackingError):
            server.page("abc", timeout=5.0)
        assert server.problem() is None
        server.join()


def test_a_port_that_is_taken_is_refused_at_once(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: Address already in use. Choose another port"):
            MlflowServer(settings, port=port).start()


def test_tracking_that_is_off_has_no_server(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="tracking is off"):
        MlflowServer(replace(settings, tracking_uri=""))


def test_the_assistant_is_off() -> None:
    sent: list[Any] = []
    reached: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])

    async def send(message: Any) -> None:
        sent.append(message)

    app = without_assistant(inner)
    for path in ("/ajax-api/3.0/mlflow/assistant/chat", "/api/2.0/mlflow/runs/get"):
        asyncio.run(app({"type": "http", "path": path}, None, send))  # type: ignore[arg-type]
    assert reached == ["/api/2.0/mlflow/runs/get"]
    assert sent[0]["status"] == 403


# -- with MLflow


@pytest.fixture(scope="module")
def server(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    home = tmp_path_factory.mktemp("home")
    (home / "mlflow.db").write_bytes(template.read_bytes())
    server = MlflowServer(Settings.load(home, {}))
    # Its address is there before it is.
    assert server.uri.startswith("http://127.0.0.1:")
    server.wait()
    yield server
    assert server.stop(60.0)
    with pytest.raises(ConnectionRefusedError):
        get(server.uri, "/health")


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
class TestServing:
    def test_runs_can_be_written_and_linked_to(self, server: MlflowServer) -> None:
        client = Shown.at(server.uri).client
        experiment = client.create_experiment("retention/churn")
        run = client.create_run(experiment).info.run_id
        client.log_text(run, "hello", "hello.txt")
        home = server.backend.home
        assert list((home / "mlflow-artifacts").rglob("hello.txt"))
        link = f"{server.uri}/#/experiments/{experiment}/runs/{run}?workflowType=machine_learning"
        assert server.page(run) == link
        status, body = get(server.uri, f"/get-artifact?run_uuid={run}&path=hello.txt")
        assert (status, body) == (200, b"hello")

    def test_a_run_that_is_not_there_has_no_page(self, server: MlflowServer) -> None:
        with pytest.raises(TrackingError, match=r"404.*RESOURCE_DOES_NOT_EXIST"):
            server.page("0" * 32)

    def test_its_pages_are_there_and_its_assistant_is_not(self, server: MlflowServer) -> None:
        status, body = get(server.uri, "/")
        assert status == 200
        assert b"<title>MLflow</title>" in body
        assert get(server.uri, "/ajax-api/3.0/mlflow/assistant/config")[0] == 403

    def test_another_host_name_is_refused(self, server: MlflowServer) -> None:
        """A page of somebody else's, opened in the same browser, must not get in by a name that leads here."""
        assert get(server.uri, "/api/2.0/mlflow/experiments/search?max_results=1", Host="evil.example.com")[0] == 403

    def test_it_is_one_process_and_comes_back_when_it_dies(self, server: MlflowServer) -> None:
        assert server._child is not None
        assert server._child._process is not None
        running = psutil.Process(server._child._process.pid)
        assert running.children(recursive=True) == []
        os.kill(running.pid, signal.SIGKILL)
        # Who connects meanwhile waits for the next one.
        server.wait()
        assert server._child._process.pid != running.pid
        assert get(server.uri, "/health") == (200, b"OK")
        assert server.problem() is None


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_variables_are_those_of_this_mlflow(settings: Settings) -> None:
    from mlflow import environment_variables
    from mlflow.server import constants

    internal = {value for name, value in vars(constants).items() if name.endswith("_ENV_VAR")}
    for name in environment(Backend.of(settings)):
        assert name in internal or hasattr(environment_variables, name) or name.startswith("GIT_"), name
