"""The ray executor on a real Ray, started as users start it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from executors import steps
from executors.bench import Bench, read_json
from executors.contract import ProcessContract, living
from services import wait_until

from hpo_pipelines.executors import ray_runtime
from hpo_pipelines.executors.base import Executor
from hpo_pipelines.executors.ray import RayExecutor

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", autouse=True)
def _two_cpus() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_RAY_CPUS", "2")
        yield


class TestRay(ProcessContract):
    """A Ray of our own, on this machine: workers write console files themselves."""

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        ray = RayExecutor()
        yield ray
        ray.close()
        ray.close()

    def test_a_worker_is_used_again(self, bench: Bench) -> None:
        assert len({bench.run(steps.where)["pid"] for _ in range(6)}) <= 2

    def test_executors_share_the_connection(self, bench: Bench, tmp_path: Path) -> None:
        before = {thread.name for thread in threading.enumerate()}
        second = RayExecutor()
        assert second.address == bench.executor.address  # type: ignore[attr-defined]
        own = Bench(second, tmp_path / "second", steps.nothing)
        assert own.run(steps.reports, "m", [1.0, 2.0, 3.0], 0.3) == 3  # its mailbox is up by then
        second.close()
        assert {thread.name for thread in threading.enumerate()} <= before
        assert bench.run(steps.identity, 1) == 1

    def test_a_mailbox_that_dies_comes_back(self, bench: Bench) -> None:
        import ray

        heard = bench.submit(steps.reports, "m", [float(n) for n in range(30)], 0.2)
        heard.wait(lambda: heard.reports, "the first report")
        ray.kill(bench.executor._mail._mailbox, no_restart=False)  # type: ignore[attr-defined]
        assert heard.completed
        # What it held when it died is lost; what came after is not.
        values = [message.value for message in heard.reports]
        assert values == sorted(values)
        assert values[-1] == 29.0
        assert len(values) >= 20


class TestRayApart(ProcessContract):
    """The same, as if workers shared no files with their driver: consoles travel as messages."""

    shares_files = False

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        ray = RayExecutor(shared_files=False)
        yield ray
        ray.close()


DRIVER = """
import sys, time
sys.path[:0] = sys.argv[3:]
from pathlib import Path
from executors import steps
from executors.bench import Bench
if sys.argv[2] == "connected":
    import logging, os, ray
    ray.init(address=os.environ["RAY_ADDRESS"], logging_level=logging.ERROR)
begun = time.perf_counter()
from hpo_pipelines.executors.ray import RayExecutor
executor = RayExecutor()
bench = Bench(executor, Path(sys.argv[1]), steps.nothing)
print(executor.address, flush=True)
for line in sys.stdin:
    if line == "family\\n":
        bench.submit(steps.family, str(bench.folder / "family"))
    elif line == "console\\n":
        heard = bench.submit(steps.say_and_wait, "words", "/")
        print(type(heard.ended).__name__, heard.console.split(), [type(m).__name__ for m in heard.messages], flush=True)
    elif line == "close\\n":
        executor.close()
        import ray
        print(ray.is_initialized(), flush=True)
    else:
        print(bench.run(steps.identity, line.strip()), flush=True)
"""


class Driver:
    """Another program that uses Ray; warnings are errors in it."""

    def __init__(self, folder: Path, *, mode: str = "plain", **environment: str) -> None:
        folder.mkdir(parents=True)
        self.errors = folder / "stderr"
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", DRIVER, str(folder), mode, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **environment},
            )
        try:
            self.address = self.hear()
        except BaseException:
            self.kill()
            raise

    def hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.errors.read_text()
        return line.rstrip("\n")

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def ask(self, line: str) -> str:
        self.say(line)
        return self.hear()

    def end(self) -> None:
        """Let it end by itself; it has printed nothing but what it was asked for."""
        rest, _ = self.process.communicate(timeout=60)
        assert (self.process.returncode, rest, self.errors.read_text()) == (0, "", "")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def drive() -> Iterator[Callable[..., Driver]]:
    """Makes drivers, none of which outlives the test."""
    made: list[Driver] = []

    def make(*args: Any, **options: Any) -> Driver:
        made.append(Driver(*args, **options))
        return made[-1]

    yield make
    for driver in made:
        if driver.process.returncode is None:
            driver.kill()


@pytest.fixture
def home() -> Iterator[Path]:
    """A home of Ray's own, so that nobody else's Ray is met in it."""
    with tempfile.TemporaryDirectory(prefix="hpo", dir="/tmp") as folder:
        yield Path(folder)


def rays(home: Path) -> list[int]:
    """The processes of the Ray under ``home``."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        known = process.info
        if any(str(home) in part for part in known["cmdline"] or []) or (
            str(home) in (known["environ"] or {}).get("RAY_AUTH_TOKEN_PATH", "")
        ):
            found.append(process.pid)
    return living(found)


