"""What a step that uses MLflow itself is given, so that its calls land in an MLflow run of its own."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping

from hpo_pipelines.settings import Settings
from hpo_pipelines.store import Store
from hpo_pipelines.task import Task
from hpo_pipelines.tracking.contents import ATTEMPT_TAG, PARENT_TAG, TASK_TAG
from hpo_pipelines.tracking.inside import STEP_VARIABLE
from hpo_pipelines.tracking.runs import OWN, is_run
from hpo_pipelines.tracking.server import MlflowServer


class StepTracking:
    """Hands out the environment of steps that use MLflow; the server that they need is started with the first."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._server: MlflowServer | None = None
        self._lock = threading.Lock()

    def step_variables(self, task: str, attempt: int, *, name: str, run: Task) -> Mapping[str, str]:
        """The variables for attempt number ``attempt`` of the step ``task``, called ``name``, of ``run``.

        Waits for nothing. Empty when tracking is off. The follower is told that the step makes its MLflow run itself.
        """
        if not self._settings.tracking_uri:
            return {}
        server = self._serving()
        follower = server.backend.follower
        enclosing = self._store.followers.mirrored(follower, run.id)
        self._store.followers.set_mirrored(follower, task, OWN)
        tags = {TASK_TAG: task, ATTEMPT_TAG: str(attempt), "hpo.kind": "step", "hpo.run": run.label}
        if enclosing is not None and is_run(enclosing):
            tags[PARENT_TAG] = enclosing
        step = {
            "name": name,
            "experiment": f"{run.project}/{run.pipeline}",
            "place": None if server.backend.is_http else server.backend.place(f"{run.project}/{run.pipeline}"),
            "tags": tags,
        }
        return {
            "MLFLOW_TRACKING_URI": server.uri,
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            STEP_VARIABLE: json.dumps(step),
        }

    def _serving(self) -> MlflowServer:
        with self._lock:
            if self._server is None:
                self._server = MlflowServer(self._settings)
            return self._server

    def close(self) -> None:
        """End the server, if one was started."""
        with self._lock:
            if self._server is not None:
                self._server.stop(timeout=0.0)
