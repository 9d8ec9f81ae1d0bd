"""``hpo mlflow``."""

from __future__ import annotations

import json
import signal
import urllib.request
from pathlib import Path

import pytest
from cli.conftest import BODIES, Hpo, Shell


def test_without_tracking_there_are_no_pages(hpo: Hpo, home: Path) -> None:
    refused = hpo("mlflow")
    assert refused.code == 19
    assert "tracking is off" in refused.err


def test_of_a_run_that_there_is_not(hpo: Hpo, home: Path) -> None:
    assert hpo("mlflow", "nope#1").code == 7


@pytest.mark.integration
def test_a_server_elsewhere_is_named_and_none_is_started(shell: Shell) -> None:
    shell.environment["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9/"
    ended = shell("mlflow", "--json")
    assert ended.code == 0
    assert ended.document == {
        "uri": "http://127.0.0.1:9",
        "page": "http://127.0.0.1:9/#/experiments?workflowType=machine_learning",
    }


@pytest.mark.integration
def test_the_pages_show_our_run_until_ctrl_c(shell: Shell) -> None:
    assert shell("run", f"{BODIES}:training").code == 0  # with tracking off: nothing has mirrored it yet
    del shell.environment["MLFLOW_TRACKING_URI"]
    serving = shell.start("mlflow", "training#1", "--json", "--no-open")
    assert serving.stdout is not None
    found = json.loads(serving.stdout.readline())
    run = found["page"].partition("/runs/")[2].partition("?")[0]
    with urllib.request.urlopen(f"{found['uri']}/api/2.0/mlflow/runs/get?run_id={run}", timeout=60) as answer:
        data = json.load(answer)["run"]["data"]
    assert {metric["key"]: metric["value"] for metric in data["metrics"]}["fit.auc"] == pytest.approx(0.4)
    serving.send_signal(signal.SIGINT)
    _, err = serving.communicate(timeout=60)
    assert serving.returncode == 0
    assert err.splitlines()[0] == "bringing training#1 into MLflow"
    with pytest.raises(OSError):  # nobody listens any more
        urllib.request.urlopen(found["uri"], timeout=5)
