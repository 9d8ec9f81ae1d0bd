"""Webhooks are told what happens, each message at least once, and nobody waits for it."""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from samples import bodies
from services import wait_until
from webhooks import Receiver, receiver

from hpo_pipelines import Workspace, optimize
from hpo_pipelines.errors import TrackingError
from hpo_pipelines.owner import is_gone
from hpo_pipelines.store import Store
from hpo_pipelines.task import Task
from hpo_pipelines.tracking.base import Follower, Pace
from hpo_pipelines.tracking.notifier import follower_of
from hpo_pipelines.tracking.notifying import Refused, Telling, post
from hpo_pipelines.types import Kind, Status, new_id
from hpo_pipelines.webhook import EVENTS, Webhook

EAGER = Pace(batch=500, linger=0.0, backoff=0.0, longest=0.0)


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


def webhook(hook: Receiver, **options: Any) -> Webhook:
    return Webhook("here", **{"url": hook.url, "events": EVENTS, "retries": 3, **options})


def ended(store: Store, status: Status = Status.FAILED, **fields: Any) -> Task:
    task = Task(new_id(), Kind.PIPELINE, "churn", "default", Status.RUNNING, pipeline="churn", params={"lr": 0.1})
    made = store.tasks.create(replace(task, **fields))
    error = {"type": "ValueError", "message": "no\nmore", "traceback": "…"} if status is Status.FAILED else None
    return store.tasks.transition(made.id, status, error=error)


def study(store: Store, **params: Any) -> Task:
    task = Task(new_id(), Kind.STUDY, "tuning", "default", Status.RUNNING, pipeline="churn", params=params)
    return store.tasks.create(task)


def turned(store: Store, telling: Telling, turns: int = 1) -> Follower:
    follower = Follower(store, "notifications:here", telling.take, pace=EAGER)
    for _ in range(turns):
        follower.turn()
    return follower


def test_a_failed_run_is_told_of(store: Store, hook: Receiver) -> None:
    run = ended(store)
    assert turned(store, Telling(store, webhook(hook))).cursor == store.events.last()
    ((path, headers, content),) = hook.got
    assert (path, headers["Content-Type"]) == ("/hook/s3cret", "application/json")
    assert content["text"] == "run churn#1 failed: ValueError: no"
    assert (content["event"], content["id"]) == ("run.failed", store.events.last())
    assert content["run"] == {
        "id": run.id, "run": "churn#1", "project": "default", "pipeline": "churn", "status": "failed", "reason": None,
        "attempt": 1, "params": {"lr": 0.1}, "metrics": {}, "tags": [], "seconds": content["run"]["seconds"],
        "error": {"type": "ValueError", "message": "no\nmore"},
    }  # fmt: skip


def test_what_is_told(store: Store, hook: Receiver) -> None:
    ended(store, Status.COMPLETED)
    ended(store, Status.ABORTED)
    ended(store, Status.PRUNED)
    outer = ended(store, Status.COMPLETED, attempt=2)
    ended(store, parent=outer.id)
    first = store.tasks.create(Task(new_id(), Kind.PIPELINE, "churn", "default", Status.RUNNING, pipeline="churn"))
    store.tasks.transition(first.id, Status.COMPLETED, reason="retriggered: attempt 2 of at most 3 follows")
    tuning = study(store)
    ended(store, study=tuning.id, trial=0)
    store.events.append(tuning.id, "best", {"trial": 0, "run": "churn#6", "id": "x", "values": {"auc": math.pi}})
    store.tasks.transition(tuning.id, Status.COMPLETED, reason="20 of 20 trials")
    turned(store, Telling(store, webhook(hook)))
    assert hook.kinds == ["run.completed", "run.aborted", "run.completed", "study.best", "study.completed"]
    best, over = (content for _, _, content in hook.got[-2:])
    assert best["text"] == "study tuning: trial 0 (churn#6) is the best so far, auc = 3.14159"
    assert best["best"]["values"] == {"auc": math.pi}
    assert over["text"] == "study tuning completed: 20 of 20 trials"
    assert over["study"]["study"] == "tuning"


@pytest.mark.parametrize(
    ("notify", "only_asked", "told"),
    [(None, False, 1), (None, True, 0), (["here"], True, 1), ("here", False, 1), ([], False, 0), (["x"], False, 0)],
)
def test_a_study_may_say_who_is_told(store: Store, hook: Receiver, notify: Any, only_asked: bool, told: int) -> None:
    tuning = study(store, asked={"notify": notify})
    store.tasks.transition(tuning.id, Status.COMPLETED)
    ended(store)
    turned(store, Telling(store, webhook(hook, only_asked=only_asked)))
    assert hook.kinds == ["study.completed"] * told + ["run.failed"] * (not only_asked)


@pytest.mark.parametrize("answer", [500, 503, 429, 408, None])
def test_what_may_be_taken_later_is_tried_again_in_order(store: Store, hook: Receiver, answer: int | None) -> None:
    hook.answers = [200, answer, answer]
    for _ in range(3):
        ended(store)
    follower = turned(store, Telling(store, webhook(hook)))
    assert "127.0.0.1" in str(follower.problem)
    assert "s3cret" not in str(follower.problem)
    follower.turn()
    follower.turn()
    assert follower.problem is None
    assert [content["run"]["run"] for _, _, content in hook.got] == ["churn#1", "churn#2", "churn#3"]
    assert hook.tries == 5
    assert follower.cursor == store.events.last()


