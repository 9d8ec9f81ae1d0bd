"""Commands as jobs of a real Ray cluster, submitted to its head over HTTP."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.conftest import Hpo, Shell
from clusters import Head, free_address, short_folder
from services import wait_until

from hpo_pipelines import Status, Workspace
from hpo_pipelines.executors.ray_jobs import _Console, token

PIPELINES = """
import time
from pathlib import Path
from hpo_pipelines import component, pipeline, result

@component(cache=False)
def double(x: int) -> int:
    return 2 * x

@pipeline(project="jobs")
def doubled(x: int = 1):
    print("the folder has", Path("data.txt").read_text())
    return double(x)

@component(cache=False)
def hold(gate: str) -> str:
    while not Path(gate).exists():
        time.sleep(0.05)
    return "held"

@pipeline(project="jobs")
def holding(gate: str):
    print("begun")
    return hold(gate)
"""


STUDY = """
@pipeline(project="jobs")
def tuned(gate: str = {gate!r}, x: int = 1):
    held = result(hold(gate))
    print("x is", x, held)
    return double(x)
"""


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with short_folder() as folder:
        port = free_address().partition(":")[2]
        dashboard = ("--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}")
        # The jobs' `python` is this one.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        home = {"HPO_HOME": str(folder / "hpo"), "PATH": path, "MLFLOW_TRACKING_URI": ""}
        made = Head(folder, free_address(), "--num-cpus=2", *dashboard, **home)
        made.variables["HPO_RAY_JOBS"] = f"http://127.0.0.1:{port}"
        try:
            made.start()
            yield made
        finally:
            made.kill()


@pytest.fixture
def cluster(head: Head, shell: Shell) -> Shell:
    """``hpo`` in a folder with pipelines, for that cluster."""
    shell.environment.update(head.variables)
    (shell.folder / "pipelines.py").write_text(PIPELINES)
    (shell.folder / "data.txt").write_text("data")
    return shell


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    with Workspace() as opened:
        yield opened


@pytest.mark.integration
class TestOnACluster:
    def test_a_pipeline_is_run_there_and_followed(self, cluster: Shell, workspace: Workspace) -> None:
        ended = cluster("submit", "pipelines.py:doubled", "-P", "x=21")
        assert ended.code == 0, ended.err
        assert "the folder has data" in ended.out
        assert "doubled#1 is completed" in ended.err
        run = workspace.run_called("doubled#1")
        assert (run.status, run.value, run.tags) == (Status.COMPLETED, 42, ("submitted",))
        assert str(run.steps["double"].attempts[0].worker).startswith("ray:")
        known = cluster("submit", "status", "doubled#1", "--json").document
        assert known["status"] == "completed"
        assert known["ray"] == "succeeded"
        assert known["job"] == f"hpo-{run.id}"

    def test_it_outlives_its_client(self, cluster: Shell, workspace: Workspace, tmp_path: Path) -> None:
        client = cluster.start("submit", "pipelines.py:holding", "-P", f"gate={tmp_path / 'gate'}")
        wait_until(lambda: running(workspace, "holding#1"), "the run to begin", 120)
        client.kill()
        (tmp_path / "gate").touch()
        run = workspace.run_called("holding#1")
        wait_until(lambda: run.refreshed().status.finished, "the run to end", 120)
        assert run.refreshed().value == "held"

    def test_it_is_stopped_and_its_run_is_aborted(self, cluster: Shell, workspace: Workspace, tmp_path: Path) -> None:
        sent = cluster("submit", "pipelines.py:holding", "-P", f"gate={tmp_path / 'gate'}", "--no-follow", "--json")
        assert sent.document["status"] == "draft", sent.err
        wait_until(lambda: running(workspace, "holding#1"), "the run to begin", 120)
        assert cluster("submit", "status", "holding#1").out.startswith("holding#1 is running\nRay job hpo-")
        stopped = cluster("submit", "stop", "holding#1", "--json").document
        assert stopped["status"] == "aborted"
        # It may have seen that its run was aborted before Ray stopped it.
        assert stopped["ray"] in ("stopped", "failed")
        followed = cluster("submit", "logs", "-f", "holding#1")
        assert "begun" in followed.out
        assert followed.code == 13

    def test_any_command_behind_two_dashes(self, cluster: Shell, workspace: Workspace) -> None:
        study = ("pipelines.py:doubled", "--space", "space.yaml", "-n", "3", "--name", "there")
        (cluster.folder / "space.yaml").write_text("x: {type: int, low: 1, high: 9}\n")
        ended = cluster("submit", "--", "optimize", *study)
        assert ended.code == 0, ended.err + ended.out
        trials = [run for run in workspace.runs() if run.task.study is not None]
        assert [run.status for run in trials] == [Status.COMPLETED] * 3

    def test_a_study_from_its_file_goes_on_without_its_client(
        self, cluster: Shell, workspace: Workspace, tmp_path: Path
    ) -> None:
        write_study(cluster, gate := tmp_path / "gate")
        client = cluster.start("submit", "study.yaml")
        assert client.stderr is not None
        said = client.stderr.readline()
        assert "was submitted as hpo-" in said
        job = said.partition(" ")[0]
        wait_until(lambda: bool(under_way(workspace)), "a trial to begin", 120)
        client.kill()
        assert cluster("submit", "status", job).out == f"Ray job {job}: running (Job is currently running.)\n"
        gate.touch()
        wait_until(lambda: workspace.store.tasks.find("nightly").status.finished, "the study to end", 120)
        trials = [run for run in workspace.runs() if run.task.study is not None]
        assert [run.status for run in trials] == [Status.COMPLETED] * 3
        assert {run.value for run in trials} == {2 * int(run.params["x"]) for run in trials}
        followed = cluster("submit", "logs", "-f", job)
        assert followed.code == 0
        assert f"{job}: succeeded" in followed.err
        assert "best value = " in followed.out
        assert cluster("submit", "status", job, "--json").document["ray"] == "succeeded"
        shown = cluster("show", "nightly", "--json").document  # Optuna's file of it stayed there
        assert [row["value"] for row in shown["trials"]] == [run.value for run in reversed(trials)]

    def test_a_study_that_is_stopped_ends_its_trials_and_can_go_on(
        self, cluster: Shell, workspace: Workspace, tmp_path: Path
    ) -> None:
        write_study(cluster, gate := tmp_path / "gate")
        job = cluster("submit", "study.yaml", "--no-follow", "--json").document["job"]
        wait_until(lambda: bool(under_way(workspace)), "a trial to begin", 120)
        assert cluster("submit", "stop", job, "--json").document["ray"] == "stopped"
        wait_until(lambda: not under_way(workspace), "its trials to end")
        assert workspace.store.tasks.find("nightly").status is not Status.COMPLETED
        gate.touch()
        ended = cluster("resume", "nightly", "--plain")  # here, where nothing is but the store
        assert ended.code == 0, ended.err + ended.out
        done = [run for run in workspace.runs() if run.status is Status.COMPLETED]
        assert len(done) == 3

    def test_without_the_token_it_says_so(self, cluster: Shell) -> None:
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
            cluster.environment.pop(name)
        refused = cluster("submit", "pipelines.py:doubled")
        assert refused.code == 19
        assert "wants its token: set RAY_AUTH_TOKEN" in refused.err


def write_study(cluster: Shell, gate: Path) -> None:
    (cluster.folder / "pipelines.py").write_text(PIPELINES + STUDY.format(gate=str(gate)))
    (cluster.folder / "study.yaml").write_text(
        "pipeline: pipelines.py:tuned\nname: nightly\nn_trials: 3\nn_jobs: 2\n"
        "params: {x: {type: int, low: 1, high: 9}}\n"
    )


def under_way(workspace: Workspace) -> list[str]:
    """The trials whose first step runs."""
    runs = [run for run in workspace.runs() if run.task.study is not None and run.status is Status.RUNNING]
    return [run.label for run in runs if any(step.status is Status.RUNNING for step in run.steps.values())]


def running(workspace: Workspace, name: str) -> bool:
    """Whether the only step of the run ``name`` is under way."""
    runs = [run for run in workspace.runs() if run.label == name]
    return bool(runs) and any(step.status is Status.RUNNING for step in runs[0].steps.values())


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("bodies.py:simple", "--address", "head:8265"), "the URL of the head's job server"),
            (("bodies.py:simple", "--address", "http://10.0.0.1:8265"), "set HPO_STORE to a PostgreSQL"),
            (("bodies.py:simple", "--address", "http://127.0.0.1:1", "--queue", "gpu"), "there is no queue 'gpu'"),
            (("bodies.py:simple", "--address", "http://127.0.0.1:1"), "refused, or cannot be reached"),
            (("bodies.py:simple",), "Missing option '--address'"),
        ],
    )
    def test_what_cannot_be_reached(self, hpo: Hpo, home: Path, arguments: tuple[str, ...], words: str) -> None:
        ended = hpo("submit", *arguments)
        assert ended.code != 0
        assert words in ended.err

    def test_help_is_that_of_the_group(self, hpo: Hpo, home: Path) -> None:
        assert "status" in hpo("submit", "--help").out
        assert "--working-dir" in hpo("submit", "start", "--help").out


class TestConsole:
    def test_what_is_heard_again_is_not_written_again(self) -> None:
        written: list[str] = []
        console = _Console(written.append)
        for texts in (["abc", "de"], ["ab", "cdef", "g"], [], ["abcdefgh"]):
            console.begin()
            for text in texts:
                console.hear(text)
        assert written == ["abc", "de", "f", "g", "h"]


class TestToken:
    def test_it_comes_from_the_environment_or_its_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert token() is None
        (tmp_path / "token").write_text("from the file\n")
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
        assert token() == "from the file"
        monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
        assert token() == "given"

    def test_a_file_that_is_not_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from hpo_pipelines.errors import ConfigError

        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "nothing"))
        with pytest.raises(ConfigError, match="the token cannot be read"):
            token()
