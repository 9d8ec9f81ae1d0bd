"""Nodes as pages and REST show them: what they have, what is in use, by which steps; and why steps wait."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from hpo_pipelines.nodes import SeenNode, nodes_in_use
from hpo_pipelines.server.site import Site
from hpo_pipelines.server.templating import size
from hpo_pipelines.task import Task
from hpo_pipelines.types import Status

MOST = 100
"""So many steps are shown that are under way, and as many that wait."""

_ORDER = ("CPU", "GPU", "memory")
_NO_REASON = "waits for a free worker"
"""What the engine says of a step that an executor has not begun, and of which that says nothing itself."""


@dataclass(frozen=True)
class Bar:
    """How much of one resource of a node is in use."""

    resource: str
    used: float
    total: float

    @property
    def share(self) -> float:
        """From 0 to 100."""
        return min(100.0, 100.0 * self.used / self.total) if self.total else 0.0

    def amount(self, value: float) -> str:
        """``value`` as a person reads it."""
        return size(round(value)) if self.resource == "memory" and value else f"{value:g}"


def bars(node: SeenNode) -> list[Bar]:
    """One bar for each resource that the node has: CPU, GPU and memory first."""
    names = sorted(node.use.resources, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
    found = [Bar(name, node.use.used.get(name, 0.0), node.use.resources[name]) for name in names]
    return [bar for bar in found if bar.total]


def pictured(site: Site) -> list[dict[str, Any]]:
    """Every node with its bars, and the steps there with what each holds."""
    nodes = nodes_in_use(site.workspace.store)
    steps = site.workspace.store.tasks.get_all([task for node in nodes for task in node.use.holders])
    runs = _runs(site, list(steps.values()))
    return [
        {
            "node": node,
            "bars": bars(node),
            "steps": [
                {"step": steps[task], "run": runs[str(steps[task].parent)], "holds": _held(held)}
                for task, held in node.use.holders.items()
                if task in steps and str(steps[task].parent) in runs
            ],
        }
        for node in nodes
    ]


@dataclass(frozen=True)
class Dashboard:
    """The pages that a Ray cluster has of its own."""

    url: str
    is_local: bool
    """Whether they answer only on the machine of the cluster's head."""


def dashboards(nodes: Sequence[dict[str, Any]]) -> list[Dashboard]:
    """Those of the clusters of ``nodes``, as :func:`pictured` gives them; what is no address is left out."""
    told = dict.fromkeys(each["node"].use.dashboard for each in nodes)
    return [found for address in told if (found := _dashboard(address)) is not None]


def _dashboard(address: str) -> Dashboard | None:
    url = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host:
        return None
    return Dashboard(url, host == "localhost" or host == "::1" or host.startswith("127."))


def described(site: Site) -> list[dict[str, Any]]:
    """:func:`pictured` as JSON; memory in bytes."""
    return [
        {
            "node": each["node"].use.name,
            "executor": each["node"].executor,
            "agent": each["node"].agent,
            "dashboard": next((found.url for found in dashboards([each])), None),
            "resources": {bar.resource: {"used": bar.used, "total": bar.total} for bar in each["bars"]},
            "steps": [
                {
                    "id": one["step"].id,
                    "run": one["run"].label,
                    "step": one["step"].name,
                    "holds": dict(each["node"].use.holders[one["step"].id]),
                }
                for one in each["steps"]
            ],
        }
        for each in pictured(site)
    ]


def under_way(site: Site) -> list[dict[str, Any]]:
    """The steps that run, with their runs."""
    return list(_steps(site, Status.RUNNING))


def waiting(site: Site, nodes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps that wait, with their runs, and why; ``nodes`` as :func:`pictured` gives them."""
    return [{**each, "why": _why(each["step"], nodes)} for each in _steps(site, Status.QUEUED)]


def _steps(site: Site, status: Status) -> Iterator[dict[str, Any]]:
    steps = site.workspace.store.overview.under_way(status, MOST)
    runs = _runs(site, steps)
    for step in steps:
        run = runs.get(str(step.parent))
        if run is not None and not run.status.finished:
            yield {"step": step, "run": run}


def _runs(site: Site, steps: Sequence[Task]) -> dict[str, Task]:
    return site.workspace.store.tasks.get_all([step.parent for step in steps if step.parent])


def _why(step: Task, nodes: Sequence[dict[str, Any]]) -> str:
    """What the engine says, and, where that names nothing, what is in use and by whom."""
    reason = step.reason or ""
    if reason != _NO_REASON:
        return reason
    mine = [each for each in nodes if each["node"].executor == (step.executor or "local")]
    busy = [f"{bar.used:g} of {bar.total:g} CPU" for each in mine for bar in each["bars"] if bar.resource == "CPU"]
    holders = [f"{one['run'].label}/{one['step'].name}" for each in mine for one in each["steps"]]
    if not holders:
        return reason
    more = f" and {len(holders) - 3} more" if len(holders) > 3 else ""
    return f"{reason}: {', '.join(busy)} in use by {', '.join(holders[:3])}{more}"


def _held(amounts: Any) -> str:
    """``2 CPU, 1 GPU, 4.0 GB``"""
    shown = [
        f"{size(round(held))} memory" if name == "memory" else f"{held:g} {name}" for name, held in amounts.items()
    ]
    return ", ".join(shown)