def nobody_left(home: Path) -> None:
    """Ray ends by itself, soon."""
    deadline = time.monotonic() + 60
    while left := rays(home):
        assert time.monotonic() < deadline, [psutil.Process(pid).cmdline() for pid in left]
        threading.Event().wait(0.5)


def listening(pids: list[int]) -> set[str]:
    """The addresses at which ``pids`` can be reached."""
    addresses: set[str] = set()
    for pid in pids:
        try:
            sockets = psutil.Process(pid).net_connections("inet")
        except psutil.NoSuchProcess:
            continue
        # Some sockets have the same address in IPv6.
        heard = {found.laddr.ip for found in sockets if found.status == psutil.CONN_LISTEN}
        addresses |= {address.removeprefix("::ffff:") for address in heard}
    return addresses


def test_a_ray_lasts_as_long_as_its_last_user(home: Path, tmp_path: Path, drive: Callable[..., Driver]) -> None:
    environment = {"HPO_HOME": str(home), "HOME": str(tmp_path)}
    first = drive(tmp_path / "first", **environment)
    second = drive(tmp_path / "second", **environment)
    assert first.address == second.address
    assert first.ask("one") == "one"
    pids = rays(home)
    assert len(pids) >= 4
    assert listening(pids) == {"127.0.0.1"}
    first.end()
    assert second.ask("two") == "two"
    second.end()
    nobody_left(home)
    assert not (tmp_path / ".ray").exists(), "a token was left in the home folder"
    (folder,) = home.iterdir()
    assert sorted(path.name for path in folder.iterdir() if not path.is_symlink()) == ["keeper.log", "lock"]


def test_nothing_outlives_a_killed_driver(home: Path, tmp_path: Path, drive: Callable[..., Driver]) -> None:
    driver = drive(tmp_path / "driver", HPO_HOME=str(home))
    driver.say("family")
    marker = tmp_path / "driver" / "family"
    wait_until(marker.exists, "the family")
    pids = read_json(marker)
    driver.kill()
    nobody_left(home)
    assert living(pids) == []


def test_a_killed_drivers_steps_end_while_ray_goes_on(tmp_path: Path, drive: Callable[..., Driver]) -> None:
    executor = RayExecutor()
    driver = drive(tmp_path / "driver")
    assert driver.address == executor.address
    driver.say("family")
    marker = tmp_path / "driver" / "family"
    wait_until(marker.exists, "the family")
    pids = read_json(marker)
    driver.kill()
    wait_until(lambda: living(pids) == [], "the family to end")
    assert Bench(executor, tmp_path / "bench", steps.nothing).run(steps.identity, 1) == 1
    executor.close()


class TestElsewhere:
    """A cluster that is not ours, as far as the driver knows."""

    @pytest.fixture
    def environment(self) -> dict[str, str]:
        executor = RayExecutor()
        executor.close()
        home = Path(os.environ["HPO_HOME"])
        token = ray_runtime._folder(home) / "token"
        return {
            "RAY_ADDRESS": executor.address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            # This one happens to be on loopback sockets.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        }

    def test_the_address_in_the_environment(
        self, environment: dict[str, str], tmp_path: Path, drive: Callable[..., Driver]
    ) -> None:
        driver = drive(tmp_path / "driver", **environment)
        assert driver.address == environment["RAY_ADDRESS"]
        assert driver.ask("one") == "one"
        assert driver.ask("console") == "Completed ['words', 'over'] ['Started', 'ConsoleChunk', 'Completed']"
        driver.end()

    def test_a_connection_of_the_users_own_is_used_and_left_alone(
        self, environment: dict[str, str], tmp_path: Path, drive: Callable[..., Driver]
    ) -> None:
        driver = drive(tmp_path / "driver", mode="connected", **environment)
        assert driver.address == environment["RAY_ADDRESS"]
        assert driver.ask("one") == "one"
        assert driver.ask("close") == "True"
        driver.kill()


def test_sigterm_stays_with_the_program() -> None:
    def mine(signum: int, frame: Any) -> None:
        raise AssertionError

    before = signal.signal(signal.SIGTERM, mine)
    try:
        RayExecutor().close()
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
