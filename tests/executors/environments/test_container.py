"""Steps in containers: what an engine is asked for, and what comes of it with a real one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from containers import containers, podman
from executors.bench import Bench, Heard
from executors.environments import contained
from executors.environments.wheels import requirement
from services import wait_until

from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.errors import StepFailed
from hpo_pipelines.executors.base import Cancelled, Executor, Failed, Lost, Started, TimedOut
from hpo_pipelines.executors.environments import container
from hpo_pipelines.executors.inline import InlineExecutor
from hpo_pipelines.executors.local import LocalExecutor
from hpo_pipelines.failure import rebuilt
from hpo_pipelines.owner import process_name
from hpo_pipelines.types import Environment, Resources

# It runs, on this machine, the Python that it was asked for in a container.
ENGINE = """#!{python}
import json, os, sys
with open({told!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "run":
    given = sys.argv[sys.argv.index("image:1") + 1:]
    given = [{version!r} if word == "{here}" else word for word in given]
    os.environ["PYTHONPATH"] = {path!r}
    os.execv(sys.executable, [sys.executable, *given])
"""
HERE = "{}.{}".format(*sys.version_info)


class Engine:
    """A program that stands for an engine; ``told`` is what it was called with."""

    def __init__(self, folder: Path, version: str = HERE) -> None:
        folder.mkdir()
        self._told, self.program = folder / "told", folder / "podman"
        path = os.pathsep.join(sys.path)
        self.program.write_text(
            ENGINE.format(python=sys.executable, told=str(self._told), version=version, here=HERE, path=path)
        )
        self.program.chmod(0o755)

    @property
    def told(self) -> list[list[str]]:
        return [json.loads(line) for line in self._told.read_text().splitlines()]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine(tmp_path / "bin")
    monkeypatch.setenv("HPO_CONTAINER_ENGINE", str(made.program))
    container._swept.set()
    return made


def inline(tmp_path: Path, **options: Any) -> Bench:
    executor = InlineExecutor()
    bench = Bench(executor, tmp_path / "bench", contained.nothing)
    executor.use(bench.digest, bench.code)
    bench.environment = Environment(image="image:1", **options)
    return bench


def test_what_the_engine_is_asked_for(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_CONTAINER_OPTIONS", "--gpus 'all of them'")
    monkeypatch.setenv("HPO_TEST_TOKEN", "the-token")
    bench = inline(tmp_path, env={"A": "b c"}, secrets=["HPO_TEST_TOKEN"])
    heard = bench.submit(contained.whisper)
    assert bench.value(heard) == len("the-token")
    assert heard.console == "it is ***\n"
    (told,) = engine.told
    name = f"hpo-{heard.assignment.id.lower()}"
    assert told[:2] == ["run", "--rm"]
    for option in (
        "--interactive",
        f"--name={name}",
        f"--label=hpo-pipelines.owner={process_name()}",
        "--log-driver=none",
        "--network=host",
        f"--volume={bench.store.url}:{bench.store.url}",
        "--env=A=b c",
        "--gpus",
        "all of them",
        "--entrypoint=python3",
    ):
        assert option in told, option
    mounted = [option for option in told if option.startswith("--volume=")]
    inside = sorted(option.split(":")[1] for option in mounted)
    assert inside == sorted(
        [bench.store.url, "/hpo/ours/hpo_pipelines", "/hpo/ours/search_spaces"]
        + [f"/hpo/libraries/{name}" for name in ("blake3", "cloudpickle", "wrapt")]
    )
    assert all(option.endswith(":ro") for option in mounted if "/hpo/" in option.split(":")[1])
    assert "the-token" not in json.dumps(told)


def test_packages_are_mounted_ahead(engine: Engine, tmp_path: Path, home: Path) -> None:
    bench = inline(tmp_path, packages=[requirement(tmp_path / "wheels", "1.0")])
    assert isinstance(bench.submit(contained.tiny).ended, Failed)  # it is mounted nowhere here
    (told,) = engine.told
    mounted = [option for option in told if option.endswith(":/hpo/overlay:ro")]
    assert len(mounted) == 1
    assert mounted[0].startswith(f"--volume={home}/environments/")
    assert told[-3:] == [HERE, "/hpo/overlay", "/hpo/ours"]


def test_who_writes_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container.os, "getuid", lambda: 1000)
    monkeypatch.setattr(container.os, "getgid", lambda: 100)
    assert container._user("/usr/bin/docker") == ("--user=1000:100", "--env=HOME=/tmp")
    assert container._user("/usr/bin/podman") == ("--userns=keep-id", "--env=HOME=/tmp")
    monkeypatch.setattr(container.os, "getuid", lambda: 0)
    assert container._user("/usr/bin/docker") == ()


def test_an_image_with_another_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_CONTAINER_ENGINE", str(Engine(tmp_path / "bin", "3.99").program))
    bench = inline(tmp_path)
    failure = bench.submit(contained.tiny).failed.failure
    assert failure.type == "StepFailed"
    assert f"no step can be run in the image image:1 on node {socket.gethostname()}" in failure.message
    assert (
        f"python3 of the image is {HERE}; steps run on the minor version of their driver, which is 3.99"
        in (failure.message.partition("The engine said:")[2])
    )


def test_a_node_without_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("HPO_CONTAINER_ENGINE", raising=False)
    monkeypatch.setattr(container.socket, "gethostname", lambda: "node7")
    with pytest.raises(StepFailed, match=r"node node7 has no podman and no docker on its PATH\. Install"):
        container.engine()
    monkeypatch.setenv("HPO_CONTAINER_ENGINE", "lxc")
    with pytest.raises(StepFailed, match=r"node7 has no lxc \(of HPO_CONTAINER_ENGINE\)"):
        container.engine()


def test_podman_comes_before_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("HPO_CONTAINER_ENGINE", raising=False)
    for name in ("docker", "podman"):
        (tmp_path / name).touch(mode=0o755)
        assert container.engine() == str(tmp_path / name)


# -- with a real engine


@pytest.fixture(scope="module")
def local(image: str) -> Iterator[Executor]:
    executor = LocalExecutor(cpus=1)
    yield executor
    executor.close()


@pytest.fixture
def bench(local: Executor, image: str, tmp_path: Path) -> Bench:
    made = Bench(local, tmp_path, contained.nothing)
    made.environment = Environment(image=image)
    return made


def shared_marker(bench: Bench) -> Path:
    """A path that the container and this process share."""
    return Path(bench.store.url) / bench.marker().name


def began(bench: Bench, component: Any, **options: Any) -> Heard:
    marker = shared_marker(bench)
    heard = bench.submit(component, str(marker), **options)
    wait_until(lambda: marker.exists() and marker.read_text() != "", "the step to run")
    assert container.name_of(heard.assignment.id) in containers()
    return heard


def no_container(heard: Heard) -> None:
    name = container.name_of(heard.assignment.id)
    wait_until(lambda: name not in containers(), f"{name} to be gone")


@pytest.mark.container
@pytest.mark.integration
class TestPodman:
    def test_a_step_runs_with_what_the_image_has(self, bench: Bench, image: str) -> None:
        big = "x" * 20_000
        stored = bench.store.put(big)
        assert stored.inline is None
        environment = Environment(image=image, env={"HPO_TEST_VARIABLE": "set"})
        heard = bench.submit(contained.look_around, stored, environment=environment)
        found = bench.value(heard)
        assert found.pop("value") == big * 2
        assert found == {"python": "/usr/bin/python3", "libraries": True, "variable": "set", "packages": False}
        assert heard.console.splitlines() == ["printed", "written", "child"]
        assert [(m.name, m.value) for m in heard.reports] == [("size", 20_000.0)]
        no_container(heard)

    def test_a_failure_is_the_users_own(self, bench: Bench) -> None:
        failure = bench.submit(contained.fail).failed.failure
        assert failure.pickled is not None
        error = rebuilt(bench.code.load(failure.pickled))
        assert (type(error), str(error)) == (contained.Broken, "broken in there")
        assert 'raise Broken("broken in there")' in failure.traceback

    def test_packages_and_secrets_are_there(
        self, image: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HPO_TEST_TOKEN", "the-token")
        bench = inline(tmp_path)
        packages = [requirement(tmp_path / "wheels", "2.0")]
        assert bench.run(contained.tiny, environment=Environment(image=image, packages=packages)) == "2.0"  # type: ignore[arg-type]
        heard = bench.submit(contained.whisper, environment=Environment(image=image, secrets=("HPO_TEST_TOKEN",)))
        assert bench.value(heard) == 9
        assert heard.console == "it is ***\n"

    def test_artifacts_of_a_store_that_is_no_folder(self, bench: Bench, image: str, tmp_path: Path) -> None:
        far = ArtifactStore(f"local://{tmp_path}/far")
        assert not far.is_local
        bench.store = far
        bench.snapshot = far.put_bytes(ArtifactStore(tmp_path / "artifacts").read_bytes(bench.snapshot))
        heard = bench.submit(contained.look_around, far.put("y" * 20_000))
        assert bench.value(heard)["value"] == "y" * 40_000
        assert heard.completed.outputs["value"].inline is None

    def test_an_image_that_is_not_to_be_had(self, bench: Bench) -> None:
        failure = bench.submit(contained.tiny, environment=Environment(image="localhost/nowhere:1")).failed.failure
        assert f"no step can be run in the image localhost/nowhere:1 on node {socket.gethostname()}" in failure.message

    def test_one_that_ends_itself_is_lost(self, bench: Bench) -> None:
        heard = bench.submit(contained.die)
        assert heard.ended == Lost("its process exited with code 7")
        assert heard.console == "last words\n"

    @pytest.mark.parametrize("component", [contained.hold, contained.hold_on])
    def test_it_is_cancelled(self, bench: Bench, component: Any) -> None:
        heard = began(bench, component)
        begun = time.monotonic()
        bench.executor.cancel(heard.assignment.id)
        assert heard.ended == Cancelled()
        assert time.monotonic() - begun < 10
        no_container(heard)

    def test_past_its_timeout(self, bench: Bench) -> None:
        heard = began(bench, contained.hold_on, timeout=2.0)
        assert heard.ended == TimedOut(2.0)
        no_container(heard)

    def test_past_its_memory(self, bench: Bench) -> None:
        ended = bench.submit(contained.take_memory, 4000, resources=Resources(memory="300MB")).ended
        assert isinstance(ended, Lost)
        assert ended.reason.startswith("out of memory: used ")

    def test_its_worker_is_killed(self, bench: Bench) -> None:
        heard = began(bench, contained.hold_on)
        (started,) = [message for message in heard.messages if isinstance(message, Started)]
        os.kill(int(started.worker.rpartition(":")[2]), signal.SIGKILL)
        assert isinstance(heard.ended, Lost)
        no_container(heard)

    def test_what_has_no_owner_is_swept(self, image: str) -> None:
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        mine = process_name()
        machine = mine.rsplit(":", 2)[0]
        owners = {"hpo-gone": f"{machine}:{process.pid}:1.00", "hpo-mine": mine}
        for name, owner in owners.items():
            label = f"--label={container.OWNER}={owner}"
            sleep = ["python3", "-c", "import time; time.sleep(300)"]
            said = podman("run", "--detach", "--network=host", f"--name={name}", label, image, *sleep)
            assert said.returncode == 0, said.stderr
        assert container.sweep() == ["hpo-gone"]
        assert "hpo-mine" in containers()
        assert "hpo-gone" not in containers()
        podman("kill", "hpo-mine")
        podman("rm", "--force", "hpo-mine")


def on_ray(home: str, image: str) -> None:
    """A step that completes and one that is cancelled, on a Ray of this process's own."""
    from executors.bench import Bench

    from hpo_pipelines.executors.ray import RayExecutor

    executor = RayExecutor(Path(home))
    bench = Bench(executor, Path(home) / "bench", contained.nothing)
    bench.environment = Environment(image=image)
    assert bench.run(contained.look_around, "z")["value"] == "zz"
    for component in (contained.hold, contained.hold_on):
        heard = began(bench, component)
        executor.cancel(heard.assignment.id)
        assert heard.ended == Cancelled()
        no_container(heard)
    executor.close()


@pytest.mark.container
@pytest.mark.integration
def test_on_ray(image: str) -> None:
    """In a process of its own: the workers have the variables of whoever started their Ray."""
    code = "import sys; sys.path[:0] = sys.argv[3:]; from executors.environments import test_container; "
    code += "test_container.on_ray(*sys.argv[1:3])"
    with tempfile.TemporaryDirectory(prefix="hpo", dir="/tmp", ignore_cleanup_errors=True) as home:
        variables = {**os.environ, "HPO_HOME": home, "HPO_RAY_CPUS": "1"}
        subprocess.run([sys.executable, "-c", code, home, image, *sys.path], env=variables, check=True, timeout=120)
