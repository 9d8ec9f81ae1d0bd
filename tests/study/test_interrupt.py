"""Ctrl-C while a study runs: the first lets what runs end, wherever it comes in between."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from samples import queueing

from hpo_pipelines import Status, Workspace, optimize
from hpo_pipelines.study import driver
from hpo_pipelines.study.interrupt import held_interrupt


def test_the_first_is_raised_where_it_is_asked_for_and_once() -> None:
    with held_interrupt() as held:
        held.check()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            held.check()
        held.check()


def test_the_second_is_raised_at_once() -> None:
    with held_interrupt():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_afterwards_it_is_as_it_was() -> None:
    with held_interrupt():
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_who_has_a_handler_keeps_it() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda signum, frame: heard.append(signum))
    try:
        with held_interrupt() as held:
            signal.raise_signal(signal.SIGINT)
            held.check()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert heard == [signal.SIGINT]


def test_in_another_thread_nothing_is_changed() -> None:
    def inside() -> None:
        with held_interrupt():
            handlers.append(signal.getsignal(signal.SIGINT))

    handlers: list[Any] = []
    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]


def test_a_trial_that_begins_in_that_moment_is_not_lost(
    home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pool(ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
            future = super().submit(*args, **kwargs)
            self._threads.clear()  # as it is before the pool has noted the thread
            signal.raise_signal(signal.SIGINT)
            return future

    monkeypatch.setattr(driver, "ThreadPoolExecutor", Pool)
    space = {"n": [1, 2, 3], "folder": str(folder)}
    with Workspace(home=home) as workspace:
        study = optimize(queueing.quick, space, n_trials=3, executor="inline", workspace=workspace, progress=False)
        assert (study.status, study.reason) == (Status.ABORTED, "interrupted; the same name resumes it")
        assert [run.status for run in study.runs] == [Status.COMPLETED]
        assert [trial.value is not None for trial in study.trials] == [True]
