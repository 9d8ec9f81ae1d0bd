"""Agents: each queued run is driven once, by whoever is there, and goes on where an agent died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from samples import queueing
from services import wait_until

from hpo_pipelines import Status, Workspace
from hpo_pipelines.agent import MOST_DEATHS, Agent
from hpo_pipelines.engine import Refresh, RunOptions
from hpo_pipelines.engine.journal import lease_of
from hpo_pipelines.engine.liveness import Liveness
from hpo_pipelines.errors import ConfigError, IllegalTransition
from hpo_pipelines.owner import machine
from hpo_pipelines.run import Run
from hpo_pipelines.store.queues import Entry
from hpo_pipelines.waiting import agents, options_of, recorded


@pytest.fixture
def workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("HPO_EXECUTOR", "inline")
    with Workspace() as opened:
        yield opened


def drafted(workspace: Workspace, folder: Path, pipeline: Any = queueing.quick, **params: Any) -> Run:
    draft: Run = pipeline.draft(folder=str(folder), workspace=workspace, **params)
    return draft


def executions(folder: Path) -> Counter[str]:
    return Counter(path.name.partition(".")[0] for path in folder.iterdir() if "." in path.name)


# -- waiting


def test_a_draft_waits_until_an_agent_comes_and_says_so(workspace: Workspace, folder: Path) -> None:
    queued = drafted(workspace, folder, n=3).enqueue()
    assert (queued.status, queued.task.queue) == (Status.QUEUED, "services")
    assert queued.reason == "waits: no agent listens to queue services; `hpo agent --queue services` starts one"
    Agent(workspace, ["default"]).run(until_idle=True)
    assert queued.status is Status.QUEUED
    agent = Agent(workspace, ["services", "default"])
    agent.run(until_idle=True)
    assert (queued.status, queued.value, agent.driven) == (Status.COMPLETED, 6, 1)
    assert workspace.store.queues.entry(queued.id) is None
    assert agents(workspace.store) == []


def test_why_it_waits_follows_what_is_there(workspace: Workspace, folder: Path) -> None:
    runs = [drafted(workspace, folder, n=n).enqueue(queue="default") for n in range(3)]
    agent = Agent(workspace, ["default"], max_runs=1)
    workspace.engine.liveness.claim(agent.listening.lease, agent.listening.note())
    assert runs[0].reason == "waits: next in queue default"
    assert runs[2].reason == "waits: 2 ahead of it in queue default"
    agent._runs["some run"] = threading.current_thread()
    workspace.engine.liveness.claim(agent.listening.lease, agent.listening.note())
    assert runs[1].reason == "waits: 1 ahead of it in queue default; its agent drives 1 run, as many as may be"
    workspace.store.queues.pause("default")
    assert runs[1].reason == "waits: queue default is paused; `hpo queues resume default` opens it"
    workspace.store.queues.pause("default", paused=False)
    workspace.store.queues.limit("default", 1)
    workspace.store.tasks.transition(runs[0].id, Status.RUNNING)
    assert runs[1].reason == "waits: queue default has 1 under way, and a capacity of 1"
    assert runs[0].reason is None


def test_a_queue_that_is_not_declared_is_refused_at_once(workspace: Workspace, folder: Path) -> None:
    draft = drafted(workspace, folder)
    with pytest.raises(ConfigError, match="did you mean 'services'"):
        draft.enqueue(queue="service")
    assert draft.status is Status.DRAFT
    with pytest.raises(ConfigError, match="Known: default, services"):
        Agent(workspace, ["gpu"])


def test_only_drafts_wait(workspace: Workspace, folder: Path) -> None:
    ran = queueing.quick.run(folder=str(folder), workspace=workspace)
    with pytest.raises(IllegalTransition, match=r"quick#1 is completed: only a draft waits .* clone it"):
        ran.enqueue()
    queued = ran.clone(n=2).enqueue()
    assert queued.enqueue(queue="default", priority=3).task.queue == "default"
    workspace.engine.liveness.claim(lease_of(queued.id))
    with pytest.raises(IllegalTransition, match="is being driven by"):
        queued.enqueue()


def test_higher_priority_goes_first(workspace: Workspace, folder: Path) -> None:
    low, high = (drafted(workspace, folder, n=n).enqueue(priority=n) for n in (1, 2))
    Agent(workspace, ["services"], max_runs=1).run(until_idle=True)
    assert (high.task.finished_at or 0) <= (low.task.started_at or 0)


def test_how_a_run_is_to_be_driven_waits_with_it(workspace: Workspace, folder: Path) -> None:
    options = RunOptions(refresh=Refresh(steps=frozenset({"last"})), reuse=False)
    draft = drafted(workspace, folder)
    workspace.enqueue(draft.id, options=options)
    entry = workspace.store.queues.entry(draft.id)
    assert entry is not None
    found = options_of(entry)
    assert (found.refresh, found.reuse, found.echo) == (options.refresh, False, False)
    assert recorded(RunOptions()) == {}
    queueing.quick.run(folder=str(folder), workspace=workspace)
    Agent(workspace, ["services"]).run(until_idle=True)
    assert executions(folder)["last-0"] == 2


def test_an_aborted_run_is_not_taken(workspace: Workspace, folder: Path) -> None:
    queued = drafted(workspace, folder).enqueue()
    queued.abort()
    assert workspace.store.queues.entry(queued.id) is None
    agent = Agent(workspace, ["services"])
    agent.run(until_idle=True)
    assert (queued.status, agent.driven) == (Status.ABORTED, 0)


def test_one_that_is_run_here_is_run_as_it_was_enqueued_and_leaves_its_queue(
    workspace: Workspace, folder: Path
) -> None:
    queueing.quick.run(folder=str(folder), workspace=workspace)
    queued = workspace.enqueue(drafted(workspace, folder).id, options=RunOptions(reuse=False))
    assert queued.run().steps["last"].reused_from is None
    assert workspace.store.queues.entry(queued.id) is None
    other = workspace.enqueue(drafted(workspace, folder).id, options=RunOptions(reuse=False))
    assert other.run(refresh=["first"]).steps["last"].reused_from is not None, "what is asked for now counts"


# -- driving


def test_a_body_that_leaves_ends_its_run_and_not_the_agent(workspace: Workspace, folder: Path) -> None:
    left = drafted(workspace, folder, queueing.leaving).enqueue()
    after = drafted(workspace, folder, n=1).enqueue()
    Agent(workspace, ["services"], max_runs=1).run(until_idle=True)
    assert left.status is Status.ABORTED
    assert after.status is Status.COMPLETED


def test_code_that_does_not_load_here_fails_its_run(workspace: Workspace, folder: Path) -> None:
    queued = drafted(workspace, folder).enqueue()
    workspace.store.tasks.update(queued.id, snapshot="gone")
    Agent(workspace, ["services"]).run(until_idle=True)
    assert queued.status is Status.FAILED
    assert (queued.reason or "").startswith("could not be driven: ")


def test_a_fault_of_ours_ends_its_run_instead_of_being_met_for_ever(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def faulty(*_: object) -> Run:
        raise TypeError("a fault")

    monkeypatch.setattr(workspace, "start", faulty)
    queued = drafted(workspace, folder).enqueue()
    Agent(workspace, ["services"]).run(until_idle=True)
    assert (queued.status, queued.reason) == (Status.FAILED, "could not be driven: a fault")
    assert (queued.error or {})["type"] == "TypeError"
    assert "by a fault of hpo_pipelines" in caplog.text


def test_a_run_with_which_agents_die_is_given_up(workspace: Workspace, folder: Path) -> None:
    queued = drafted(workspace, folder).enqueue()
    for _ in range(MOST_DEATHS):
        workspace.store.queues.orphaned(queued.id)
    Agent(workspace, ["services"]).run(until_idle=True)
    assert queued.status is Status.FAILED
    assert f"{MOST_DEATHS} agents died" in (queued.reason or "")


def test_nobody_waits_for_a_draft(workspace: Workspace, folder: Path) -> None:
    with pytest.raises(IllegalTransition, match="quick#1 is a draft, which nobody drives: run it, or enqueue it"):
        drafted(workspace, folder).wait()


def test_consoles_of_a_run_that_another_has_taken_are_that_ones_to_tell(workspace: Workspace, folder: Path) -> None:
    workspace.consoles.shared = True
    queued = drafted(workspace, folder, queueing.sharing).enqueue()
    agent = Agent(workspace, ["services"])
    thread = threading.Thread(target=agent.run)
    thread.start()
    sizes = workspace.store.consoles.sizes
    wait_until(lambda: "controller" in sizes(queued.id), "what the body printed")
    lease = lease_of(queued.id)
    workspace.store.leases.release(lease, workspace.engine.liveness.owner)
    assert workspace.store.leases.claim(lease, "another", 100)
    assert workspace.engine.liveness.is_taken(lease)
    with workspace.consoles.path(queued.id, "controller").open("a") as file:
        file.write("late words\n")
    before = sizes(queued.id)["controller"]
    workspace.engine._told = 0.0
    workspace.engine._tend()
    agent.drain()
    (folder / "open").touch()
    thread.join(60)
    assert not thread.is_alive()
    assert sizes(queued.id)["controller"] == before


def test_wait_returns_when_it_has_ended_or_the_time_is_over(workspace: Workspace, folder: Path) -> None:
    queued = drafted(workspace, folder, n=2).enqueue()
    assert queued.wait(0.01).status is Status.QUEUED
    thread = threading.Thread(target=Agent(workspace, ["services"]).run, kwargs={"until_idle": True})
    thread.start()
    assert queued.wait(60).value == 4
    thread.join(60)


def test_a_drained_agent_ends_what_it_has_and_takes_no_more(workspace: Workspace, folder: Path) -> None:
    under_way = drafted(workspace, folder, queueing.three).enqueue()
    agent = Agent(workspace, ["services"], max_runs=1)
    thread = threading.Thread(target=agent.run)
    thread.start()
    wait_until(lambda: executions(folder)["gated-0"] == 1, "the step to be under way")
    (listening,) = agents(workspace.store)
    assert (listening.queues, listening.max_runs) == (("services",), 1)
    agent.drain()
    later = drafted(workspace, folder, n=1).enqueue()
    (folder / "open").touch()
    thread.join(60)
    assert not thread.is_alive()
    assert (under_way.status, later.status) == (Status.COMPLETED, Status.QUEUED)
    agent.drain()


def test_what_another_has_begun_goes_before_all_that_waits(workspace: Workspace, folder: Path) -> None:
    begun, waiting = (drafted(workspace, folder, n=n).enqueue(priority=n) for n in (1, 2))
    workspace.store.tasks.transition(begun.id, Status.RUNNING)
    Agent(workspace, ["services"], max_runs=1).run(until_idle=True)
    assert (begun.status, waiting.status) == (Status.COMPLETED, Status.COMPLETED)
    assert (begun.task.finished_at or 0) <= (waiting.task.started_at or 0)


def test_who_comes_second_counts_for_nothing(workspace: Workspace, folder: Path) -> None:
    """A run whose agent died is wanted by all others at once: one gets it, and one death is counted."""
    queued = drafted(workspace, folder).enqueue()
    workspace.store.tasks.transition(queued.id, Status.RUNNING)
    gone = f"{machine()}:999999999:1.00:x"
    assert workspace.store.leases.claim(lease_of(queued.id), gone, 15)
    first, second = Agent(workspace, ["services"]), Agent(workspace, ["services"])
    second._liveness = Liveness(workspace.store)
    ((entry, owner),) = workspace.store.queues.under_way(["services"])
    assert owner == gone
    taken = first._take(entry)
    assert taken is not None
    assert taken.gone_at is not None
    assert taken.deaths == 1
    assert second._take(entry) is None
    workspace.engine.liveness.release(lease_of(queued.id))
    left = second._take(workspace.store.queues.under_way(["services"])[0][0])
    assert left is not None
    assert (left.gone_at, left.deaths) == (None, 1), "who gives its lease back has not died"


def test_an_abort_while_the_code_is_loaded_holds(workspace: Workspace, folder: Path) -> None:
    waits, begun = (drafted(workspace, folder, n=n).enqueue() for n in (1, 2))
    controller, values = workspace.controller(waits.task)
    waits.abort()
    with pytest.raises(IllegalTransition, match="but is aborted"):
        controller.drive(values)
    workspace.store.tasks.transition(begun.id, Status.RUNNING)
    seen = begun.task
    begun.abort()
    with pytest.raises(IllegalTransition, match="is aborted by now"):
        workspace.taken_over(seen, None)
    assert (waits.status, begun.status) == (Status.ABORTED, Status.ABORTED)


def test_a_body_whose_run_another_has_taken_writes_nothing_and_starts_nothing(
    workspace: Workspace, folder: Path
) -> None:
    queued = drafted(workspace, folder, queueing.telling).enqueue()
    agent = Agent(workspace, ["services"])
    thread = threading.Thread(target=agent.run)
    thread.start()
    wait_until(
        lambda: queued.steps.get("first") is not None and queued.steps["first"].status.finished, "the first step"
    )
    liveness, other = workspace.engine.liveness, Liveness(workspace.store)
    # What a process that slept for longer than its lease finds.
    workspace.store.leases.release(lease_of(queued.id), liveness.owner)
    assert other.claim(lease_of(queued.id))
    liveness.beat()
    assert not liveness.holds(lease_of(queued.id))
    (folder / "open").touch()
    wait_until(lambda: not agent._runs, "the body's end")
    agent.drain()
    thread.join(60)
    assert queued.status is Status.RUNNING
    assert "seen" not in queued.metrics
    assert [task.name for task in workspace.store.tasks.children(queued.id)] == ["first"]
    assert executions(folder) == {"first-0": 1}
    assert other.holds(lease_of(queued.id))


def test_an_agent_that_is_interrupted_leaves_its_runs_for_good(workspace: Workspace, folder: Path) -> None:
    queued = drafted(workspace, folder, queueing.telling).enqueue()
    agent, other = Agent(workspace, ["services"]), Liveness(workspace.store)

    def interrupt(news: int) -> None:
        wait_until(lambda: queued.status is Status.RUNNING, "the run to be under way")
        raise KeyboardInterrupt

    agent._rest = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        agent.run()
    assert not workspace.engine.liveness.claim(lease_of(queued.id))
    assert other.claim(lease_of(queued.id))
    (folder / "open").touch()
    wait_until(lambda: not agent._runs, "the body's end")
    assert queued.status is Status.RUNNING
    assert agents(workspace.store) == []


# -- processes

Started = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Started]:
    """Starts ``hpo agent`` as a process of its own, killed when the test ends before it."""
    started = []

    def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MLFLOW_TRACKING_URI": "", **variables}
        command = [sys.executable, "-m", "hpo_pipelines", "agent", *arguments]
        process = subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=60)


@pytest.mark.integration
class TestProcesses:
    def test_a_killed_agents_run_goes_on_with_another_from_its_journal(
        self, workspace: Workspace, folder: Path, start: Started
    ) -> None:
        queued = drafted(workspace, folder, queueing.three).enqueue()
        first = start("--executor", "local")
        wait_until(lambda: executions(folder)["gated-0"] == 1, "the second step to be under way")
        second = start("--executor", "local", "--until-idle")
        first.send_signal(signal.SIGKILL)
        wait_until(lambda: executions(folder)["gated-0"] == 2, "the other agent to take over")
        (folder / "open").touch()
        assert queued.wait(60).value == 2
        assert second.wait(60) == 0
        assert executions(folder) == {"first-0": 1, "gated-0": 2, "last-1": 1}

    def test_a_step_that_ended_since_makes_deaths_count_anew(
        self, workspace: Workspace, folder: Path, start: Started
    ) -> None:
        queued = drafted(workspace, folder, queueing.three).enqueue()
        for _ in range(MOST_DEATHS - 1):
            workspace.store.queues.orphaned(queued.id)
        first = start("--executor", "local")
        wait_until(lambda: executions(folder)["gated-0"] == 1, "the second step to be under way")
        first.send_signal(signal.SIGKILL)
        (folder / "open").touch()
        assert start("--executor", "local", "--until-idle").wait(60) == 0
        assert queued.value == 2, queued.reason
        deaths = [event.data["deaths"] for event in workspace.store.events.story(queued.id) if event.kind == "orphaned"]
        assert deaths == [*range(1, MOST_DEATHS), 1]

    def test_the_first_sigterm_drains_and_the_second_leaves_the_runs_to_others(
        self, workspace: Workspace, folder: Path, start: Started
    ) -> None:
        queued = drafted(workspace, folder, queueing.three).enqueue()
        first = start("--executor", "local")
        wait_until(lambda: executions(folder)["gated-0"] == 1, "the second step to be under way")
        first.send_signal(signal.SIGTERM)
        assert first.stderr is not None
        assert "agent of services, default" in first.stderr.readline()
        assert "finishing what is under way" in first.stderr.readline()
        assert queued.status is Status.RUNNING
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 143
        assert queued.status is Status.RUNNING
        (folder / "open").touch()
        assert start("--executor", "local", "--until-idle").wait(60) == 0
        assert queued.value == 2
        assert executions(folder)["first-0"] == 1


@pytest.mark.integration
def test_200_pipelines_that_wait_at_once_end_on_two_cpus_of_ray(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their bodies hold no CPU, so all may be under way while two steps run."""
    monkeypatch.setenv("HPO_RAY_CPUS", "2")
    monkeypatch.setenv("HPO_EXECUTOR", "ray")
    (folder / "open").touch()
    with Workspace(home=tmp_path / "home") as workspace:
        runs = [drafted(workspace, folder, queueing.three, n=n).enqueue() for n in range(200)]
        Agent(workspace, ["services"], max_runs=200).run(until_idle=True)
        assert {run.status for run in runs} == {Status.COMPLETED}
    assert sum(executions(folder).values()) == 600


