"""Pipelines whose steps have environments of their own, on every executor."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from executors.contract import living
from executors.environments.wheels import requirement
from services import wait_until

from hpo_pipelines import Environment, Status, StepFailed, Workspace, component, pipeline, report
from hpo_pipelines.engine.options import RunOptions

EVERYWHERE = ["inline", "local", pytest.param("ray", marks=pytest.mark.integration)]
SECRET = "/".join(("s3cr3t", "of the test"))
"""Not in one piece: the source of this module is recorded."""


@pytest.fixture
def workspace(tmp_path: Path) -> Any:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


@pytest.mark.integration
@pytest.mark.parametrize("executor", EVERYWHERE)
def test_two_versions_of_one_package_in_one_run(workspace: Workspace, tmp_path: Path, executor: str) -> None:
    one, two = (requirement(tmp_path / "wheels", version) for version in ("1.0", "2.0"))

    @component(environment={"packages": [one]})
    def first() -> tuple[str, Any]:
        import tinything  # type: ignore[import-not-found]

        return tinything.VERSION, tinything.Thing()

    @component(environment={"packages": [two]})
    def second(thing: Any) -> list[str]:
        import tinything

        program = [sys.executable, "-c", "import tinything; print(tinything.VERSION)"]
        said = subprocess.run(program, capture_output=True, text=True, check=True).stdout.strip()
        return [tinything.VERSION, thing.made_by, said]

    @component
    def neither() -> bool:
        import importlib.util

        return importlib.util.find_spec("tinything") is None

    @pipeline
    def versions() -> Any:
        version, thing = first()
        return version, second(thing), neither()

    run = versions.run(executor=executor, workspace=workspace)
    # What the one has pickled is, to the other, of the version that it has.
    assert run.value == ("1.0", ["2.0", "2.0", "2.0"], True)
    assert f"building an environment with {one}" in run.steps["first"].console()
    assert f"building an environment with {two}" in run.steps["second"].console()
    again = versions.run(executor=executor, workspace=workspace, refresh=True)
    assert again.value == run.value
    assert again.steps["first"].console() == ""


@pytest.mark.parametrize("executor", EVERYWHERE)
def test_a_build_that_fails_fails_its_step(workspace: Workspace, tmp_path: Path, executor: str) -> None:
    gone = (tmp_path / "tinything-9.0-py3-none-any.whl").as_uri()

    @component(environment={"packages": [f"tinything @ {gone}"]})
    def never() -> int:
        raise AssertionError

    @pipeline
    def failing() -> str:
        try:
            return f"{never()}"
        except StepFailed as error:
            return str(error)

    run = failing.run(executor=executor, workspace=workspace)
    assert run.steps["never"].status is Status.FAILED
    error = run.steps["never"].error
    assert error is not None
    assert "could not be built on" in error["message"]
    assert "tinything-9.0" in error["message"].partition("It said:")[2]
    assert "Distribution not found" in run.steps["never"].console()


def values_below(folder: Path, *values: str) -> list[Path]:
    """The files below ``folder`` that hold one of ``values``."""
    sought = [value.encode() for value in values]
    found = []
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            # A database that was just closed takes its log away.
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and any(value in path.read_bytes() for value in sought):
                    found.append(path)
    return found


@component(environment=Environment(secrets=("HPO_TEST_TOKEN",)))
def log_in(fails: bool) -> int:
    """Everything a careless step does with a secret."""
    token = os.environ["HPO_TEST_TOKEN"]
    print("the token is", token)
    subprocess.run(["sh", "-c", 'echo "in a child: $HPO_TEST_TOKEN"'], check=True)
    os.write(2, token[:5].encode())
    time.sleep(0.01)
    os.write(2, token[5:].encode() + b"\n")
    report(f"with {token}", 1.0)
    if fails:
        raise ConnectionError(f"refused with {token}", {"token": token})
    return len(token)


@component
def is_hidden(before: int) -> bool:
    return "HPO_TEST_TOKEN" not in os.environ or before > 0


@component(environment=Environment(secrets=("HPO_TEST_TOKEN",)))
def give_away() -> str:
    return os.environ["HPO_TEST_TOKEN"]


@pipeline
def careless(fails: bool = False) -> Any:
    length = log_in(fails)
    return length, is_hidden(length)


@pipeline
def leaking() -> Any:
    return give_away()


def leave_traces(home: Path, executor: str) -> None:
    """Run everything careless, and look at what the steps have left in ``home``."""
    with Workspace(home=home) as workspace:
        run = careless.run(executor=executor, workspace=workspace)
        assert run.value == (len(SECRET), True), run.steps["log_in"].error
        console = run.steps["log_in"].console()
        assert console.splitlines() == ["the token is ***", "in a child: ***", "***"]
        assert run.metrics["log_in.with ***"] == 1.0
        error = careless.run(executor=executor, workspace=workspace, fails=True).steps["log_in"].error
        assert error is not None
        assert error["type"] == "ConnectionError"
        assert "refused with ***" in error["message"]
        leaked = leaking.run(executor=executor, workspace=workspace)
        assert "holds the value of a secret" in str(leaked.steps["give_away"].error)
        assert workspace.drain(60)
    assert (home / "store.db").exists()
    assert len(list(home.rglob("*.log"))) >= 3
    assert values_below(home, SECRET) == []


@pytest.mark.integration
@pytest.mark.parametrize("executor", ["inline", "local"])
def test_no_file_ever_holds_a_secret(home: Path, monkeypatch: pytest.MonkeyPatch, executor: str) -> None:
    monkeypatch.setenv("HPO_TEST_TOKEN", SECRET)
    leave_traces(home, executor)


@pytest.mark.integration
def test_neither_ray_nor_mlflow_leaves_a_secret() -> None:
    """In a process of its own: workers have the variables of whoever started their Ray."""
    code = "import sys; sys.path[:0] = sys.argv[2:]; from pathlib import Path; from engine import test_environments; "
    code += "test_environments.leave_traces(Path(sys.argv[1]), 'ray')"
    with tempfile.TemporaryDirectory(prefix="hpo", dir="/tmp", ignore_cleanup_errors=True) as home:
        variables = {**os.environ, "HPO_HOME": home, "HPO_TEST_TOKEN": SECRET, "HPO_RAY_CPUS": "1"}
        del variables["MLFLOW_TRACKING_URI"]
        subprocess.run([sys.executable, "-c", code, home, *sys.path], env=variables, check=True, timeout=120)
        # It may be in the log of the database still.
        assert [path for path in values_below(Path(home), "careless") if path.name.startswith("mlflow.db")] != []


def test_a_secret_that_is_not_there(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPO_TEST_TOKEN", raising=False)
    run = careless.run(executor="local", workspace=workspace)
    assert run.status is Status.FAILED
    reason = run.steps["log_in"].reason
    assert reason is not None
    assert "log_in needs the secret HPO_TEST_TOKEN, not set for the worker on" in reason
    assert "Export it there before the worker starts" in reason


@component(environment=Environment(env={"OMP_NUM_THREADS": "1"}))
def hold(marker: str) -> int:
    code = (
        f"import os, subprocess, time; p = subprocess.Popen(['sleep', '300']); open({marker!r}, 'w').write(str(p.pid))"
    )
    child = subprocess.Popen([sys.executable, "-c", f"{code}; time.sleep(300)"])
    return child.wait()


@component(environment=Environment(env={"OMP_NUM_THREADS": "1"}))
def report_and_hold(marker: str) -> int:
    threading.Thread(target=hold.function, args=(marker,), daemon=True).start()
    while not os.path.exists(marker) or not Path(marker).read_text():
        time.sleep(0.01)
    report("loss", 1.0)
    time.sleep(300)
    return 0


hold_for_long = component(environment={"env": {"OMP_NUM_THREADS": "1"}}, timeout=8)(hold.function)


@pipeline
def holding(marker: str) -> Any:
    return hold(marker)


@pipeline
def reporting(marker: str) -> Any:
    return report_and_hold(marker)


@pipeline
def timing_out(marker: str) -> Any:
    return hold_for_long(marker)


@pytest.mark.integration
@pytest.mark.parametrize("executor", ["local", "ray"])
def test_an_abort_reaches_the_grandchildren(workspace: Workspace, tmp_path: Path, executor: str) -> None:
    marker = tmp_path / "marker"
    draft = holding.draft(executor=executor, workspace=workspace, marker=str(marker))
    thread = threading.Thread(target=draft.run)
    thread.start()
    wait_until(lambda: marker.exists() and marker.read_text() != "", "the grandchild")
    grandchild = int(marker.read_text())
    family = [grandchild, *(parent.pid for parent in psutil.Process(grandchild).parents()[:2])]
    workspace.get(draft.id).abort()
    wait_until(lambda: living(family) == [], f"{family} to be gone")
    thread.join(60)
    assert workspace.get(draft.id).status is Status.ABORTED


@pytest.mark.integration
@pytest.mark.parametrize("executor", ["local", "ray"])
def test_a_timeout_reaches_the_grandchildren(workspace: Workspace, tmp_path: Path, executor: str) -> None:
    marker = tmp_path / "marker"
    run = timing_out.run(executor=executor, workspace=workspace, marker=str(marker))
    grandchild = int(marker.read_text())
    wait_until(lambda: living([grandchild]) == [], f"{grandchild} to be gone")
    step = next(iter(run.steps.values()))
    assert (step.status, step.reason) == (Status.FAILED, "timeout")


@pytest.mark.integration
@pytest.mark.parametrize("executor", ["local", "ray"])
def test_a_prune_reaches_the_grandchildren(workspace: Workspace, tmp_path: Path, executor: str) -> None:
    marker = tmp_path / "marker"
    draft = reporting.draft(executor=executor, workspace=workspace, marker=str(marker))
    run = workspace.start(draft.id, RunOptions(watch=lambda *report: "it will not do"))
    assert (run.status, run.reason) == (Status.PRUNED, "it will not do")
    grandchild = int(marker.read_text())
    wait_until(lambda: living([grandchild]) == [], f"{grandchild} to be gone")
