"""What is in use of the nodes where steps run, as each agent sees it and says it in the note of a lease."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass

from hpo_pipelines.engine import Engine
from hpo_pipelines.errors import HpoPipelinesError
from hpo_pipelines.executors.base import NodeUse
from hpo_pipelines.owner import is_gone, spoken
from hpo_pipelines.store import Store

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often what is in use is looked at; it is written where it has changed."""

_NODES = "nodes:"


@dataclass(frozen=True)
class SeenNode:
    """A node of ``executor``, as ``agent`` sees it."""

    agent: str
    executor: str
    use: NodeUse


class NodeWatch:
    """Says what the executors of ``engine`` use, from a thread of its own: to ask a cluster takes its time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hpo-nodes", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def close(self) -> None:
        """Look no more; what was said is taken back."""
        self._closed.set()

    def _watch(self) -> None:
        liveness, said = self._engine.liveness, "[]"
        lease = f"{_NODES}{liveness.owner}"
        while not self._closed.wait(LOOK_SECONDS):
            try:
                seen = json.dumps([[name, vars(node)] for name, node in self._engine.nodes()], sort_keys=True)
                if seen != said and not self._closed.is_set():
                    liveness.claim(lease, seen)
                    said = seen
            except HpoPipelinesError:
                log.debug("what is in use cannot be said", exc_info=True)
        if said != "[]":
            liveness.give_up(lease)


def nodes_in_use(store: Store) -> list[SeenNode]:
    """The nodes of every agent that lives; one that several agents use, as a cluster's, once, with the steps of all."""
    found: dict[tuple[str, str, str], SeenNode] = {}
    for lease in store.leases.named(_NODES):
        if is_gone(lease.owner):
            continue
        for executor, told in json.loads(lease.note):
            seen = SeenNode(spoken(lease.owner), executor, NodeUse(**told))
            # The slots of a machine's own workers are an agent's, a cluster is there for all.
            key = (executor, seen.use.name, lease.owner if executor == "local" else "")
            found[key] = _joined(found[key], seen) if key in found else seen
    return list(found.values())


def _joined(one: SeenNode, other: SeenNode) -> SeenNode:
    use = one.use
    held = {**use.holders, **other.use.holders}
    return SeenNode(one.agent, one.executor, NodeUse(use.name, use.resources, use.used, held))
