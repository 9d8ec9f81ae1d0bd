"""What a Ray cluster has just now, and what a step that waits in its line waits for, in words."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hpo_pipelines.executors.base import NodeUse

Demand: TypeAlias = Mapping[str, float]
"""Resource, by Ray's name (CPU, GPU, memory in bytes, or a custom one) -> amount."""

_log = logging.getLogger(__name__)

ANSWER_SECONDS = 10
"""How long the head may take to say how the cluster stands."""


@dataclass(frozen=True)
class Node:
    """One living node: what it has in all, of that what is in use, and its labels."""

    resources: Demand
    labels: Mapping[str, str] = field(default_factory=dict)
    used: Demand = field(default_factory=dict)

    def has(self, demand: Demand, *, free: bool = False) -> bool:
        """Whether it has all of ``demand``; with ``free``, not in use by others."""
        return self.lacks(demand, free=free) is None

    def lacks(self, demand: Demand, *, free: bool = False) -> str | None:
        """The first resource of ``demand`` of which it has too little."""
        for name, amount in demand.items():
            used = self.used.get(name, 0.0) if free else 0.0
            if self.resources.get(name, 0.0) - used < amount - 1e-6:
                return name
        return None

    def matches(self, selector: Mapping[str, str]) -> bool:
        """Whether its labels are as ``selector`` (of :class:`hpo_pipelines.types.Queue`) wants them."""
        return all(_selects(wanted, self.labels.get(name)) for name, wanted in selector.items())


@dataclass(frozen=True)
class Cluster:
    """A picture of a cluster. ``adding`` and ``failing`` are node types that its autoscaler starts, or could not.

    ``demanded`` says, in words, what tasks ask for that have not got it: one that has, but whose worker is not up yet,
    itself uses what is in use.
    """

    nodes: Sequence[Node] = ()
    demanded: frozenset[str] = frozenset()
    here: bool = True
    """Whether the node that this process is attached to is one of them."""
    autoscales: bool = False
    adding: Sequence[str] = ()
    failing: Mapping[str, str] = field(default_factory=dict)


def look() -> Cluster:
    """How the connected cluster stands. Raises whatever Ray raises while its head does not answer."""
    import ray
    from ray.autoscaler.v2.sdk import get_cluster_status

    status = get_cluster_status(ray.get_runtime_context().gcs_address, ANSWER_SECONDS)
    living = [*status.active_nodes, *status.idle_nodes]
    adding = [each.ray_node_type_name for each in (*status.pending_launches, *status.pending_nodes)]
    return Cluster(
        nodes=[_node(each) for each in living],
        here=ray.get_runtime_context().get_node_id() in {each.node_id for each in living},
        demanded=frozenset(
            _listed(bundle.bundle)
            for demand in status.resource_demands.ray_task_actor_demand
            for bundle in demand.bundles_by_count
        ),
        autoscales=bool(adding) or any(_is_of_a_type(each) for each in living),
        adding=sorted(set(adding)),
        failing={each.ray_node_type_name: str(each.details or "") for each in status.failed_launches},
    )


def _is_of_a_type(info: Any) -> bool:
    """Whether a launcher said what type of node it is; else Ray names it after its id."""
    return info.ray_node_type_name not in ("", f"node_{info.node_id}")


def _node(info: Any) -> Node:
    usage = info.resource_usage.usage if info.resource_usage is not None else ()
    return Node(
        {each.resource_name: each.total for each in usage},
        dict(info.labels or {}),
        {each.resource_name: each.used for each in usage if each.used},
    )


