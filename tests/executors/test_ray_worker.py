"""The code that runs in Ray's workers, inside this process and without Ray; :mod:`executors.test_ray` has it there."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from executors import steps
from executors.bench import Bench
from executors.contract import living
from services import wait_until

from hpo_pipelines.executors import outbox, processes, ray_worker
from hpo_pipelines.executors.base import Assignment, Completed, ConsoleChunk, Failed, Lost, Started, TimedOut
from hpo_pipelines.executors.inline import InlineExecutor
from hpo_pipelines.executors.ray_worker import Mailbox, Terms, _Process
from hpo_pipelines.executors.worker import Loader
from hpo_pipelines.types import Resources


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(InlineExecutor(), tmp_path, steps.nothing)


class Sent:
    """The reference of a call to the mailbox, answered at once."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def _on_completed(self, callback: Any) -> None:
        callback(self.answer)


class Box:
    """A mailbox within reach."""

    def __init__(self) -> None:
        self.letters: list[Any] = []
        self.answer: Any = None
        self.post = self

    def remote(self, letter: bytes) -> Sent:
        if self.answer is None:
            self.letters.append(pickle.loads(letter))
        return Sent(self.answer)


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Box:
    made = Box()
    monkeypatch.setattr(ray_worker, "_mailboxes", {"box": made})
    return made


@pytest.fixture
def process(bench: Bench, box: Box, as_worker: type[BaseException]) -> Iterator[_Process]:
    made = _Process()
    made.loader = Loader(bench.code)
    yield made
    signal.set_wakeup_fd(-1)
    made._signalled.close()
    wait_until(lambda: all(t.name != "hpo-signals" for t in threading.enumerate()), "the thread to end")
    made._signals.close()


def terms(announce: bool = False, shared_files: bool = True) -> Terms:
    return Terms("box", announce, shared_files, os.getcwd())


def soon(condition: Any, action: Any) -> None:
    """Act, in a thread, as soon as ``condition()``."""
    threading.Thread(target=lambda: (wait_until(condition, "it"), action())).start()


def test_a_short_step_says_everything_with_its_result(process: _Process, box: Box, bench: Bench) -> None:
    report = process.run(bench.assignment(steps.reports, "m", [1.0, 2.0]), terms())
    assert isinstance(report.ended, Completed)
    assert report.count == 2
    assert [(number, message.value) for number, message in report.rest] == [(0, 1.0), (1, 2.0)]  # type: ignore[union-attr]
    assert box.letters == []
    assert pickle.loads(pickle.dumps(report)) == report


def test_a_console_that_nobody_shares(process: _Process, bench: Bench, tmp_path: Path) -> None:
    assignment = bench.assignment(steps.say_in_every_way, "x")
    report = process.run(assignment, terms(announce=True, shared_files=False))
    assert isinstance(report.rest[0][1], Started)
    assert report.rest[0][1].worker.endswith(f":{os.getpid()}")
    chunks = [message for _, message in report.rest[1:] if isinstance(message, ConsoleChunk)]
    # What Python prints here goes to pytest.
    assert b"".join(chunk.data for chunk in chunks).split(b"\n")[-5:] == [
        b"x write",
        b"x printf",
        b"x child",
        b"x child-err",
        b"",
    ]
    assert not Path(assignment.console).exists()


def test_one_that_the_driver_sees(process: _Process, bench: Bench) -> None:
    assignment = bench.assignment(steps.say_in_every_way, "x")
    report = process.run(assignment, terms())
    assert (report.count, report.rest) == (0, [])
    assert Path(assignment.console).read_text().splitlines()[-4:] == ["x write", "x printf", "x child", "x child-err"]


def test_a_failure_leaves_its_exception_behind(process: _Process, bench: Bench) -> None:
    end = process.run(bench.assignment(steps.fail_brittle), terms()).ended
    assert isinstance(end, Failed)
    assert end.error is None


