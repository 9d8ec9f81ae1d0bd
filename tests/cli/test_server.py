"""With ``HPO_SERVER`` every command says what it says where the runs are, and ends with the same code."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.conftest import BODIES, INTERRUPTED, Ended, Hpo, Shell
from services import wait_until
from serving import Serving, serving

from hpo_pipelines import Workspace

SPACE = "x=choice(1,2,3)"

LOOKS = [
    ["ls"],
    ["ls", "--json"],
    ["ls", "--pipeline", "simple", "-n", "2"],
    ["ls", "--status", "failed"],
    ["ls", "--status", "filed"],
    ["ls", "--tag", "first", "--json"],
    ["ls", "--study", "xs"],
    ["ls", "--study", "ys"],
    ["show", "simple#1"],
    ["show", "simple#1", "--json"],
    ["show", "training"],
    ["show", "training#1/fit"],
    ["show", "training#1/fit", "--json"],
    ["show", "refusing#1"],
    ["show", "outer#1"],
    ["show", "outer#1/simple/add", "--json"],
    ["show", "xs"],
    ["show", "xs", "--json"],
    ["show", "simple#99"],
    ["show", "simple#1/sub"],
    ["logs", "loud#1"],
    ["logs", "loud#1/noisy"],
    ["logs", "loud#1", "--body"],
    ["logs", "-f", "loud#1"],
    ["logs", "loud#1/noisy", "--attempt", "2"],
    ["why", "simple#2"],
    ["why", "simple#2", "--json"],
    ["why", "simple#2/add"],
    ["why", "refusing#1"],
    ["plan", "simple#1", "-P", "y=9"],
    ["plan", "simple#1", "-P", "y=9", "--json"],
    ["plan", "simple#1", "-P", "z=9"],
    ["plan", "simple#1", "--refresh", "add"],
    ["plan", f"{BODIES}:simple", "-P", "x=1"],
    ["plan", f"{BODIES}:training", "--json"],
    ["best", "xs"],
    ["best", "xs", "--json"],
    ["best", "ys"],
    ["studies"],
    ["studies", "--json"],
    ["compare", "simple#1", "simple#2"],
    ["compare", "simple#1", "training#1", "--all", "--json"],
    ["compare", "simple#1", "refusing#1"],
    ["queues", "show", "services"],
    ["queues", "show", "nowhere"],
    ["clone", "simple#1", "-P", "z=1"],
    ["rerun", "simple#1", "--from", "sub"],
    ["resume", "simple#1"],
    ["resume", "xs"],
    ["run", "simple#1"],
    ["abort", "simple#1"],
    ["optimize", "simple#1", "-P", "z=choice(1,2)", "-n", "2", "--json"],
]


@pytest.fixture(scope="module")
def served(_recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The recorded home, in a copy of its own."""
    home = tmp_path_factory.mktemp("copied") / "home"
    shutil.copytree(_recorded, home)
    with serving(home) as server:
        yield server


def here(hpo: Hpo, patch: pytest.MonkeyPatch, home: Path, *arguments: str) -> Ended:
    patch.delenv("HPO_SERVER", raising=False)
    patch.setenv("HPO_HOME", str(home))
    return hpo(*arguments)


