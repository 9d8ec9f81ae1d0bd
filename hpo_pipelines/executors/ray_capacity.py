"""What a Ray cluster has, what our own steps use of it, and what a step asks of it in Ray's words."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.executors.base import Assignment
from hpo_pipelines.types import Resources

Demand: TypeAlias = Mapping[str, float]
"""Resource, by Ray's name (CPU, GPU, memory in bytes, or a custom one) -> amount."""

REFRESH_SECONDS = 5.0
"""How old the picture of a cluster whose nodes come and go may be."""


class Capacity:
    """Counts what is free of what ``nodes`` lists for each living node; safe to use from many threads.

    ``fixed``: no node will ever join, so that what none of them has can be refused.
    """

    def __init__(self, nodes: Callable[[], list[Demand]], *, fixed: bool) -> None:
        self._list_nodes = nodes
        self._fixed = fixed
        self._nodes: list[Demand] = []
        self._looked = float("-inf")
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()

    def demand(self, assignment: Assignment) -> Demand:
        """What ``assignment`` asks of Ray.

        Memory is among it only where some node has as much: it is a limit, which the worker enforces, and a promise
        only where it can be one. Raises ConfigError for what no node can ever serve.
        """
        resources = assignment.resources
        wanted = _wanted(resources)
        nodes = self._look()
        missing = _missing(wanted, nodes)
        if missing is not None and self._fixed:
            most = max((node.get(missing, 0.0) for node in nodes), default=0.0)
            raise ConfigError(
                f"{assignment.label} needs {wanted[missing]:g} {missing}, the cluster has {most:g}"
                f"{' on any one node' if len(nodes) > 1 else ''}. "
                "Ask for less, or set RAY_ADDRESS to a cluster that has it."
            )
        memory = resources.memory_bytes
        if memory is not None and any(node.get("memory", 0.0) >= memory for node in nodes):
            wanted["memory"] = memory
        return wanted

    def take(self, demand: Demand) -> bool:
        """Count ``demand`` as used if, by our own count, it is free; whether it is."""
        with self._lock:
            free = all(
                self._used.get(name, 0.0) + amount <= sum(node.get(name, 0.0) for node in self._nodes) + 1e-6
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

    def _look(self) -> list[Demand]:
        age = time.monotonic() - self._looked
        if age > REFRESH_SECONDS and not (self._fixed and self._nodes):
            nodes = self._list_nodes()
            with self._lock:
                self._nodes, self._looked = nodes, time.monotonic()
        return self._nodes


def ray_nodes() -> list[Demand]:
    """What each living node of the connected cluster has in all."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def options(assignment: Assignment, demand: Demand) -> dict[str, Any]:
    """Options of the remote function for one attempt; never retried by Ray."""
    custom = {name: amount for name, amount in demand.items() if name not in ("CPU", "GPU", "memory")}
    return {
        "name": re.sub(r"#\d+", "", assignment.label),
        "num_cpus": demand.get("CPU", 0.0),
        "num_gpus": demand.get("GPU", 0.0) or None,
        "memory": demand.get("memory"),
        "resources": custom or None,
        "max_retries": 0,
    }


def _wanted(resources: Resources) -> dict[str, float]:
    return {
        "CPU": resources.cpu,
        **({"GPU": resources.gpu} if resources.gpu else {}),
        **{name: amount for name, amount in resources.custom.items() if amount},
    }


def _missing(wanted: Demand, nodes: list[Demand]) -> str | None:
    """The resource for which no node can serve all that is wanted; None if one can."""
    worst = None
    for node in nodes:
        worst = next((name for name, amount in wanted.items() if node.get(name, 0.0) < amount), None)
        if worst is None:
            return None
    return worst if nodes else next(iter(wanted))
