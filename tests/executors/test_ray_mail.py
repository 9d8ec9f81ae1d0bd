"""Fetching mail, with an actor that is none; :mod:`executors.test_ray` has a real one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import GetTimeoutError
from services import wait_until

from hpo_pipelines.executors import ray_mail, ray_runtime
from hpo_pipelines.executors.ray_mail import Mail


class Ray:
    """What `Mail` uses of Ray."""

    def __init__(self) -> None:
        self.answers: queue.Queue[Any] = queue.Queue()
        self.takes: list[tuple[str, int, float]] = []
        self.options_given: list[dict[str, Any]] = []
        self.take = SimpleNamespace(remote=lambda *args: self.takes.append(args))

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "ab" * 28)

    def is_initialized(self) -> bool:
        return True

    def remote(self, cls: type) -> Any:
        def options(**given: Any) -> Any:
            self.options_given.append(given)
            return SimpleNamespace(remote=lambda: self)

        return SimpleNamespace(options=options)

    def get(self, ref: Any, timeout: float) -> Any:
        try:
            answer = self.answers.get(timeout=timeout)
        except queue.Empty:
            raise GetTimeoutError from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, actor: Any) -> None:
        self.answers.put(RuntimeError("killed"))


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ray]:
    made = Ray()
    monkeypatch.setattr(ray_mail, "ray", made)
    monkeypatch.setattr(ray_mail, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(ray_runtime, "check", lambda: None)
    yield made
    assert all(thread.name != "hpo-ray-mail" for thread in threading.enumerate())


def test_letters_are_delivered_and_the_place_is_kept(ray: Ray) -> None:
    delivered: list[Any] = []
    mail = Mail(delivered.append)
    assert not mail.started
    mail.start()
    mail.start()
    assert mail.started
    ray.answers.put(("epoch", 2, [b"1", b"2"]))
    ray.answers.put(("epoch", 2, []))
    ray.answers.put(("epoch", 3, [b"3"]))
    wait_until(lambda: len(ray.takes) == 4, "the fourth call")
    assert delivered == [[b"1", b"2"], [b"3"]]
    assert [take[:2] for take in ray.takes] == [("", 0), ("epoch", 2), ("epoch", 2), ("epoch", 3)]
    (given,) = ray.options_given
    place = given.pop("scheduling_strategy")
    assert given == {"name": mail.name, "num_cpus": 0, "max_restarts": -1}
    assert (place.node_id, place.soft) == ("ab" * 28, True)
    mail.close()
    mail.close()


def test_an_actor_that_does_not_answer_is_asked_again(ray: Ray) -> None:
    delivered: list[Any] = []
    mail = Mail(delivered.append)
    mail.start()
    ray.answers.put(ConnectionError("restarting"))
    ray.answers.put(("epoch", 1, [b"1"]))
    wait_until(lambda: delivered == [[b"1"]], "the letter")
    assert len(ray.options_given) == 1
    mail.close()


def test_one_that_was_never_needed_is_never_made(ray: Ray) -> None:
    Mail(lambda letters: None).close()
    assert ray.options_given == []


def test_names_differ() -> None:
    assert Mail(lambda letters: None).name != Mail(lambda letters: None).name


def test_one_whose_actor_is_gone_is_left_soon(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_mail, "LOOK_SECONDS", 0.01)
    mail = Mail(lambda letters: None)
    mail.start()
    wait_until(lambda: len(ray.takes) == 1, "the call")
    mail.leave()
    assert ray.answers.empty(), "nobody killed it"
    assert len(ray.takes) == 1
