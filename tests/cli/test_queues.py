"""``hpo enqueue``, ``queues`` and ``agent``; ``--queue`` of the commands that start runs."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from agents import agent
from cli.conftest import BODIES, INTERRUPTED, Hpo, Shell
from services import wait_until

from hpo_pipelines import Workspace
from hpo_pipelines.agent import Agent

pytestmark = pytest.mark.usefixtures("home")

NO_AGENT = "waits: no agent listens to queue services; `hpo agent --queue services` starts one"


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """An agent leaves them as they were."""
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    yield
    assert {one: signal.getsignal(one) for one in before} == before


def test_a_run_waits_is_shown_and_is_driven(hpo: Hpo) -> None:
    ended = hpo("enqueue", f"{BODIES}:simple", "-P", "x=40", "-P", "y=2")
    assert (ended.code, ended.out) == (0, f"simple#1 is in queue services; {NO_AGENT}\n")
    assert NO_AGENT in hpo("show", "simple#1").out
    assert hpo("show", "simple#1", "--json").document["reason"] == NO_AGENT
    (default, services) = hpo("queues", "--json").documents
    assert (services["queue"], services["waiting"], services["running"], services["agents"]) == ("services", 1, 0, [])
    assert default["waiting"] == 0
    driven = hpo("agent", "--until-idle")
    assert driven.code == 0
    assert driven.err.splitlines()[-1] == "1 run driven"
    assert hpo("show", "simple#1", "--json").document["status"] == "completed"


def test_order_priority_pause_and_limit(hpo: Hpo) -> None:
    for number in (1, 2):
        assert hpo("enqueue", f"{BODIES}:simple", "-P", f"x={number}", "-P", "y=0", "--queue", "default").code == 0
    assert hpo("enqueue", "simple#2", "--queue", "default", "--priority", "3").code == 0
    line = hpo("queues", "show", "default", "--json").documents
    assert [(row["run"], row["priority"]) for row in line] == [("simple#2", 3), ("simple#1", 0)]
    assert hpo("queues", "show", "default").out.splitlines()[1].split()[0] == "simple#2"
    assert hpo("queues", "show", "services").err == "nothing waits in services\n"
    assert hpo("queues", "pause", "default").out == "default is paused\n"
    assert hpo("queues", "limit", "default", "2").out == "default is paused, at most 2 of its runs under way\n"
    assert "paused" in hpo("queues").out
    assert hpo("queues", "resume", "default").out == "default is open, at most 2 of its runs under way\n"
    assert hpo("queues", "limit", "default", "none").out == "default is open\n"
    for wrong in ("0", "-1", "many", "²", "9" * 20):
        assert hpo("queues", "limit", "default", wrong).code == 2
    assert hpo("enqueue", "simple#2", "--priority", "9" * 20).code == 2


def test_one_that_is_moved_keeps_what_is_not_given(hpo: Hpo, home: Path) -> None:
    hpo("enqueue", f"{BODIES}:simple", "-P", "x=1", "-P", "y=2", "--no-reuse", "--priority", "4")
    assert hpo("enqueue", "simple#1", "--queue", "default").code == 0
    assert hpo("enqueue", "simple#1", "--priority", "5").code == 0
    with Workspace(home=home) as place:
        (entry,) = place.store.queues.line("default")
    assert (entry.priority, entry.options) == (5, {"reuse": False})


def test_what_waits_in_a_queue_that_is_declared_no_more_is_shown_and_can_be_moved(hpo: Hpo, home: Path) -> None:
    (home / "config.toml").write_text("[queues.gpu]\n")
    hpo("enqueue", f"{BODIES}:simple", "-P", "x=1", "-P", "y=2", "--queue", "gpu")
    (home / "config.toml").unlink()
    assert [row["run"] for row in hpo("queues", "show", "gpu", "--json").documents] == ["simple#1"]
    assert hpo("enqueue", "simple#1", "--queue", "default").code == 0
    assert hpo("queues", "show", "gpu").code == 19


def test_one_that_waits_may_be_run_here(hpo: Hpo) -> None:
    hpo("enqueue", f"{BODIES}:simple", "-P", "x=1", "-P", "y=2")
    assert "`hpo run simple#1` starts it" in hpo("resume", "simple#1").err
    ended = hpo("run", "simple#1")
    assert (ended.code, ended.out) == (0, "3\n")
    assert hpo("agent", "--until-idle").err.splitlines()[-1] == "0 runs driven"


def test_one_that_waits_is_run_as_it_was_enqueued_unless_told_otherwise(hpo: Hpo, home: Path) -> None:
    hpo("run", f"{BODIES}:simple", "-P", "x=1", "-P", "y=2")

    def reused(run: str, *options: str) -> list[bool]:
        assert hpo("run", run, *options).code == 0
        return [step["reused_from"] is not None for step in hpo("show", run, "--json").document["steps"]]

    for _ in range(3):
        assert hpo("enqueue", f"{BODIES}:simple", "-P", "x=1", "-P", "y=2", "--refresh", "number").code == 0
    assert reused("simple#2") == [False, True]
    assert reused("simple#3", "--no-reuse") == [False, False]
    for option in (("--executor", "local"), ("-P", "x=3"), ("--tag", "new")):
        ended = hpo("run", "simple#4", *option)
        assert ended.code == 2
        assert "leave out -P, --executor and --tag, or make one with others: `hpo clone simple#4`" in ended.err
    with agent(home, "default"):
        assert reused("simple#4", "--queue", "default") == [False, True]


@pytest.mark.parametrize("name", ["gpu größe", "größe", "a'b", "-x"])
def test_what_is_said_to_help_can_be_pasted_into_a_shell(hpo: Hpo, home: Path, name: str) -> None:
    ended = hpo("enqueue", f"{BODIES}:simple", "-P", "x=1", "-P", "y=2", f"--queue={name}")
    assert ended.code == 19
    table = re.search(r"declared by a table (\[.*\]) in", ended.err)
    assert table is not None
    (home / "config.toml").write_text(f"{table.group(1)}\n")
    assert hpo("enqueue", f"{BODIES}:simple", "-P", "x=1", "-P", "y=2", f"--queue={name}").code == 0
    program, *starts = cure(hpo)
    assert program == "hpo"
    with Workspace(home=home) as place:
        listening = Agent(place, [name]).listening
        place.engine.liveness.claim(listening.lease, listening.note())
        assert hpo("queues", "pause", "--", name).code == 0
        _, *opens = cure(hpo)
        assert hpo(*opens).out == f"{name} is open\n"
    assert hpo(*starts, "--until-idle").err.splitlines()[-1] == "1 run driven"


def cure(hpo: Hpo) -> list[str]:
    """The words of the command that is said to help."""
    return shlex.split(hpo("show", "simple#1", "--json").document["reason"].split("`")[1])


def test_unknown_queues_and_runs_are_refused_before_anything_is_recorded(hpo: Hpo) -> None:
    for command in (["enqueue", f"{BODIES}:simple", "--queue", "service"], ["agent", "--queue", "service"]):
        ended = hpo(*command)
        assert ended.code == 19
        assert "did you mean 'services'" in ended.err
    assert hpo("queues", "pause", "gpu").code == 19
    assert hpo("ls", "--json").documents == []
    assert "no run" in hpo("enqueue", "nothing#3").err.lower()
    hpo("run", f"{BODIES}:simple", "-P", "x=1", "-P", "y=1")
    ended = hpo("enqueue", "simple#1")
    assert "only a draft waits" in ended.err
    assert hpo("enqueue", "simple#1", "-P", "x=3").code == 2


@pytest.mark.parametrize("command", ["run", "clone", "rerun"])
def test_with_a_queue_an_agent_drives_it_and_we_look_on(hpo: Hpo, home: Path, command: str) -> None:
    hpo("run", f"{BODIES}:simple", "-P", "x=1", "-P", "y=2")
    arguments = {
        "run": [f"{BODIES}:simple", "-P", "x=1", "-P", "y=2"],
        "clone": ["simple#1", "-P", "y=2"],
        "rerun": ["simple#1"],
    }[command]
    with agent(home):
        ended = hpo(command, *arguments, "--queue", "services")
    assert (ended.code, ended.out) == (0, "3\n")
    assert hpo("show", "simple#2", "--json").document["queue"] == "services"


def test_what_was_kept_cannot_be_told_to_an_agent(hpo: Hpo) -> None:
    hpo("run", f"{BODIES}:simple", "-P", "x=1", "-P", "y=2")
    assert hpo("rerun", "simple#1", "--failed", "--queue", "services").code == 2


def test_a_study_has_agents_drive_its_trials(hpo: Hpo, home: Path) -> None:
    with agent(home):
        ended = hpo(
            "optimize", f"{BODIES}:simple", "-P", "x=choice(1,2)", "-P", "y=3", "-n", "2", "--queue", "services",
            "--json",
        )  # fmt: skip
    assert ended.code == 0
    assert [run["queue"] for run in (hpo("show", f"simple#{n}", "--json").document for n in (1, 2))] == ["services"] * 2


@pytest.mark.integration
def test_who_looks_on_may_leave(shell: Shell, home: Path) -> None:
    looking = shell.start("run", f"{BODIES}:simple", "-P", "x=1", "-P", "y=2", "--queue", "services")
    with Workspace(home=home) as place:
        wait_until(lambda: place.store.queues.counts() == {"services": (1, 0)}, "the run to wait")
        looking.send_signal(signal.SIGINT)
        _, said = looking.communicate(timeout=60)
        assert looking.returncode in INTERRUPTED
        assert "simple#1 stays in queue services; `hpo abort simple#1` stops it" in said
        assert place.store.queues.counts() == {"services": (1, 0)}
