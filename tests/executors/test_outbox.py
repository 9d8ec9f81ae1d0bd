from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from services import wait_until

from hpo_pipelines.executors import outbox
from hpo_pipelines.executors.base import ConsoleChunk, Message, Reported
from hpo_pipelines.executors.outbox import Confirm, Numbered, Outbox


class Post:
    """Takes messages; confirms them as ``works`` says, at once."""

    def __init__(self, works: bool = True) -> None:
        self.works = works
        self.taken: list[Numbered] = []

    def __call__(self, messages: Sequence[Numbered], confirm: Confirm) -> None:
        if self.works:
            self.taken += messages
        confirm(self.works)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(outbox, "PERIOD_SECONDS", 0.01)


def report(value: float) -> Message:
    return Reported("m", value, None, 0.0)


def joined(numbered: Sequence[Numbered]) -> bytes:
    """The console, from chunks that must follow on one another."""
    data = b""
    for _, message in sorted(numbered, key=lambda item: item[0]):
        assert isinstance(message, ConsoleChunk)
        assert message.offset == len(data)
        data += message.data
    return data


def test_who_says_nothing_has_no_thread() -> None:
    box = Outbox(Post(), None)
    assert box._thread is None
    assert box.close() == (0, [])


def test_messages_are_numbered_and_posted() -> None:
    post = Post()
    box = Outbox(post, None)
    box.put(report(1))
    wait_until(lambda: len(post.taken) == 1, "the first")
    box.put(report(2))
    wait_until(lambda: len(post.taken) == 2, "the second")
    assert box.close() == (2, [])
    assert post.taken == [(0, report(1)), (1, report(2))]


def test_what_is_not_posted_yet_travels_with_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "FIRST_SECONDS", 60.0)
    post = Post()
    box = Outbox(post, None)
    box.put(report(1))
    box.put(report(2))
    assert box.close() == (2, [(0, report(1)), (1, report(2))])
    assert post.taken == []


def test_what_did_not_arrive_is_posted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post(works=False)
    box = Outbox(post, None)
    box.put(report(1))
    threading.Event().wait(0.05)
    post.works = True
    wait_until(lambda: post.taken == [(0, report(1))], "the report")
    assert box.close() == (1, [])


def test_what_is_not_confirmed_travels_too() -> None:
    posted = threading.Event()
    box = Outbox(lambda messages, confirm: posted.set(), None)
    box.put(report(1))
    assert posted.wait(10)
    assert not box.flush(0.01)
    assert box.close() == (1, [(0, report(1))])


def test_the_console_is_read_as_it_grows(tmp_path: Path) -> None:
    console, post = tmp_path / "console", Post()
    box = Outbox(post, str(console))
    box.start()
    threading.Event().wait(0.03)  # there is none yet
    with open(console, "ab", buffering=0) as file:
        file.write(b"one\n")
        wait_until(lambda: joined(post.taken) == b"one\n", "the first line")
        file.write(b"two\n")
        wait_until(lambda: joined(post.taken) == b"one\ntwo\n", "the second line")
    assert box.close() == (2, [])


def test_the_last_of_a_console_travels_with_the_result(tmp_path: Path) -> None:
    console, post = tmp_path / "console", Post()
    console.write_bytes(b"all of it")
    assert Outbox(post, str(console)).close() == (1, [(0, ConsoleChunk(0, b"all of it"))])
    assert post.taken == []


def test_a_long_console_is_posted_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "CHUNK", 1000)
    monkeypatch.setattr(outbox, "AHEAD", 3000)
    monkeypatch.setattr(outbox, "LATE", 1500)
    console, post = tmp_path / "console", Post()
    data = bytes(range(256)) * 100
    console.write_bytes(data)
    count, rest = Outbox(post, str(console)).close()
    assert joined([*post.taken, *rest]) == data
    assert count == len(post.taken) + len(rest)
    assert all(len(message.data) <= 1000 for _, message in post.taken if isinstance(message, ConsoleChunk))


def test_a_loss_is_admitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "CHUNK", 1000)
    monkeypatch.setattr(outbox, "AHEAD", 3000)
    monkeypatch.setattr(outbox, "LATE", 1500)
    console = tmp_path / "console"
    console.write_bytes(b"x" * 10_000)
    count, rest = Outbox(Post(works=False), str(console)).close(patience=0.01)
    assert count == len(rest) == 4
    assert joined(rest) == b"x" * 3000 + b"\n[7000 more bytes of console output could not be sent to the driver]\n"