def test_messages_of_a_long_step_are_posted(
    process: _Process, box: Box, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(outbox, "PERIOD_SECONDS", 0.01)
    box.answer = ConnectionError("not yet")
    soon(lambda: process.attempt is not None, lambda: setattr(box, "answer", None))
    assignment = bench.assignment(steps.reports, "m", [1.0, 2.0, 3.0], 0.1)
    report = process.run(assignment, terms())
    assert isinstance(report.ended, Completed)
    assert report.count == 3
    assert {id for id, _ in box.letters} == {assignment.id}
    posted = [message for _, messages in box.letters for message in messages]
    assert sorted(number for number, _ in [*posted, *report.rest]) == [0, 1, 2]
    assert posted


def test_no_mailbox_yet(process: _Process, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> Any:
        raise ValueError(f"no actor {name}")

    monkeypatch.setattr(outbox, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(ray_worker, "_mailbox", nowhere)
    report = process.run(bench.assignment(steps.reports, "m", [1.0, 2.0], 0.05), terms())
    assert [number for number, _ in report.rest] == [0, 1]


def test_rays_cancel_interrupts_also_what_waits(process: _Process, bench: Bench) -> None:
    marker = bench.marker()
    # What `ray.cancel` does in a worker.
    import _thread

    soon(marker.exists, lambda: _thread.interrupt_main(signal.SIGINT))
    begun = time.monotonic()
    end = process.run(bench.assignment(steps.sleep, str(marker)), terms()).ended
    assert time.monotonic() - begun < 30
    assert isinstance(end, Failed)
    assert end.failure.type == "KeyboardInterrupt"


def test_children_of_an_interrupted_step_are_gone(
    process: _Process, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = subprocess.Popen(["sleep", "60"])
    # Only those of this test: the process has others.
    monkeypatch.setattr(processes, "kill_children", lambda pid: child.kill())
    marker = bench.marker()
    soon(marker.exists, lambda: process.interrupts.send())
    process.run(bench.assignment(steps.swallow, str(marker)), terms())
    child.wait(10)
    assert living([child.pid]) == []


def test_a_timeout_is_soft_first(process: _Process, bench: Bench) -> None:
    tidied = bench.marker()
    report = process.run(bench.assignment(steps.tidy, str(bench.marker()), str(tidied), timeout=0.1), terms())
    assert report.ended == TimedOut(0.1)
    assert tidied.exists()


def test_so_is_the_end_of_memory(process: _Process, bench: Bench) -> None:
    limited = bench.assignment(steps.sleep, str(bench.marker()), resources=Resources(memory=1_000_000))
    end = process.run(limited, terms()).ended
    assert isinstance(end, Lost)
    assert end.reason.startswith("out of memory: used ")


def attempt(process: _Process, assignment: Assignment, shared_files: bool = False) -> ray_worker._Attempt:
    return ray_worker._Attempt(assignment, terms(shared_files=shared_files), process.interrupts)


def test_what_does_not_end_softly_is_ended(
    process: _Process, box: Box, bench: Bench, as_worker: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(processes, "kill_children", killed.append)
    stuck = attempt(process, bench.assignment(steps.identity, 1))
    stuck.verdict = TimedOut(1.0)
    with pytest.raises(as_worker):
        stuck.end(0.0)
    assert killed == [os.getpid()]
    assert box.letters == [(stuck.assignment.id, [(0, TimedOut(1.0))])]
    stuck._outbox.close(0.0)
    assert stuck._file is not None
    stuck._file.close()


def test_what_has_ended_is_left_alone(process: _Process, bench: Bench) -> None:
    over = attempt(process, bench.assignment(steps.identity, 1), shared_files=True)
    over.over.set()
    over.end(0.0)


def test_the_generic_function(bench: Bench, box: Box, process: _Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_worker, "_process", process)
    report = pickle.loads(ray_worker.execute(pickle.dumps((bench.assignment(steps.identity, 5), terms()))))
    assert bench.store.get(report.ended.outputs["value"]) == 5


class TestMailbox:
    def test_letters_stay_until_they_are_taken(self) -> None:
        async def story() -> None:
            box = Mailbox()
            await box.post(b"1")
            await box.post(b"2")
            epoch, taken, letters = await box.take("", 0, 0.01)
            assert (taken, letters) == (2, [b"1", b"2"])
            await box.post(b"3")
            # The answer was lost: the same call again.
            assert await box.take("", 0, 0.01) == (epoch, 3, [b"1", b"2", b"3"])
            assert await box.take(epoch, 2, 0.01) == (epoch, 3, [b"3"])
            assert await box.take(epoch, 3, 0.01) == (epoch, 3, [])

        asyncio.run(story())

    def test_taking_waits_for_a_letter(self) -> None:
        async def story() -> None:
            box = Mailbox()
            taking = asyncio.create_task(box.take("", 0, 30.0))
            await asyncio.sleep(0)
            await box.post(b"1")
            assert (await taking)[2] == [b"1"]

        asyncio.run(story())

    def test_a_restarted_one_begins_anew(self) -> None:
        async def story() -> None:
            box = Mailbox()
            await box.post(b"1")
            assert (await box.take("the epoch before", 7, 0.01))[1:] == (1, [b"1"])

        asyncio.run(story())