def test_it_is_given_up_after_so_many_tries(store: Store, hook: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    hook.answers = [500, 500, 500]
    ended(store)
    ended(store)
    with caplog.at_level(logging.ERROR, "hpo_pipelines"):
        turned(store, Telling(store, webhook(hook, retries=2)), turns=3)
    assert [content["run"]["run"] for _, _, content in hook.got] == ["churn#2"]
    assert "here is not told of run.failed after 3 tries: 127.0.0.1 answered 500" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("answer", [400, 401, 404, 410, 301, 302])
def test_a_refusal_is_not_tried_again(
    store: Store, hook: Receiver, answer: int, caplog: pytest.LogCaptureFixture
) -> None:
    hook.answers = [answer]
    ended(store)
    follower = turned(store, Telling(store, webhook(hook)))
    assert (hook.tries, hook.got, follower.cursor) == (1, [], store.events.last())
    assert f"answered {answer}" in caplog.text
    assert "s3cret" not in caplog.text


def test_what_has_expired_is_no_news(store: Store, hook: Receiver) -> None:
    ended(store)
    turned(store, Telling(store, webhook(hook, expires="1h"), now=lambda: store.now() + 4000))
    assert hook.got == []


def test_a_receiver_that_never_answers_costs_the_timeout(store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/s3cret"
        with pytest.raises(TrackingError, match=r"127\.0\.0\.1 cannot be reached") as raised:
            post(Webhook("here", url, timeout=0.1), {"text": ""})
    assert "s3cret" not in str(raised.value)
    with pytest.raises(TrackingError, match="cannot be reached: ConnectionRefusedError"):
        post(Webhook("here", url), {"text": ""})


def test_a_url_that_http_cannot_carry_is_refused_without_telling_it(hook: Receiver) -> None:
    for wrong in (Webhook("here", f"{hook.url} x"), replace(webhook(hook), headers={"X": "s3cret\nY: 1"})):
        with pytest.raises(Refused) as raised:
            post(wrong, {"text": ""})
        assert "s3cret" not in str(raised.value)


def test_a_large_message_goes_without_its_parameters(store: Store, hook: Receiver) -> None:
    ended(store, params={"text": "x" * 200_000, "nan": math.nan})
    ended(store, params={"nan": math.nan})
    turned(store, Telling(store, webhook(hook)))
    large, small = (content["run"] for _, _, content in hook.got)
    assert "params" not in large
    assert large["run"] == "churn#1"
    assert small["params"] == {"nan": "nan"}


# -- beside a driver


def declared(monkeypatch: pytest.MonkeyPatch, hook: Receiver, **options: Any) -> None:
    monkeypatch.setenv("SECRET_HOOK", hook.url)
    table = {"url": "${SECRET_HOOK}", "events": list(EVENTS), **options}
    monkeypatch.setenv("HPO_NOTIFICATIONS", json.dumps({"here": table}))


@pytest.mark.integration
def test_runs_and_studies_are_told_of_while_they_run(
    home: Path, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Workspace() as before:
        bodies.simple.run(executor="inline", workspace=before)
    declared(monkeypatch, hook)
    with Workspace() as workspace:
        bodies.refusing.run(x=1, executor="inline", workspace=workspace)
        optimize(
            bodies.simple, {"x": [1, 2]}, n_trials=2, sampler="grid", executor="inline", workspace=workspace,
            progress=False, notify="here",
        )  # fmt: skip
        hook.wait_for(4)
        assert hook.kinds == ["run.failed", "study.best", "study.best", "study.completed"]
        assert workspace.notification_problem() is None
    logs = "".join(path.read_text() for path in (home / "logs").glob("*"))
    assert "s3cret" not in logs
    assert b"s3cret" not in b"".join(path.read_bytes() for path in home.glob("store.db*"))


DRIVER = """
import sys
sys.path.insert(0, sys.argv[1])
from samples import bodies
from hpo_pipelines import Workspace
with Workspace() as workspace:
    bodies.refusing.run(x=int(sys.argv[2]), executor="inline", workspace=workspace)
    if len(sys.argv) > 3:
        import os
        os._exit(9)
"""


@pytest.mark.integration
def test_nothing_is_lost_when_the_process_ends(home: Path, hook: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    declared(monkeypatch, hook)
    tests = str(Path(bodies.__file__).parent.parent)
    hook.answers = [503] * 1000  # the receiver is down for as long as the first driver's follower lives

    def drive(*more: str) -> None:
        subprocess.run([sys.executable, "-c", DRIVER, tests, *more], timeout=120, check=False, env=dict(os.environ))

    drive("1", "dies")
    with Workspace() as workspace:
        wait_until(lambda: hook.tries > 0, "a first try", 60)
        holder = workspace.store.leases.holder(f"follower:{follower_of(Webhook('here', hook.url))}")
        assert holder is not None
        first = psutil.Process(int(holder.owner.split(":")[1]))
        first.kill()
        wait_until(lambda: is_gone(holder.owner), "the first follower's end", 60)
    assert hook.got == []
    hook.answers = []
    drive("3")
    assert [content["run"]["run"] for content in hook.wait_for(2)] == ["refusing#1", "refusing#2"]
