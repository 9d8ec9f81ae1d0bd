"""The worker process of the local executor, inside this process; :mod:`executors.test_local` has it in its own."""

from __future__ import annotations

import pickle
import socket
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from executors import steps
from executors.bench import Bench
from services import wait_until

from hpo_pipelines.executors import processes
from hpo_pipelines.executors.base import Begun, Completed, Failed, Lost, Reported
from hpo_pipelines.executors.inline import InlineExecutor
from hpo_pipelines.executors.local_worker import LocalWorker
from hpo_pipelines.executors.worker import Loader


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(InlineExecutor(), tmp_path, steps.nothing)


@pytest.fixture
def driver() -> Iterator[Connection]:
    ours, theirs = socket.socketpair()
    with Connection(ours.detach()) as connection:
        connection.theirs = theirs  # type: ignore[attr-defined]
        yield connection


@pytest.fixture
def worker(driver: Any, bench: Bench, as_worker: type[BaseException]) -> Iterator[LocalWorker]:
    with Connection(driver.theirs.detach()) as connection:
        made = LocalWorker(connection)
        made._loader = Loader(bench.code)
        yield made


def hear(driver: Connection) -> Any:
    assert driver.poll(10)
    return pickle.loads(driver.recv_bytes())


def test_it_runs_and_reports(worker: LocalWorker, driver: Connection, bench: Bench) -> None:
    end = worker._run(bench.assignment(steps.reports, "m", [1.0, 2.0]))
    assert isinstance(end, Completed)
    assert [hear(driver).value for _ in range(2)] == [1.0, 2.0]
    assert not driver.poll()


def test_a_failure_leaves_its_exception_behind(worker: LocalWorker, bench: Bench) -> None:
    end = worker._run(bench.assignment(steps.fail_brittle))
    assert isinstance(end, Failed)
    assert end.error is None
    assert end.failure.type == "Brittle"
    pickle.dumps(end)


def test_it_says_when_it_begins_with_what_has_a_timeout(worker: LocalWorker, driver: Connection, bench: Bench) -> None:
    assert isinstance(worker._run(bench.assignment(steps.identity, 1, timeout=5.0)), Completed)
    assert hear(driver) == Begun()


def test_a_cancel_that_came_first(worker: LocalWorker, bench: Bench) -> None:
    assignment = bench.assignment(steps.identity, 1)
    worker._cancelled = assignment.id
    end = worker._run(assignment)
    assert isinstance(end, Failed)
    assert end.failure.type == "KeyboardInterrupt"


def test_it_listens_until_its_driver_goes(
    worker: LocalWorker, driver: Connection, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(processes, "kill_children", killed.append)
    left: list[BaseException] = []

    def listen() -> None:
        try:
            worker._listen()
        except BaseException as end:  # noqa: BLE001 - the end of the process
            left.append(end)

    thread = threading.Thread(target=listen)
    thread.start()
    marker = bench.marker()
    assignment = bench.assignment(steps.sleep, str(marker))
    driver.send_bytes(pickle.dumps(("run", assignment)))
    driver.send_bytes(pickle.dumps(("cancel", "somebody else")))
    wait_until(lambda: worker._cancelled == "somebody else", "the cancel")
    assert worker._inbox.get(timeout=10) == assignment
    threading.Thread(target=lambda: (wait_until(marker.exists, "it"), cancel(driver, assignment.id))).start()
    begun = time.monotonic()
    end = worker._run(assignment)
    assert time.monotonic() - begun < 30
    assert isinstance(end, Failed)
    assert end.failure.type == "KeyboardInterrupt"
    driver.close()
    thread.join(10)
    assert len(left) == 1
    assert len(killed) == 1


def cancel(driver: Connection, attempt: str) -> None:
    driver.send_bytes(pickle.dumps(("cancel", attempt)))


def test_out_of_memory_is_its_last_word(
    worker: LocalWorker, driver: Connection, monkeypatch: pytest.MonkeyPatch, as_worker: type[BaseException]
) -> None:
    monkeypatch.setattr(processes, "kill_children", lambda pid: None)
    with pytest.raises(as_worker):
        worker._out_of_memory("out of memory: used 2 of 1")
    assert hear(driver) == Lost("out of memory: used 2 of 1")


def test_an_interrupt_spoils_no_message(worker: LocalWorker, driver: Connection) -> None:
    class Interrupting:
        def send_bytes(self, data: bytes) -> None:
            worker._interrupts.send()
            time.sleep(0.05)
            sent.append(data)

    sent: list[bytes] = []
    worker._outgoing = Interrupting()  # type: ignore[assignment]
    after: list[int] = []

    def code() -> None:
        worker._send(Reported("m", 1.0, None, 0.0))
        after.append(1)

    worker._interrupts.run(code, lambda error: None)
    assert len(sent) == 1
    assert after == []
