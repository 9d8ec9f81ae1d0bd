from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from executors import steps
from executors.bench import Bench
from hypothesis import given
from hypothesis import strategies as st

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.executors import ray_capacity
from hpo_pipelines.executors.base import Assignment, Executor
from hpo_pipelines.executors.inline import InlineExecutor
from hpo_pipelines.executors.ray_capacity import Capacity, options
from hpo_pipelines.executors.ray_cluster import Node
from hpo_pipelines.types import Queue, Resources

NODES = [
    Node({"CPU": 4.0, "memory": 8e9}),
    Node({"CPU": 2.0, "GPU": 1.0, "memory": 4e9, "lab": 3.0}, {"zone": "b"}),
]


@pytest.fixture(scope="module")
def assignment(tmp_path_factory: pytest.TempPathFactory) -> Assignment:
    executor: Executor = InlineExecutor()
    bench = Bench(executor, Path(tmp_path_factory.mktemp("capacity")), steps.nothing)
    return bench.assignment(steps.identity, 1, label="project/churn#48/fit.2")


def asking(assignment: Assignment, **resources: Any) -> Assignment:
    return replace(assignment, resources=Resources(**resources))


def capacity(fixed: bool = True) -> Capacity:
    return Capacity(lambda: list(NODES), fixed=fixed)


@pytest.mark.parametrize(
    ("resources", "demand"),
    [
        ({}, {"CPU": 1}),
        ({"cpu": 0}, {"CPU": 0}),
        ({"cpu": 0.5, "gpu": 1, "custom": {"lab": 2, "none": 0}}, {"CPU": 0.5, "GPU": 1, "lab": 2}),
        ({"memory": "8GB"}, {"CPU": 1, "memory": 8_000_000_000}),
        # No node could promise so much; the worker still enforces it.
        ({"memory": "9GB"}, {"CPU": 1}),
    ],
)
def test_what_ray_is_asked_for(assignment: Assignment, resources: Any, demand: Any) -> None:
    assert capacity().demand(asking(assignment, **resources)) == demand


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"cpu": 5}, "needs 5 CPU, cluster has 4 on any one node"),
        ({"gpu": 2}, "needs 2 GPU, cluster has 1 on any one node"),
        ({"custom": {"tpu": 1}}, "needs 1 tpu, cluster has 0"),
    ],
)
def test_what_no_node_has_is_refused_where_none_can_join(assignment: Assignment, resources: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=f"churn#48/fit.2 {words}.*RAY_ADDRESS"):
        capacity().demand(asking(assignment, **resources))
    assert capacity(fixed=False).demand(asking(assignment, **resources))


def test_one_node_must_have_all_of_it(assignment: Assignment) -> None:
    with pytest.raises(ConfigError, match="needs 3 CPU, 1 GPU on one node, none has all of it"):
        capacity().demand(asking(assignment, cpu=3, gpu=1))


def test_a_changing_cluster_is_looked_at_again(assignment: Assignment, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def nodes() -> list[Node]:
        looks.append(1)
        return [Node({"CPU": 1.0})]

    changing, fixed = Capacity(nodes, fixed=False), Capacity(nodes, fixed=True)
    for one in (changing, fixed):
        one.demand(assignment)
        one.demand(assignment)
    assert len(looks) == 2
    monkeypatch.setattr(ray_capacity, "REFRESH_SECONDS", 0.0)
    for one in (changing, fixed):
        one.demand(assignment)
    assert len(looks) == 3


def test_what_is_free_is_counted(assignment: Assignment) -> None:
    one = capacity()
    gpu = one.demand(asking(assignment, cpu=2, gpu=1))
    assert one.take(gpu)
    assert not one.take(gpu)
    assert one.take({"CPU": 4})
    one.use({"CPU": 1})  # seen to run, though it should not fit
    assert not one.take({"CPU": 0.5})
    one.give({"CPU": 4})
    assert one.take({"CPU": 3})
    one.give(gpu)
    assert one.take(gpu)


@given(st.lists(st.floats(0.01, 3), max_size=20))
def test_what_was_taken_and_given_back_is_free(amounts: list[float]) -> None:
    one = Capacity(lambda: [Node({"CPU": 4.0})], fixed=True)
    one._look()
    taken = [{"CPU": amount} for amount in amounts if one.take({"CPU": amount})]
    assert sum(demand["CPU"] for demand in taken) <= 4.0 + 1e-5
    for demand in taken:
        one.give(demand)
    assert one.take({"CPU": 4.0})


def test_options_of_the_remote_function(assignment: Assignment) -> None:
    plain = {
        "name": "project/churn/fit.2",
        "num_gpus": None,
        "memory": None,
        "resources": None,
        "label_selector": None,
        "max_retries": 0,
    }
    assert options(assignment, {"CPU": 1}) == {**plain, "num_cpus": 1}
    assert options(assignment, {"CPU": 0, "GPU": 1, "memory": 5, "lab": 2}) == {
        **plain,
        "num_cpus": 0,
        "num_gpus": 1,
        "memory": 5,
        "resources": {"lab": 2},
    }


def test_a_queue_places_and_caps(assignment: Assignment) -> None:
    asked = replace(asking(assignment, custom={"lab": 1}), queue=Queue("q", {"zone": "!a"}, {"queue:q": 1, "lab": 1}))
    assert capacity(fixed=False).demand(asked) == {"CPU": 1, "queue:q": 1, "lab": 2}
    found = options(asked, {"CPU": 1, "queue:q": 1, "lab": 2})
    assert found["label_selector"] == {"zone": "!a"}
    assert found["resources"] == {"queue:q": 1, "lab": 2}


@pytest.mark.parametrize(
    ("queue", "words"),
    [
        (Queue("q", {"zone": "a"}), r"needs label zone=a, no node has it \(by its queue q\)"),
        (Queue("q", {}, {"queue:q": 1}), r"needs 1 queue:q, cluster has 0 .*by its queue q"),
    ],
)
def test_a_queue_that_no_node_serves_is_refused(assignment: Assignment, queue: Queue, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        capacity().demand(replace(assignment, queue=queue))


def test_nothing_counts_as_free_of_what_is_not_all_ours(assignment: Assignment) -> None:
    one = capacity(fixed=False)
    assert not one.take(one.demand(assignment))
