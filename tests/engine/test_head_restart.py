"""A head that is killed, with all that runs on its node, and started again by the same command: runs go on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from clusters import Head, free_address, short_folder
from services import wait_until

from hpo_pipelines import Status, Workspace

pytestmark = pytest.mark.integration

PIPELINE = """
import time
from pathlib import Path
from hpo_pipelines import component, pipeline, report

@component
def early(folder: str) -> int:
    Path(folder, f"early.{time.time_ns()}").touch()
    return 40

@component
def late(x: int, folder: str) -> int:
    Path(folder, f"late.{time.time_ns()}").touch()
    print("here again")
    while not Path(folder, "go").exists():
        time.sleep(0.05)
    report("seen", 1.0)
    time.sleep(1.0)
    return x + 2

@pipeline
def restarted(folder: str) -> int:
    return late(early(folder), folder)
"""


def test_a_run_goes_on_when_its_head_comes_back(home: Path, tmp_path: Path) -> None:
    (tmp_path / "pipelines.py").write_text(PIPELINE)
    with short_folder() as folder:
        (folder / "gcs").mkdir()
        # The head's tables in a file, from which the restarted head goes on.
        tables = {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(folder / "gcs")}
        head = Head(folder, free_address(), "--num-cpus=1", "--include-dashboard=false", **tables)
        try:
            head.start()
            check_run(head, home, tmp_path)
        finally:
            head.kill()


def is_running(workspace: Workspace) -> bool:
    return any(run.steps["late"].status is Status.RUNNING for run in workspace.runs() if "late" in run.steps)


def check_run(head: Head, home: Path, folder: Path) -> None:
    # On a busy machine a head takes longer to start than Ray has the patience for.
    patience = {"RAY_gcs_rpc_server_reconnect_timeout_s": "300"}
    environment = {**os.environ, **head.variables, **patience, "RAY_ADDRESS": head.address}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "hpo_pipelines", "run", "pipelines.py:restarted", "-P", f"folder={folder}"]
    with open(folder / "log", "wb") as log:
        driver = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        with Workspace(home=home) as workspace:
            wait_until(lambda: is_running(workspace), "the second step to run")
        head.kill()
        head.start()
        wait_until(lambda: len(list(folder.glob("late.*"))) == 2, "the second step to run again", 120)
        (folder / "go").touch()
        assert driver.wait(120) == 0, (folder / "log").read_text()
    finally:
        driver.kill()
        driver.wait()
    with Workspace(home=home) as workspace:
        run = workspace.run_called("restarted#1")
        assert (run.status, run.value) == (Status.COMPLETED, 42)
        assert len(list(folder.glob("early.*"))) == 1
        attempts = run.steps["late"].attempts
        assert [attempt.status for attempt in attempts][-1] is Status.COMPLETED
        assert len(attempts) == 2
        assert run.metrics["late.seen"] == 1.0
        assert run.steps["late"].console(2) == "here again\n"
