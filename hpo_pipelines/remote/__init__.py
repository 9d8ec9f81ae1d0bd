"""A workspace that another process serves: the same handles, over the REST of ``hpo up``.

Reading goes through :class:`RemoteStore`, which answers what the handles ask of a store; what changes something are the
methods of :class:`RemoteWorkspace`. Runs are driven by the server's agents.
"""

from hpo_pipelines.remote.store import RemoteStore
from hpo_pipelines.remote.workspace import RemoteWorkspace

__all__ = ["RemoteStore", "RemoteWorkspace"]
