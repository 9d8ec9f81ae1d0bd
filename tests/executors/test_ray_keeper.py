from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from executors.contract import living
from services import wait_until

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.executors import ray_keeper, ray_runtime
from hpo_pipelines.executors.ray_keeper import Keeper


class Node:
    def __init__(self) -> None:
        self.killed = False

    def kill_all_processes(self, **options: Any) -> None:
        self.killed = True


class IdleKeeper(Keeper):
    """Keeps a node that is none."""

    go: threading.Event | None = None

    def _start(self) -> dict[str, str]:
        if self.go is not None:
            assert self.go.wait(30)
        self._node = Node()
        return {"address": "127.0.0.1:1", "token": "t", "folder": self.folder}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for a socket."""
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


def serve(keeper: Keeper) -> threading.Thread:
    thread = threading.Thread(target=keeper.run)
    thread.start()
    return thread


def call(folder: Path) -> socket.socket:
    made: list[socket.socket] = []

    def answers() -> bool:  # its socket is there a moment before it listens
        connection = ray_runtime._call(folder)
        made.extend([] if connection is None else [connection])
        return bool(made)

    wait_until(answers, "the keeper")
    return made[0]


def answer(connection: socket.socket) -> Any:
    return json.loads(connection.makefile().readline())


def test_it_lasts_as_long_as_its_last_user(folder: Path) -> None:
    (folder / "session_old").mkdir()
    keeper = IdleKeeper(str(folder), 0.0, 1.0)
    thread = serve(keeper)
    first, second = call(folder), call(folder)
    assert answer(first) == answer(second) == {"address": "127.0.0.1:1", "token": "t", "folder": str(folder)}
    first.close()
    threading.Event().wait(0.1)
    assert thread.is_alive()
    assert not keeper._node.killed
    second.close()
    thread.join(10)
    assert not thread.is_alive()
    assert keeper._node.killed
    assert sorted(os.listdir(folder)) == ["lock"]


def test_who_comes_before_ray_is_up_is_answered_when_it_is(folder: Path) -> None:
    keeper = IdleKeeper(str(folder), 0.0, 1.0)
    keeper.go = threading.Event()
    thread = serve(keeper)
    user = call(folder)
    user.settimeout(0.1)
    with pytest.raises(TimeoutError):
        user.recv(1)
    user.settimeout(None)
    keeper.go.set()
    assert answer(user)["address"] == "127.0.0.1:1"
    user.close()
    thread.join(10)


def test_it_lingers(folder: Path) -> None:
    keeper = IdleKeeper(str(folder), 0.5, 1.0)
    thread = serve(keeper)
    call(folder).close()
    again = call(folder)
    assert answer(again)
    thread.join(0.7)
    assert thread.is_alive()
    again.close()
    thread.join(10)
    assert keeper._node.killed


def test_one_folder_has_one_keeper(folder: Path) -> None:
    thread = serve(IdleKeeper(str(folder), 0.0, 1.0))
    user = call(folder)
    second = IdleKeeper(str(folder), 0.0, 1.0)
    second.run()  # returns at once
    assert second._node is None
    assert answer(user)
    user.close()
    thread.join(10)


def test_nobody_comes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_keeper, "FIRST_USER_SECONDS", 0.05)
    keeper = IdleKeeper(str(folder), 0.0, 1.0)
    serve(keeper).join(10)
    assert keeper._node.killed


def test_who_asked_for_it_has_gone_again(folder: Path) -> None:
    keeper = IdleKeeper(str(folder), 0.0, 1.0)
    keeper.go = threading.Event()
    thread = serve(keeper)
    call(folder).close()
    wait_until(lambda: keeper._seen and not keeper._users, "the user to come and go")
    keeper.go.set()
    thread.join(10)
    assert keeper._node.killed


def test_what_went_wrong_is_told(folder: Path) -> None:
    class Broken(IdleKeeper):
        def _start(self) -> dict[str, str]:
            assert (folder / "keeper.sock").exists()
            wait_until(lambda: bool(self._users), "a user")
            raise OSError("no room")

    failed: list[BaseException] = []

    def run() -> None:
        try:
            Broken(str(folder), 0.0, 1.0).run()
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    user = call(folder)
    assert answer(user) == {"error": "OSError: no room"}
    thread.join(10)
    assert len(failed) == 1
    user.close()


def test_the_environment_of_ray() -> None:
    assert ray_keeper.environment("/some/token") == {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": "/some/token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_DEDUP_LOGS": "0",
    }
    assert 100 * 2**20 <= ray_keeper._store_size() <= 2**30


class TestRuntime:
    """The side of those who look for a keeper."""

    def script(self, folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put a keeper of ``text`` in the place of ours."""
        (folder / "script.py").write_text(text)
        monkeypatch.setattr(ray_keeper, "__file__", str(folder / "script.py"))

    def test_a_keeper_is_started_when_there_is_none(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        text = f"""
import importlib.util, subprocess, sys
spec = importlib.util.spec_from_file_location("keeper", {ray_keeper.__file__!r})
keeper = importlib.util.module_from_spec(spec)
spec.loader.exec_module(keeper)
class Node:
    def kill_all_processes(self, **options): pass
class Idle(keeper.Keeper):
    def _start(self):
        self._node = Node()
        orphan = subprocess.run(["sh", "-c", "sleep 60 >/dev/null & echo $!"], stdout=subprocess.PIPE).stdout.decode()
        return {{"address": orphan, "token": "t", "folder": self.folder}}
print(sys.argv[2:], flush=True)
sys.argv[2] = "0"
keeper.Keeper = Idle
keeper.main()
"""
        self.script(folder, text, monkeypatch)
        monkeypatch.setenv("HPO_RAY_CPUS", "3")
        monkeypatch.setenv("HPO_RAY_LINGER", "1min")
        first, said = ray_runtime._keeper(folder)
        second, again = ray_runtime._keeper(folder)
        assert said == again
        orphan = int(said["address"])
        assert living([orphan]) == [orphan]
        assert (folder / "keeper.log").read_text() == "['60.0', '3.0']\n"
        for connection in (first, second):
            connection.close()
        wait_until(lambda: not (folder / "keeper.sock").exists(), "the keeper to end")
        wait_until(lambda: living([orphan]) == [], "what it left behind to end")

    def test_a_keeper_that_cannot_start(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.script(folder, "raise SystemExit('no Ray here')", monkeypatch)
        with pytest.raises(ConfigError, match=r"did not come up(.|\n)*no Ray here\nno Ray here\n$"):
            ray_runtime._keeper(folder)

    def test_what_a_dead_keeper_left_does_not_matter(self, folder: Path) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(folder / "keeper.sock"))
        assert ray_runtime._call(folder) is None
        keeper = IdleKeeper(str(folder), 0.0, 1.0)
        thread = serve(keeper)
        wait_until(lambda: keeper._node is not None, "the keeper")
        user = ray_runtime._call(folder)
        assert user is not None
        assert answer(user)
        user.close()
        thread.join(10)

    def test_folders_are_private_and_short(self, tmp_path: Path, folder: Path) -> None:
        for home in (folder, tmp_path / ("long" * 10)):
            made = ray_runtime._folder(home)
            assert len(str(made)) <= ray_runtime.LONGEST_FOLDER
            assert stat.S_IMODE(made.stat().st_mode) == 0o700
            assert ray_runtime._folder(home) == made
        made.rmdir()
        assert ray_runtime._folder(folder).parent == folder

    @pytest.mark.parametrize("address", ["ray://somewhere:10001", "somewhere", "http://somewhere:8265"])
    def test_an_address_that_is_none(self, address: str) -> None:
        with pytest.raises(ConfigError, match=f"RAY_ADDRESS='{address}': it is HOST:PORT"):
            ray_runtime._check_address(address)

    def test_an_address_where_nobody_answers(self) -> None:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{server.getsockname()[1]}"
            with pytest.raises(ConfigError, match=f"Ray at {address} cannot be reached"):
                ray_runtime._check_address(address)
            server.listen()
            ray_runtime._check_address(address)
        ray_runtime._check_address("auto")