@pytest.mark.integration
def test_who_comes_second_takes_the_next_at_once(
    postgresql_database: str, folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Workspace(postgresql_database) as workspace:
        one, two = (drafted(workspace, folder, n=n).enqueue() for n in (1, 2))
        other, first = Liveness(workspace.store), workspace.store.queues.first

        def beaten(names: Sequence[str]) -> Entry | None:
            """What is next as it was a moment ago: another agent has it by now."""
            entry = first(names)
            if entry is not None and entry.task == one.id:
                claim = threading.Thread(target=other.claim, args=(lease_of(one.id),))
                claim.start()
                claim.join(60)
                assert other.holds(lease_of(one.id))
            return entry

        monkeypatch.setattr(workspace.store.queues, "first", beaten)
        agent = Agent(workspace, ["services"])
        taken = agent._waiting()
        assert taken is not None
        assert taken.entry.task == two.id
        assert agent._waiting() is None
        other.close()


class ManyContract:
    """Many agents, many tasks, each driven once."""

    def test_eight_agents_drive_500_runs_once_each(self, url: str, folder: Path, start: Started, home: Path) -> None:
        with Workspace(url) as place:
            runs = [drafted(place, folder, n=n) for n in range(500)]
            for run in runs:
                run.enqueue()
            started = [
                start("--executor", "inline", "--until-idle", HPO_STORE=place.settings.store, HPO_HOME=str(home))
                for _ in range(8)
            ]
            assert [process.wait(300) for process in started] == [0] * 8
            assert {run.status for run in runs} == {Status.COMPLETED}
            assert executions(folder) == {f"last-{n}": 1 for n in range(500)}
            driven = [int(str(process.stderr.read()).rpartition("time; ")[2].split()[-3]) for process in started]  # type: ignore[union-attr]
            assert sum(driven) == 500


@pytest.mark.integration
class TestManyOnSqlite(ManyContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/many.db"


@pytest.mark.integration
class TestManyOnPostgresql(ManyContract):
    @pytest.fixture
    def url(self, postgresql_database: str) -> str:
        return postgresql_database
