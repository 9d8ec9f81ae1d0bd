"""``hpo import``."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from cli.conftest import BODIES, Hpo

pytestmark = pytest.mark.usefixtures("home")


def test_trials_of_optuna_become_runs(hpo: Hpo, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    study = optuna.create_study(study_name="old", storage=url)
    study.optimize(lambda trial: trial.suggest_int("a", 0, 9), n_trials=3)
    arguments = ("import", "optuna", url, "old", f"{BODIES}:simple", "--param", "x=a", "--param", "y=a")
    assert hpo(*arguments).out == "3 runs imported\n"
    assert hpo(*arguments).out == "0 runs imported; 3 already here\n"
    shown = hpo("show", "simple#1", "--json").document
    assert shown["status"] == "completed"
    assert shown["params"]["x"] == study.trials[0].params["a"]
    assert hpo("import", "optuna", url, "new", f"{BODIES}:simple").code == 18


def test_a_database_that_is_not_there_is_not_made(hpo: Hpo, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/absent.db"
    of_mlflow = hpo("import", "mlflow", "old", f"{BODIES}:simple", "--uri", uri)
    of_optuna = hpo("import", "optuna", uri, "old", f"{BODIES}:simple")
    assert (of_mlflow.code, of_optuna.code) == (17, 18)
    assert "there is no file" in of_mlflow.err
    assert "there is no file" in of_optuna.err
    assert not (tmp_path / "absent.db").exists()


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_runs_of_mlflow_become_runs(hpo: Hpo, tmp_path: Path) -> None:
    import mlflow

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = mlflow.MlflowClient(uri)
    experiment = client.create_experiment("old", artifact_location=str(tmp_path / "artifacts"))
    for number in range(3):
        run = client.create_run(experiment)
        client.log_param(run.info.run_id, "x", number)
        client.log_param(run.info.run_id, "y", 1)
        client.log_metric(run.info.run_id, "auc", number / 10)
        if number:
            client.set_terminated(run.info.run_id)
    arguments = ("import", "mlflow", "old", f"{BODIES}:simple", "--uri", uri)
    assert hpo(*arguments, "--filter", "metrics.auc > 0.15").out == "1 run imported\n"
    assert hpo(*arguments, "--json").document == {
        "runs": ["simple#2"],
        "known": 1,
        "left_out": {},
        "defaulted": [],
        "dropped": [],
    }
    assert hpo("show", "simple#2", "--json").document["params"] == {"x": 1, "y": 1}
    refused = hpo("import", "mlflow", "odl", f"{BODIES}:simple", "--uri", uri)
    assert (refused.code, "did you mean 'old'?" in refused.err) == (17, True)