def there(hpo: Hpo, patch: pytest.MonkeyPatch, url: str, home: Path, *arguments: str) -> Ended:
    patch.setenv("HPO_SERVER", url)
    patch.setenv("HPO_HOME", str(home))
    return hpo(*arguments)


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
def test_a_command_says_the_same(
    hpo: Hpo, served: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    said = there(hpo, monkeypatch, served.url, tmp_path / "client", *command)
    expected = here(hpo, monkeypatch, served.workspace.home, *command)
    if "nowhere" in command:  # what the cure names is a file of the one machine or of the other
        assert said.code == expected.code
        assert said.err.partition("A queue is declared")[0] == expected.err.partition("A queue is declared")[0]
    else:
        assert said == expected
    assert not (tmp_path / "client").exists()


ACTS = [
    ["run", f"{BODIES}:simple", "-P", "x=3", "--tag", "kept"],
    ["run", f"{BODIES}:training"],  # whose body prints
    ["run", f"{BODIES}:simple", "-P", "x=3", "--json"],
    ["run", f"{BODIES}:refusing", "-P", "x=1"],
    ["run", f"{BODIES}:simple", "-P", "x=three"],
    ["run", f"{BODIES}:simpel"],
    ["clone", "simple#1", "-P", "y=4"],
    ["clone", "simple#1", "-P", "y=6", "--draft"],
    ["clone", "simple#1", "--draft", "--json"],
    ["run", "simple#4"],
    ["abort", "simple#5"],
    ["abort", "simple#5"],
    ["rerun", "simple#1"],
    ["rerun", "simple#1", "--refresh", "add"],
    ["rerun", "refusing#1", "--failed"],
    ["rerun", "simple#1", "--no-reuse"],
    ["resume", "refusing#1"],
    ["optimize", f"{BODIES}:simple", "-P", SPACE, "-n", "3", "--seed", "0", "--name", "xs"],
    ["optimize", "simple#1", "-P", SPACE, "-n", "2", "--seed", "0", "--name", "of-a-run", "--json"],
    ["resume", "xs", "-n", "4"],
    ["best", "xs"],
    ["show", "simple#3", "--json"],
    ["archive", "simple#1", "xs"],
    ["archive", "simple#1"],
    ["archive", "nowhere#1"],
    ["ls", "-n", "50", "--archived"],
    ["restore", "simple#1", "--json"],
    ["ls", "-n", "50"],
    ["restore", "xs"],
    ["rm", "xs"],  # where nobody can be asked
    ["rm", "simple#1", "--yes"],  # over which a study was started
    ["rm", "xs", "training#1", "--yes"],
    ["rm", "of-a-run", "--yes", "--json"],
    ["rm", "xs", "--yes"],
    ["ls", "-n", "50"],
]
"""One after the other: later ones name what earlier ones made."""


def plain(text: str) -> str:
    """``text`` without ids, moments, durations, and what is said of where a run was driven."""
    text = re.sub(r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b", "ID", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+Z)?", "WHEN", text)
    text = re.sub(r"\d+\.\d s\b", "TIME", text)
    text = re.sub(r'("(?:\w+_at|seconds|spent|useful|saved|wasted)": )[-\d.e]+', r"\1TIME", text)
    text = re.sub(r'"queue": "services"', '"queue": null', text)
    text = re.sub(r"(; )http://127\.0\.0\.1:\d+/studies/ID", r"\1hpo mlflow", text)  # where there are pages
    # There the code is that of its snapshot, which a traceback says.
    text = re.sub(r"(\.py)@[0-9a-f]{8}", r"\1", re.sub(r'(File ")[^"]*/', r"\1", text))
    return re.sub(r" +", " ", text)


def steady(lines: str) -> list[str]:
    """What follows a run tells of the statuses that it sees: of one that is short, not of every one."""
    return [line for line in plain(lines).splitlines() if not re.search(r" (running|queued)\b", line)]


@pytest.mark.integration
def test_what_changes_something_does_the_same(hpo: Hpo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, other, client = (tmp_path / name for name in ("own", "other", "client"))
    own.mkdir()
    other.mkdir()
    with serving(other) as server:
        for command in ACTS:
            said = there(hpo, monkeypatch, server.url, client, *command)
            expected = here(hpo, monkeypatch, own, *command)
            assert (said.code, plain(said.out)) == (expected.code, plain(expected.out)), command
            assert steady(said.err) == steady(expected.err), command
    assert not client.exists()


def test_where_there_is_nothing_the_server_is_named(hpo: Hpo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path) as server:
        said = there(hpo, monkeypatch, server.url, tmp_path / "client", "ls")
        assert (said.code, said.err) == (0, f"No runs yet in {server.url}: hpo run FILE.py:PIPELINE starts one.\n")
        assert server.url in there(hpo, monkeypatch, server.url, tmp_path / "client", "studies").err
        queues = there(hpo, monkeypatch, server.url, tmp_path / "client", "queues", "--json").documents
        assert {row["queue"]: len(row["agents"]) for row in queues} == {"default": 1, "services": 1}
        assert there(hpo, monkeypatch, server.url, tmp_path / "client", "queues", "pause", "services").code == 0
        assert server.workspace.store.queues.states()["services"].paused


@pytest.mark.parametrize("command", [["up"], ["agent"], ["mlflow"], ["cache", "ls"], ["cache", "gc"]], ids=" ".join)
def test_what_needs_the_store_itself_is_refused_with_the_cure(
    hpo: Hpo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    said = there(hpo, monkeypatch, "http://127.0.0.1:9", tmp_path, *command)
    assert said.code == 19
    assert f"`hpo {command[0]}` works on the store itself, and HPO_SERVER=http://127.0.0.1:9 names a server" in said.err
    assert "with HPO_SERVER unset" in said.err
    assert there(hpo, monkeypatch, "http://127.0.0.1:9", tmp_path, command[0], "--help").code == 0


def test_a_server_that_is_away_is_said(hpo: Hpo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_pipelines.remote.connection.FIRST_PAUSE", 0.001)
    said = there(hpo, monkeypatch, "http://127.0.0.1:9", tmp_path, "ls", "--json")
    assert said.code == 16
    assert said.document["error"]["type"] == "StoreError"
    assert "http://127.0.0.1:9 does not answer" in said.err


@pytest.mark.integration
def test_a_console_is_followed_while_it_is_written_there(shell: Shell, tmp_path: Path) -> None:
    home = tmp_path / "server"
    home.mkdir()
    source = tmp_path / "gated.py"
    source.write_text(
        "import time\nfrom pathlib import Path\nfrom hpo_pipelines import component, pipeline\n"
        "@component\ndef waits(gate: str) -> int:\n    print('before', flush=True)\n"
        "    while not Path(gate).exists():\n        time.sleep(0.01)\n    print('after')\n    return 1\n"
        "@pipeline\ndef gated(gate: str) -> int:\n    print('the body')\n    return waits(gate)\n"
    )
    gate = tmp_path / "gate"
    with serving(home, executor="local") as server:
        shell.environment["HPO_SERVER"] = server.url
        driving = shell.start("run", f"{source}:gated", "-P", f"gate={gate}")
        with Workspace(server.url) as place:
            wait_until(lambda: bool(place.runs()) and "before" in _said(place), "the step to print")
        following = shell.start("logs", "-f", "gated#1")
        assert following.stdout is not None
        assert {following.stdout.readline() for _ in range(2)} == {"body | the body\n", "waits | before\n"}
        gate.touch()
        out, err = following.communicate(timeout=60)
        assert (out, err, following.returncode) == ("waits | after\n", "", 0)
        out, err = driving.communicate(timeout=60)
        assert (out, driving.returncode) == ("the body\n1\n", 0)
        # Ctrl-C of whoever asked for a run ends it, wherever it is driven.
        gate.unlink()
        driving = shell.start("rerun", "gated#1", "--no-reuse")
        with Workspace(server.url) as place:
            wait_until(lambda: place.runs()[0].label == "gated#2" and place.runs()[0].status == "running", "a rerun")
            os.kill(driving.pid, signal.SIGINT)
            driving.communicate(timeout=60)
            assert driving.returncode in INTERRUPTED
            assert place.run_called("gated#2").status == "aborted"


def _said(place: Workspace) -> str:
    steps = place.runs()[0].steps
    return steps["waits"].console() if "waits" in steps else ""