def uses(running: Sequence[tuple[str, str, Demand]]) -> list[NodeUse]:
    """What is in use of each living node, by anybody; ``running`` are our own steps: (task, host, what it holds).

    Nothing while the cluster's head does not answer: whoever needs it says so.
    """
    import ray
    from ray.autoscaler.v2.sdk import get_cluster_status

    try:
        # Not by the functions of ray itself: where the connection was just closed, they start a Ray of their own.
        head = ray._private.worker.global_worker.gcs_client
        status = get_cluster_status(head.address, ANSWER_SECONDS)
        hosts = {each["NodeID"]: each["NodeManagerHostname"] for each in ray.nodes()}
        pages = head.internal_kv_get(b"webui:url", b"dashboard", timeout=ANSWER_SECONDS) or b""
    except Exception:  # noqa: BLE001 - of many kinds, by what of Ray is away
        _log.debug("the cluster could not be looked at", exc_info=True)
        return []
    living = [*status.active_nodes, *status.idle_nodes]
    found = []
    for each in living:
        node, host = _node(each), hosts.get(each.node_id, each.ip_address)
        # Nodes of a test may share a machine: then nobody can say on which of them a step is.
        alone = len(living) == 1 or list(hosts.values()).count(host) == 1
        held = {task: demand for task, where, demand in running if len(living) == 1 or (alone and where == host)}
        name = host if alone else f"{host} {str(each.node_id)[:6]}"
        found.append(NodeUse(name, _told(node.resources), _told(node.used), held, pages.decode()))
    return sorted(found, key=lambda each: each.name)


def _told(resources: Demand) -> dict[str, float]:
    """Without what is Ray's own business."""
    own = ("node:", "accelerator_type:", "object_store_memory")
    return {name: amount for name, amount in resources.items() if not name.startswith(own)}


def waits(cluster: Cluster, demand: Demand, selector: Mapping[str, str]) -> str:
    """What a step that asks for ``demand`` on a node of ``selector`` waits for; empty if for nothing but its start.

    The words stay the same while that does not change, whatever else happens in the cluster.
    """
    lack = missing(cluster.nodes, demand, selector)
    if not lack and _listed(demand) in cluster.demanded:
        lack = _busy(cluster.nodes, demand, selector)
    if not lack:
        return ""
    if cluster.adding:
        return f"waits: autoscaler adds a node ({', '.join(cluster.adding)}), {lack}"
    failed = next(iter(cluster.failing.items()), None)
    if failed is not None:
        why = failed[1].strip().partition("\n")[0]
        return f"waits: {lack}; its autoscaler could not add a node ({failed[0]}{': ' + why if why else ''})"
    return f"waits: {lack}{'; its autoscaler was asked' if cluster.autoscales else ''}"


def missing(nodes: Sequence[Node], demand: Demand, selector: Mapping[str, str]) -> str:
    """What no node has, however idle: ``needs 1 GPU, cluster has 0``; empty if some node has it all."""
    fitting = [node for node in nodes if node.matches(selector)]
    labels = ", ".join(f"{name}={value}" for name, value in selector.items())
    if selector and not fitting:
        return (
            f"needs label{'s' if len(selector) > 1 else ''} {labels}, no node has {'them' if ',' in labels else 'it'}"
        )
    if any(node.has(demand) for node in fitting):
        return ""
    for name, amount in demand.items():
        most = max((node.resources.get(name, 0.0) for node in fitting), default=0.0)
        if most < amount:
            where = f"no node with {labels} has more than" if selector else "cluster has"
            alone = " on any one node" if most and len(fitting) > 1 and not selector else ""
            return f"needs {amount:g} {name}, {where} {most:g}{alone}"
    return f"needs {_listed(demand)} on one node, none has all of it"


def _busy(nodes: Sequence[Node], demand: Demand, selector: Mapping[str, str]) -> str:
    able = [node for node in nodes if node.matches(selector) and node.has(demand)]
    if any(node.has(demand, free=True) for node in able):
        return ""
    short = [node.lacks(demand, free=True) for node in able]
    name = next(each for each in short if each is not None)
    return f"needs {demand[name]:g} {name}, all {sum(node.resources[name] for node in able):g} are in use"


def _listed(demand: Demand) -> str:
    return ", ".join(f"{demand[name]:g} {name}" for name in sorted(demand) if demand[name])


def _selects(wanted: str, value: str | None) -> bool:
    """Ray's label selectors: ``a``, ``!a``, ``in(a, b)``, ``!in(a, b)``."""
    negated = wanted.startswith("!")
    wanted = wanted.removeprefix("!")
    several = re.fullmatch(r"in\((.*)\)", wanted)
    values = [each.strip() for each in several[1].split(",")] if several else [wanted]
    return (value in values) is not negated
