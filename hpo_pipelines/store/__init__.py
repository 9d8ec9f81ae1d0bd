"""What is remembered: tasks, edges, artifacts, outcomes under keys, leases and events, in one SQL database."""

from __future__ import annotations

from hpo_pipelines.store.filters import TaskFilter
from hpo_pipelines.store.holdings import Holding
from hpo_pipelines.store.leases import Lease
from hpo_pipelines.store.removal import Removed
from hpo_pipelines.store.store import Store

__all__ = ["Holding", "Lease", "Removed", "Store", "TaskFilter"]
