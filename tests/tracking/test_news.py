"""What a batch of events says of each run."""

from __future__ import annotations

import pytest

from hpo_pipelines.store import Store
from hpo_pipelines.tracking import news
from hpo_pipelines.tracking.news import Gathering
from hpo_pipelines.types import Status

from .conftest import Call, Recorder


def test_the_news_of_a_run_and_its_steps(recorder: Recorder, store: Store) -> None:
    recorder.study("lr")
    run = recorder.run([Call("fit", {"auc": [0.1]})], own={"score": [1.0]})
    other = recorder.run()
    one, two = Gathering(store).gather(store.events.after(0))
    (step,) = store.tasks.children(run.id)
    assert (one.run, list(one.steps), one.moved, one.edited, one.first) == (run.id, [step.id], True, False, 2)
    assert [task for task, _, _ in one.values] == [step.id, run.id]
    assert [store.metrics.between(*values)[0].value for values in one.values] == [0.1, 1.0]
    assert (two.run, two.steps, two.values) == (other.id, {}, [])


def test_who_comes_later_looks_up_what_a_step_belongs_to(recorder: Recorder, store: Store) -> None:
    run = recorder.start()
    step = recorder.begin_step(run, Call("fit"), 0, "fit")
    seen = store.events.last()
    recorder.report(step.id, "auc", [0.1])
    store.tasks.update(run.id, notes="why")
    (found,) = Gathering(store).gather(store.events.after(seen))
    assert (found.run, list(found.steps), found.moved, found.edited) == (run.id, [step.id], False, True)


def test_of_what_is_gone_there_is_no_news(store: Store) -> None:
    store.events.append("deleted since", "status", {"from": "running", "to": "completed", "reason": None})
    assert Gathering(store).gather(store.events.after(0)) == []


def test_what_is_remembered_has_an_end(recorder: Recorder, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "_REMEMBERED", 2)
    runs = [recorder.run(status=Status.FAILED) for _ in range(5)]
    gathering = Gathering(store)
    assert [found.run for found in gathering.gather(store.events.after(0))] == [run.id for run in runs]
    assert len(gathering._places) <= 2
