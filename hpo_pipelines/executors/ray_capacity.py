"""What a Ray cluster has, what our own steps use of it, and what a step asks of it in Ray's words."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Any

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.executors.base import Assignment
from hpo_pipelines.executors.ray_cluster import Demand, Node, missing

REFRESH_SECONDS = 5.0
"""How old the picture of a cluster whose nodes come and go may be."""


class Capacity:
    """Counts what is free of what ``nodes`` lists for each living node; safe to use from many threads.

    ``fixed``: no node will ever join, so that what none of them has can be refused.
    """

    def __init__(self, nodes: Callable[[], list[Node]], *, fixed: bool) -> None:
        self._list_nodes = nodes
        self._fixed = fixed
        self._nodes: list[Node] = []
        self._looked = float("-inf")
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()

    def demand(self, assignment: Assignment) -> Demand:
        """What ``assignment`` asks of Ray.

        Memory is among it only where some node has as much: it is a limit, which the worker enforces, and a promise
        only where it can be one. Raises ConfigError for what no node can ever serve.
        """
        wanted = _wanted(assignment)
        nodes = self._look()
        lack = missing(nodes, wanted, assignment.queue.labels)
        if lack and self._fixed:
            queue = f" (by its queue {assignment.queue.name})" if assignment.queue.places else ""
            raise ConfigError(
                f"{assignment.label} {lack}{queue}. Ask for less, or set RAY_ADDRESS to a cluster that has it."
            )
        memory = assignment.resources.memory_bytes
        if memory is not None and any(node.has({"memory": memory}) for node in nodes):
            wanted["memory"] = memory
        return wanted

    def cpus(self) -> float | None:
        """How many there are; None where nodes may join, and where none was looked at yet."""
        if not self._fixed or not self._nodes:
            return None
        return sum(node.resources.get("CPU", 0.0) for node in self._nodes)

    def take(self, demand: Demand) -> bool:
        """Count ``demand`` as used if, by our own count, it is free; whether it is.

        Never where the cluster is not all ours: then our own count says little.
        """
        with self._lock:
            free = self._fixed and all(
                self._used.get(name, 0.0) + amount <= sum(node.resources.get(name, 0.0) for node in self._nodes) + 1e-6
                for name, amount in demand.items()
            )
            if free:
                self._add(demand, 1)
            return free

    def use(self, demand: Demand) -> None:
        """Count ``demand`` as used: a step was seen to run."""
        with self._lock:
            self._add(demand, 1)

    def give(self, demand: Demand) -> None:
        """Undo one :meth:`take` or :meth:`use`."""
        with self._lock:
            self._add(demand, -1)

    def _add(self, demand: Demand, sign: int) -> None:
        for name, amount in demand.items():
            self._used[name] = max(0.0, self._used.get(name, 0.0) + sign * amount)

    def _look(self) -> list[Node]:
        age = time.monotonic() - self._looked
        if age > REFRESH_SECONDS and not (self._fixed and self._nodes):
            nodes = self._list_nodes()
            with self._lock:
                self._nodes, self._looked = nodes, time.monotonic()
        return self._nodes


def ray_nodes() -> list[Node]:
    """The living nodes of the connected cluster, what is in use of them left out."""
    import ray

    return [Node(node["Resources"], node["Labels"]) for node in ray.nodes() if node["Alive"]]


def options(assignment: Assignment, demand: Demand) -> dict[str, Any]:
    """Options of the remote function for one attempt; never retried by Ray."""
    custom = {name: amount for name, amount in demand.items() if name not in ("CPU", "GPU", "memory")}
    return {
        "name": re.sub(r"#\d+", "", assignment.label),
        "num_cpus": demand.get("CPU", 0.0),
        "num_gpus": demand.get("GPU", 0.0) or None,
        "memory": demand.get("memory"),
        "resources": custom or None,
        "label_selector": dict(assignment.queue.labels) or None,
        "max_retries": 0,
    }


def _wanted(assignment: Assignment) -> dict[str, float]:
    resources = assignment.resources
    custom = dict(assignment.queue.resources)
    for name, amount in resources.custom.items():
        custom[name] = custom.get(name, 0.0) + amount
    return {
        "CPU": resources.cpu,
        **({"GPU": resources.gpu} if resources.gpu else {}),
        **{name: amount for name, amount in custom.items() if amount},
    }
