from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from hpo_pipelines.executors.interrupts import WAKE, Interrupts


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, WAKE)}
    yield Interrupts()
    for number, handler in before.items():
        signal.signal(number, handler)


def came_out(error: KeyboardInterrupt) -> str:
    return "interrupted"


def test_code_that_sleeps_is_interrupted(interrupts: Interrupts) -> None:
    threading.Timer(0.05, interrupts.send).start()
    begun = time.monotonic()
    assert interrupts.run(lambda: time.sleep(30), came_out) == "interrupted"
    assert time.monotonic() - begun < 10
    assert interrupts.arrived


def test_also_where_the_signal_is_blocked(interrupts: Interrupts) -> None:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        threading.Timer(0.05, interrupts.send).start()
        assert interrupts.run(lambda: time.sleep(30), came_out) == "interrupted"
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def test_nothing_is_interrupted_before_and_after(interrupts: Interrupts) -> None:
    signal.raise_signal(signal.SIGINT)
    assert interrupts.run(lambda: 1, came_out) == 1
    signal.raise_signal(signal.SIGINT)
    assert not interrupts.arrived


def test_only_once(interrupts: Interrupts) -> None:
    def code() -> str:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            signal.raise_signal(signal.SIGINT)
            return "tidied up in peace"
        return "missed"

    assert interrupts.run(code, came_out) == "tidied up in peace"
    assert interrupts.arrived
    # Each code anew.
    assert interrupts.run(lambda: signal.raise_signal(signal.SIGINT), came_out) == "interrupted"
    assert interrupts.run(lambda: 2, came_out) == 2
    assert not interrupts.arrived


def test_a_held_interrupt_waits(interrupts: Interrupts) -> None:
    order = []

    def code() -> None:
        with interrupts.held():
            signal.raise_signal(signal.SIGINT)
            order.append("whole")
        order.append("never")

    assert interrupts.run(code, came_out) == "interrupted"
    assert order == ["whole"]


def test_another_thread_holds_nothing(interrupts: Interrupts) -> None:
    def hold() -> None:
        with interrupts.held():
            done.append(interrupts._held)

    done: list[int] = []
    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert done == [0]
