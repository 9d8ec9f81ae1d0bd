"""Agents whose store is out of reach for a moment: they let go of their runs, which are taken again, and go on."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from samples import queueing
from services import Postgresql, wait_until
from test_agent import drafted, executions

from hpo_pipelines import Status, Workspace
from hpo_pipelines.agent import LONGEST_PAUSE, SHORTEST_PAUSE, Agent, Reach
from hpo_pipelines.errors import StoreError

AWAY = StoreError("it is away", passing=True)


# -- what an agent makes of it


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_it_is_said_once_that_the_store_is_away_and_once_that_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    reach = Reach()
    reach.regain()
    for _ in range(3):
        reach.lose(AWAY)
    assert reach.is_doubtful
    reach.regain()
    reach.regain()
    assert not reach.is_doubtful
    assert [record.getMessage() for record in caplog.records] == [
        "the store cannot be reached; the agent goes on trying: it is away",
        "the store can be reached again",
    ]


def test_the_longer_it_is_away_the_less_often_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("hpo_pipelines.agent.time", clock)
    reach, pauses = Reach(), []
    assert reach.pause <= 0
    for _ in range(9):
        for _ in range(5):
            reach.doubt()  # by each of its runs
        pauses.append(reach.pause)
        clock.now += reach.pause
    assert pauses[:3] == [SHORTEST_PAUSE, 2 * SHORTEST_PAUSE, 4 * SHORTEST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    clock.now += 3 * LONGEST_PAUSE
    reach.doubt()
    assert reach.pause == SHORTEST_PAUSE


# -- runs


_schemas = itertools.count(1)


@pytest.fixture
def url(postgresql_to_stop: Postgresql) -> str:
    postgresql_to_stop.start()
    name = f"outage_{next(_schemas)}"
    with connected(postgresql_to_stop) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{postgresql_to_stop.url}&options=-csearch_path%3D{name}"


@contextmanager
def connected(server: Postgresql) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(host=str(server.folder), user="hpo", dbname="postgres", autocommit=True) as connection:
        yield connection


@contextmanager
def listening(agent: Agent) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        yield thread
    finally:
        agent.drain()
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.integration
class TestPostgresql:
    @pytest.mark.parametrize("executor", ["inline", "local"])
    def test_a_lost_session_ends_no_run(
        self, postgresql_to_stop: Postgresql, url: str, folder: Path, home: Path, executor: str
    ) -> None:
        with Workspace(url) as workspace:
            run = drafted(workspace, folder, queueing.three, n=1, executor=executor).enqueue()
            with listening(Agent(workspace, ["services"])):
                wait_until(lambda: executions(folder)["gated-1"] == 1, "the second step to be under way")
                # Inline nobody writes meanwhile that it was begun.
                begun = [Status.RUNNING] if executor == "local" else []
                wait_until(lambda: begun == [s.status for s in run.steps.values() if s.name == "gated"], "its record")
                with connected(postgresql_to_stop) as connection:
                    self.end_the_session_that_writes(connection, f"{url.rpartition('%3D')[2]}.hpo_tasks", folder)
                assert run.wait(60).status is Status.COMPLETED, run.error
            assert run.value == 4
            assert executions(folder) == {"first-1": 1, "gated-1": 2, "last-2": 1}
            *lost, last = run.steps["gated"].attempts
            assert last.status is Status.COMPLETED
            assert [attempt.status for attempt in lost] == [Status.ABORTED for _ in begun]

    def end_the_session_that_writes(self, connection: psycopg.Connection[Any], table: str, folder: Path) -> None:
        """Let the run go on, and end the session that then writes into ``table``, and no other."""
        waits = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        with connection.transaction():
            connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            (folder / "open").touch()
            wait_until(lambda: connection.execute(waits).fetchone() is not None, "somebody to write")
            ended = connection.execute(f"SELECT pg_terminate_backend(pid) FROM ({waits}) AS waiting").fetchall()
            assert ended == [(True,)]

    def test_it_is_no_error_for_the_body_to_catch(
        self, postgresql_to_stop: Postgresql, url: str, folder: Path, home: Path
    ) -> None:
        with Workspace(url) as workspace:
            run = drafted(workspace, folder, queueing.stubborn, n=3, executor="inline").enqueue()
            with listening(Agent(workspace, ["services"])):
                wait_until(lambda: "first" in run.steps and run.steps["first"].status.finished, "the first step")
                with connected(postgresql_to_stop) as connection:
                    self.end_the_session_that_writes(connection, f"{url.rpartition('%3D')[2]}.hpo_metrics", folder)
                assert run.wait(60).value == 6
            assert run.metrics["seen"] == 3.0
        assert executions(folder) == {"first-3": 1, "last-3": 1}

    def test_a_server_that_stops_and_starts_again_is_waited_for(
        self,
        postgresql_to_stop: Postgresql,
        url: str,
        folder: Path,
        home: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.WARNING, "hpo_pipelines.agent")
        with Workspace(url) as workspace:
            runs = [drafted(workspace, folder, queueing.three, n=n, executor="local").enqueue() for n in (1, 2)]
            with listening(Agent(workspace, ["services"])):
                wait_until(lambda: executions(folder)["gated-1"] == executions(folder)["gated-2"] == 1, "two steps")
                postgresql_to_stop.stop()
                (folder / "open").touch()
                wait_until(lambda: caplog.text.count("is let go of") == 2, "the runs to be let go of")
                wait_until(lambda: "the store cannot be reached" in caplog.text, "the agent to try")
                postgresql_to_stop.start()
                wait_until(lambda: "the store can be reached again" in caplog.text, "the agent to find it")
                assert [run.wait(60).value for run in runs] == [4, 6]
        assert caplog.text.count("the store cannot be reached") == 1
        assert executions(folder) == {
            **{f"first-{n}": 1 for n in (1, 2)},
            **{f"gated-{n}": 2 for n in (1, 2)},
            **{f"last-{n + 1}": 1 for n in (1, 2)},
        }

    def test_an_agent_that_is_drained_meanwhile_leaves_its_run_to_another(
        self,
        postgresql_to_stop: Postgresql,
        url: str,
        folder: Path,
        home: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        with Workspace(url) as workspace, Workspace(url) as other:
            run = drafted(workspace, folder, queueing.stubborn, n=3, executor="inline").enqueue()
            agent = Agent(workspace, ["services"])
            with listening(agent) as thread:
                wait_until(lambda: "first" in run.steps and run.steps["first"].status.finished, "the first step")
                postgresql_to_stop.stop()
                (folder / "open").touch()
                wait_until(lambda: "is let go of" in caplog.text, "the run to be let go of")
                agent.drain()
                thread.join(60)
                assert not thread.is_alive(), "it has nothing left to wait for"
            postgresql_to_stop.start()
            with listening(Agent(other, ["services"])):
                assert run.wait(60).value == 6, run.error
            assert other.store.queues.entry(run.id) is None
            deaths = [event for event in other.store.events.story(run.id) if event.kind == "orphaned"]
            assert deaths == [], "nobody died"
            assert run.metrics["seen"] == 3.0
        assert executions(folder) == {"first-3": 1, "last-3": 1}
