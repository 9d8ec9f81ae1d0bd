"""What a step waits for, said of pictures of clusters."""

from __future__ import annotations

from typing import Any

import pytest

from hpo_pipelines.executors.ray_cluster import Cluster, Node, waits

CPU = Node({"CPU": 4.0}, {"zone": "a", "kind": "cpu"})
GPU = Node({"CPU": 2.0, "GPU": 1.0}, {"zone": "b", "accelerator": "a100"})


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ({}, True),
        ({"zone": "b"}, True),
        ({"zone": "a"}, False),
        ({"zone": "!a"}, True),
        ({"zone": "in(a, b)"}, True),
        ({"zone": "in(a,c)"}, False),
        ({"zone": "!in(a,c)"}, True),
        ({"zone": "b", "accelerator": "h100"}, False),
        ({"rack": "1"}, False),
        ({"rack": "!1"}, True),
    ],
)
def test_labels_are_selected_as_ray_does(selector: dict[str, str], matches: bool) -> None:
    assert GPU.matches(selector) is matches


@pytest.mark.parametrize(
    ("demand", "selector", "words"),
    [
        ({"CPU": 1}, {}, ""),
        ({"CPU": 4}, {}, ""),
        ({"TPU": 1}, {}, "waits: needs 1 TPU, cluster has 0"),
        ({"CPU": 5}, {}, "waits: needs 5 CPU, cluster has 4 on any one node"),
        ({"CPU": 3, "GPU": 1}, {}, "waits: needs 3 CPU, 1 GPU on one node, none has all of it"),
        ({"CPU": 1}, {"accelerator": "h100"}, "waits: needs label accelerator=h100, no node has it"),
        ({"CPU": 1}, {"zone": "a", "rack": "1"}, "waits: needs labels zone=a, rack=1, no node has them"),
        ({"CPU": 3}, {"zone": "b"}, "waits: needs 3 CPU, no node with zone=b has more than 2"),
    ],
)
def test_what_no_node_has(demand: Any, selector: dict[str, str], words: str) -> None:
    assert waits(Cluster([CPU, GPU]), demand, selector) == words


def test_a_cluster_of_one_or_of_none() -> None:
    assert waits(Cluster([CPU]), {"GPU": 1}, {}) == "waits: needs 1 GPU, cluster has 0"
    assert waits(Cluster(), {"CPU": 1}, {}) == "waits: needs 1 CPU, cluster has 0"


def test_what_others_use() -> None:
    nodes = [CPU, Node(GPU.resources, GPU.labels, {"GPU": 1.0})]
    full = Cluster(nodes, frozenset({"1 CPU, 1 GPU"}))
    assert waits(full, {"GPU": 1, "CPU": 1}, {}) == "waits: needs 1 GPU, all 1 are in use"
    assert waits(full, {"CPU": 1}, {"zone": "b"}) == ""
    assert waits(Cluster(nodes), {"CPU": 1, "GPU": 1}, {}) == "", "it may be the one that uses it"


def test_what_an_autoscaler_does_about_it() -> None:
    asked = Cluster([CPU], autoscales=True)
    assert waits(asked, {"GPU": 1}, {}) == "waits: needs 1 GPU, cluster has 0; its autoscaler was asked"
    adding = Cluster([CPU], autoscales=True, adding=["gpu_node"])
    assert waits(adding, {"GPU": 1}, {}) == "waits: autoscaler adds a node (gpu_node), needs 1 GPU, cluster has 0"
    failing = Cluster([CPU], autoscales=True, failing={"gpu_node": "no quota\nmore"})
    words = "waits: needs 1 GPU, cluster has 0; its autoscaler could not add a node (gpu_node: no quota)"
    assert waits(failing, {"GPU": 1}, {}) == words
