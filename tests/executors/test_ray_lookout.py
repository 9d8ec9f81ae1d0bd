from __future__ import annotations

import threading

import pytest
from services import wait_until

from hpo_pipelines.executors import ray_lookout
from hpo_pipelines.executors.ray_cluster import Cluster
from hpo_pipelines.executors.ray_lookout import Lookout


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_lookout, "PERIOD_SECONDS", 0.01)


def watching() -> bool:
    return any(thread.name == "hpo-ray-line" for thread in threading.enumerate())


def test_it_looks_while_somebody_waits_and_again_when_asked() -> None:
    looks: list[int] = []
    lookout = Lookout(lambda: looks.append(1) or Cluster(), lambda cluster: len(looks) % 3 != 0)  # type: ignore[func-returns-value]
    for count in (3, 6):
        lookout.watch()
        lookout.watch()
        wait_until(lambda: not watching(), "nobody to wait")
        assert len(looks) == count


def test_a_head_that_is_away_ends_nothing() -> None:
    looks: list[int] = []

    def look() -> Cluster:
        looks.append(1)
        if len(looks) < 3:
            raise ConnectionError("the head is away")
        return Cluster()

    told: list[Cluster] = []
    Lookout(look, lambda cluster: bool(told.append(cluster))).watch()  # type: ignore[func-returns-value]
    wait_until(lambda: not watching(), "the look")
    assert (len(looks), told) == (3, [Cluster()])


def test_closed_it_looks_no_more() -> None:
    lookout = Lookout(Cluster, lambda cluster: True)
    lookout.watch()
    lookout.close()
    wait_until(lambda: not watching(), "the end")
    lookout.watch()
    assert not watching()
