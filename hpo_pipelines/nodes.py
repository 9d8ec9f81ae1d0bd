"""What is in use of the nodes where steps run, as whoever drives runs sees it and says it in the note of a lease."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass, replace

from hpo_pipelines.engine import Engine
from hpo_pipelines.errors import HpoPipelinesError
from hpo_pipelines.executors.base import NodeUse
from hpo_pipelines.owner import is_gone, spoken
from hpo_pipelines.store import Store

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often what is in use is looked at; it is written where it has changed."""

_NODES = "nodes:"
_NOTHING = "[]"


@dataclass(frozen=True)
class SeenNode:
    """A node of ``executor``, as ``agent`` sees it: an agent, or a process that drives runs of its own."""

    agent: str
    executor: str
    use: NodeUse


class NodeWatch:
    """Says what the executors of ``engine`` use while it drives runs, from a thread of its own: to ask a cluster takes
    its time. A run that is over before the first look costs nothing, and is not seen."""

    def __init__(self, engine: Engine) -> None:
        self.stays = False
        """Whether it is said between runs, too: what an agent has waits for them."""
        self._engine = engine
        self._lease = ""
        self._said = _NOTHING
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look from now on; idempotent."""
        with self._lock:
            if not self._closed.is_set() and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._watch, name="hpo-nodes", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Look no more; what was said is taken back."""
        with self._lock:
            self._closed.set()
            if self._said != _NOTHING:
                self._engine.liveness.give_up(self._lease)
                self._said = _NOTHING

    def _watch(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            try:
                self._look()
            except HpoPipelinesError:
                log.debug("what is in use cannot be said", exc_info=True)

    def _look(self) -> None:
        found = self._engine.nodes() if self.stays or self._engine.is_driving else []
        seen = json.dumps([[name, vars(node)] for name, node in found], sort_keys=True)
        with self._lock:
            if seen == self._said or self._closed.is_set():
                return
            liveness = self._engine.liveness
            if seen == _NOTHING:
                liveness.release(self._lease)
            else:
                self._lease = f"{_NODES}{liveness.owner}"
                liveness.claim(self._lease, seen)
            self._said = seen


def nodes_in_use(store: Store) -> list[SeenNode]:
    """The nodes of everybody who lives; one that several use, as a cluster's, once, with the steps of all."""
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
    return SeenNode(one.agent, one.executor, replace(use, holders=held))
