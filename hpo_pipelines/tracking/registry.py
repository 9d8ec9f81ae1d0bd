"""MLflow's model registry: what a run made, logged as a model and registered with where it came from."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_pipelines.errors import TrackingError
from hpo_pipelines.tracking.backend import Backend
from hpo_pipelines.tracking.contents import TASK_TAG

if TYPE_CHECKING:
    from hpo_pipelines.settings import Settings


@dataclass(frozen=True)
class Registered:
    """A version of a model in MLflow's registry."""

    name: str
    version: str
    model_id: str
    """Of the logged model that the version is."""

    @property
    def uri(self) -> str:
        """What ``mlflow.pyfunc.load_model`` takes."""
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True)
class Logged:
    """A model that MLflow has: its id, its name, and the MLflow run that logged it."""

    model_id: str
    name: str
    run_id: str


class Registry:
    """The registry of the backend that ``settings`` name. Imports MLflow, which takes seconds.

    Raises ConfigError where tracking is off. Whatever MLflow raises is raised as TrackingError.
    """

    def __init__(self, settings: Settings) -> None:
        backend = Backend.of(settings)
        with _variables_kept():
            self._asked(backend.prepare)
            from mlflow import MlflowClient

        self._client = MlflowClient(backend.uri, backend.uri)

    def make(self, name: str) -> None:
        """Have a registered model called ``name``, made now if there is none: a name that MLflow refuses is said."""
        from mlflow.exceptions import MlflowException

        try:
            with _quietly():
                self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise _said(error, f"MLflow refuses the model name {name!r}") from None

    def logged_by(self, run_id: str, steps: Sequence[str]) -> list[Logged]:
        """The models that these steps of ours logged by themselves, oldest first; beside the MLflow run ``run_id``."""
        experiment = str(self._asked(self._client.get_run, run_id).info.experiment_id)
        runs: list[str] = []
        for step in steps:
            found = self._asked(self._client.search_runs, [experiment], f"tags.`{TASK_TAG}` = '{step}'")
            runs += [str(run.info.run_id) for run in found]
        models = []
        for run in runs:
            models += self._asked(self._client.search_logged_models, [experiment], f"source_run_id = '{run}'")
        models.sort(key=lambda model: model.creation_timestamp)
        return [Logged(model.model_id, model.name, str(model.source_run_id)) for model in models]

    def log(
        self, value: Any, name: str, run_id: str, *, requirements: Sequence[str], saving: AbstractContextManager[object]
    ) -> Logged:
        """Log ``value`` as a model of the MLflow run ``run_id``: scikit-learn's of its flavour, any other as a pyfunc.

        ``requirements`` are what loading it needs, as pip takes them; in ``saving`` it is pickled. ``value`` predicts:
        by ``predict``, or by being called.
        """
        experiment = str(self._asked(self._client.get_run, run_id).info.experiment_id)
        name = re.sub(r"[/:.%\"']", "_", name)  # what MLflow has in no name
        with tempfile.TemporaryDirectory(prefix="hpo-model-") as folder:
            path = Path(folder, "model")
            with saving:
                self._asked(_saved, value, str(path), list(requirements))
            model = self._asked(self._client.create_logged_model, experiment, name=name, source_run_id=run_id)
            self._asked(self._client.log_model_artifacts, model.model_id, str(path))
        self._asked(self._client.finalize_logged_model, model.model_id, "READY")
        return Logged(model.model_id, name, run_id)

    def register(self, model: Logged, name: str, run_id: str, tags: Mapping[str, str]) -> Registered:
        """A new version of the registered model ``name``: ``model``, of the MLflow run ``run_id``."""
        version = self._asked(
            self._client.create_model_version,
            name,
            # Not models:/…, which MLflow looks up in whatever the process uses it with elsewhere.
            str(self._asked(self._client.get_logged_model, model.model_id).artifact_location),
            run_id=run_id,
            tags=dict(tags),
            model_id=model.model_id,
        )
        return Registered(name, str(version.version), model.model_id)

    @staticmethod
    def _asked(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            with _quietly():
                return call(*arguments, **options)
        except Exception as error:
            raise _said(error, "MLflow does not take the model") from error


@contextmanager
def _variables_kept() -> Iterator[None]:
    """Leave the environment as it was: this is the user's process, with a use of MLflow of its own perhaps."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without MLflow's notes on pickles, type hints and versions of pip, which nobody who registers can act on."""
    log = logging.getLogger("mlflow")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        # Recorded rather than ignored: some it shows once whatever the filters are.
        with warnings.catch_warnings(record=True):
            yield
    finally:
        log.setLevel(level)


def _said(error: Exception, what: str) -> TrackingError:
    return TrackingError(f"{what}: {str(error).partition(chr(10))[0][:300]}")


def predicts(value: Any) -> bool:
    """Whether ``value`` can be a model: it has a ``predict``, or can be called."""
    return callable(getattr(value, "predict", None)) or callable(value)


def _saved(value: Any, path: str, requirements: list[str]) -> None:
    base = sys.modules.get("sklearn.base")
    if base is not None and isinstance(value, base.BaseEstimator):
        import mlflow.sklearn

        # Not skops, the default: it holds no function or class of the user's own.
        how = mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE
        mlflow.sklearn.save_model(value, path, serialization_format=how, pip_requirements=requirements)
        return
    import mlflow.pyfunc

    mlflow.pyfunc.save_model(path, python_model=_python_model(value), pip_requirements=requirements)


def _python_model(value: Any) -> Any:
    """``value`` as MLflow loads it. Its class stands in here so that it is pickled by value, and loads without us."""
    from mlflow.pyfunc import PythonModel

    class Promoted(PythonModel):  # type: ignore[misc]
        def __init__(self, value: Any) -> None:
            self.value = value

        # Without annotations: MLflow takes them for the schema of what is predicted.
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            predict = getattr(self.value, "predict", None)
            return predict(model_input) if callable(predict) else self.value(model_input)

    return Promoted(value)
