"""Models in the registry of a real MLflow, by what promotes a trial."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import promoted

from hpo_pipelines import Categorical, StudyError, TaskNotFound, TrackingError, Workspace, optimize

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

LOAD = """
import json, sys, mlflow, numpy
mlflow.set_tracking_uri(sys.argv[1])
x = numpy.arange(4.0).reshape(2, 2)
found = {uri: numpy.asarray(mlflow.pyfunc.load_model(uri).predict(x)).tolist() for uri in sys.argv[2:]}
ours = [name for name in sys.modules if name.startswith(("hpo_pipelines", "samples"))]
print(json.dumps([found, ours]))
"""


@pytest.fixture(scope="module")
def tracked(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI")
        home = tmp_path_factory.mktemp("registry")
        shutil.copy(template, home / "mlflow.db")
        with Workspace(home=home) as opened:
            yield opened


def _predicted(place: Workspace, *uris: str) -> dict[str, Any]:
    """What models predict that a process loads which has none of our modules."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD, place.settings.tracking_uri, *uris],
        cwd=place.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, ours = json.loads(done.stdout.splitlines()[-1])
    assert ours == []
    return dict(found)


def test_outputs_are_registered_and_predict_anywhere(tracked: Workspace) -> None:
    from mlflow import MlflowClient

    study = optimize(
        promoted.modelled, {"alpha": Categorical([0.5, 5.0])}, "fitted.error", "minimize", sampler="grid",
        executor="inline", progress=False, workspace=tracked, name="registered",
    )  # fmt: skip
    run = study.promote(register="churn", output="fitted.model")
    assert run.tags == ("promoted", "model=churn/1")
    assert study.promote(1, register="churn", output="final").tags == ("promoted", "model=churn/2")

    predicted = _predicted(tracked, "models:/churn/1", "models:/churn/2")
    x = np.arange(4.0).reshape(2, 2)
    model = study.best_run.steps["fitted"].outputs["model"]
    np.testing.assert_allclose(predicted["models:/churn/1"], model.predict(x))
    np.testing.assert_allclose(predicted["models:/churn/2"], promoted.shifted(x) * 5.0)

    version = MlflowClient(tracked.settings.tracking_uri).get_model_version("churn", "1")
    assert version.tags == {
        "hpo.study": "registered",
        "hpo.study_id": study.id,
        "hpo.trial": "0",
        "hpo.trial_run": study.best_run.label,
        "hpo.run": run.label,
        "hpo.task": run.id,
        "hpo.snapshot": run.task.snapshot,
        "hpo.objective.fitted.error": repr(study.best_value),
    }
    shown = MlflowClient(tracked.settings.tracking_uri).get_run(version.run_id)
    assert shown.data.tags["hpo.task"] == run.id

    runs = len(tracked.store.tasks.list(limit=None))
    for output, error, said in (
        ("fitted.mode", TaskNotFound, "has no output 'fitted.mode'; it has final, alpha, fitted.model"),
        ("alpha", StudyError, "is float, which neither has a predict method"),
        (None, StudyError, "no step of modelled#1 logged a model into MLflow: .*fitted.model"),
    ):
        with pytest.raises(error, match=said):
            study.promote(register="churn", output=output)
    with pytest.raises(TrackingError, match="MLflow refuses the model name 'a/b'"):
        study.promote(register="a/b", output="fitted.model")
    assert len(tracked.store.tasks.list(limit=None)) == runs  # each was seen before anything ran


def test_a_model_that_a_step_logged_is_taken(tracked: Workspace) -> None:
    study = optimize(
        promoted.logging, {"alpha": Categorical([0.5, 5.0])}, "logged.error", "minimize", sampler="grid",
        executor="local", progress=False, workspace=tracked, name="logging",
    )  # fmt: skip
    assert study.promote(register="ridge").tags == ("promoted", "model=ridge/1")
    expected = promoted.Ridge(alpha=0.5).fit(promoted.X, promoted.Y).predict(np.arange(4.0).reshape(2, 2))
    np.testing.assert_allclose(_predicted(tracked, "models:/ridge/1")["models:/ridge/1"], expected)
