"""Inside a step that uses MLflow: its calls land in the MLflow run of that step, and nothing of it in the next one.

MLflow keeps the active run, the tracking URI, the experiment and what autolog is on for as long as the process lives,
and a worker process runs many steps.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hpo_pipelines.errors import TrackingError

STEP_VARIABLE = "HPO_MLFLOW_STEP"
"""Says what :func:`step_run` has to know, as JSON: ``name``, ``experiment``, ``place`` of its artifacts, ``tags``."""


@contextmanager
def step_run() -> Iterator[None]:
    """Make the MLflow run that ``$HPO_MLFLOW_STEP`` describes, and have it take what the block logs.

    Without that variable nothing happens. In the block

    * ``mlflow.log_…`` and every fit under autolog write into the step's run, also from other threads; so do models;
    * the first ``mlflow.start_run()`` gives the step's run, as it does under ``mlflow run``, further ones make runs
      nested in it;
    * another tracking URI or experiment that the block sets is respected.

    Raises TrackingError, with the cure, when MLflow does not answer at the start.
    """
    described = os.environ.get(STEP_VARIABLE)
    if not described:
        yield
        return
    import mlflow

    step = json.loads(described)
    with _restored(mlflow):
        uri = os.environ["MLFLOW_TRACKING_URI"]
        mlflow.set_tracking_uri(uri)
        client = mlflow.MlflowClient(uri)
        experiment, run = _open(client, step, uri)
        os.environ["MLFLOW_EXPERIMENT_ID"] = experiment
        os.environ["MLFLOW_RUN_ID"] = run
        status = "FAILED"
        try:
            with _StepRun(mlflow, uri, experiment, run).taking():
                yield
            status = "FINISHED"
        finally:
            mlflow.set_tracking_uri(uri)
            client.set_terminated(run, status)


def _open(client: Any, step: Mapping[str, Any], uri: str) -> tuple[str, str]:
    """The ids of the experiment and of the run that was made for the step."""
    try:
        experiment = _experiment(client, step["experiment"], step["place"])
        run = client.create_run(experiment, run_name=step["name"], tags=step["tags"])
    except Exception as error:
        raise TrackingError(
            f"the code of step {step['name']} uses MLflow, and MLflow at {uri} does not take its run: "
            f"{str(error).partition(chr(10))[0][:300]}. Make it reachable from the machine that runs the step "
            "(MLFLOW_TRACKING_URI), or turn tracking off (MLFLOW_TRACKING_URI= ) to leave it to the step."
        ) from error
    return experiment, str(run.info.run_id)


def _experiment(client: Any, name: str, place: str | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found = client.get_experiment_by_name(name)  # the mirror, or another step, was quicker
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


class _StepRun:
    """Leads MLflow's fluent calls to the run ``run`` for as long as :meth:`taking` lasts."""

    def __init__(self, mlflow: Any, uri: str, experiment: str, run: str) -> None:
        self._mlflow = mlflow
        self._fluent = mlflow.tracking.fluent
        self._uri = uri
        self._experiment = experiment
        self._run = run
        self._given = False

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Within the block, and in the threads it starts, a run that MLflow would begin is the step's."""
        outer = self._mlflow.active_run()
        start_run = self._fluent.start_run
        # log_… calls the one when no run is active; people, and autolog, call the other.
        self._fluent.start_run = self._implicit(start_run)
        self._mlflow.start_run = self._explicit(start_run)
        log_model = vars(self._mlflow.models.Model)["log"]
        self._mlflow.models.Model.log = self._modelled(log_model)
        if outer is not None:  # a notebook's own run, and a step that runs in its process
            start_run(run_id=self._run, nested=True)
        try:
            yield
        finally:
            while (active := self._mlflow.active_run()) is not None and active is not outer:
                self._mlflow.end_run()
            self._fluent.start_run = self._mlflow.start_run = start_run
            self._mlflow.models.Model.log = log_model

    def _implicit(self, start_run: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(start_run)
        def start(*args: Any, **options: Any) -> Any:
            self._arm(self._is_here())
            return start_run(*args, **options)

        return start

    def _explicit(self, start_run: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(start_run)
        def start(*args: Any, **options: Any) -> Any:
            tags = options.get("tags") or {}
            ours = self._is_here() and not args and not {"run_id", "experiment_id", "parent_run_id"} & set(options)
            ours = ours and self._mlflow.active_run() is None
            again = ours and self._given and "mlflow.autologging" not in tags
            self._arm(ours and not again)
            if again:
                options["parent_run_id"] = self._run
            elif ours and "mlflow.autologging" not in tags:
                self._given = True
            return start_run(*args, **options)

        return start

    def _modelled(self, log: Any) -> Any:
        """``Model.log`` with the step's run as that of the model: without an active run MLflow gives a model none."""

        @functools.wraps(log.__func__)
        def of_this_run(cls: type, *args: Any, **options: Any) -> Any:
            if options.get("run_id") is None and self._mlflow.active_run() is None and self._is_here():
                options["run_id"] = self._run
            return log.__func__(cls, *args, **options)

        return classmethod(of_this_run)

    def _is_here(self) -> bool:
        """Whether what is begun now would go where the step's run is."""
        experiment = self._fluent._active_experiment_id
        return self._mlflow.get_tracking_uri() == self._uri and experiment in (None, self._experiment)

    def _arm(self, armed: bool) -> None:
        # start_run resumes the run that this names, and takes the variable away.
        if armed:
            os.environ["MLFLOW_RUN_ID"] = self._run
        else:
            os.environ.pop("MLFLOW_RUN_ID", None)


@contextmanager
def _restored(mlflow: Any) -> Iterator[None]:
    """Leave MLflow, and the variables it reads and writes, as they were."""
    from mlflow.utils.autologging_utils import AUTOLOGGING_INTEGRATIONS as autologging

    variables = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
    experiment, uri = mlflow.tracking.fluent._active_experiment_id, mlflow.get_tracking_uri()
    configured = {name: dict(options) for name, options in autologging.items()}
    mlflow.tracking.fluent._active_experiment_id = None
    try:
        yield
    finally:
        mlflow.tracking.fluent._active_experiment_id = experiment
        mlflow.set_tracking_uri(None if uri == variables.get("MLFLOW_TRACKING_URI") else uri)
        if autologging.get("mlflow", {}) != configured.get("mlflow", {}):
            # Also for libraries that are not imported yet, which it is waiting for.
            mlflow.autolog(disable=True, silent=True)
        for name, options in autologging.items():
            options.clear()  # empty is off, and as if it had never been on
            options.update(configured.get(name, {}))
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            if name not in variables:
                del os.environ[name]
        os.environ.update(variables)
