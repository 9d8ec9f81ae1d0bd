"""The driver's end of the actor that carries messages of running steps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hpo_pipelines.executors import ray_runtime
from hpo_pipelines.executors.ray_worker import Mailbox
from hpo_pipelines.types import new_id

PATIENCE_SECONDS = 30.0
"""How long one call to the actor waits for something to arrive."""

LOOK_SECONDS = 1.0
"""How often, while it waits, it looks whether it is still to."""

PAUSE_SECONDS = 0.2
"""Between calls to an actor that does not answer."""


class Mail:
    """Fetches what attempts have posted to this driver's mailbox, called ``name``, once started."""

    def __init__(self, deliver: Callable[[Sequence[bytes]], None]) -> None:
        self.name = f"hpo-mailbox-{new_id()}"
        self._deliver = deliver
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._mailbox: Any = None

    @property
    def started(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        """Start the actor, in the background; a second time: nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._fetch, name="hpo-ray-mail", daemon=True)
            self._thread.start()

    def leave(self) -> None:
        """Stop the thread, without a word to the actor, which is gone with its node."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Stop the actor and the thread."""
        with self._lock:
            self._closed.set()
            if self._mailbox is not None and ray.is_initialized():
                ray.kill(self._mailbox)
        self.leave()

    def _fetch(self) -> None:
        epoch, taken = "", 0
        while not self._closed.is_set():
            try:
                ray_runtime.check()
                self._create()
                epoch, taken, letters = self._answer(self._mailbox.take.remote(epoch, taken, PATIENCE_SECONDS))
            except Exception:  # noqa: BLE001 - Ray is down, or restarts the actor: neither ends a driver
                self._closed.wait(PAUSE_SECONDS)
                continue
            if letters:
                self._deliver(letters)

    def _answer(self, ref: Any) -> tuple[str, int, list[bytes]]:
        # A look at a time: who waits in Ray while the connection is closed takes the whole process down.
        while True:
            try:
                answer: tuple[str, int, list[bytes]] = ray.get(ref, timeout=LOOK_SECONDS)
                return answer
            except GetTimeoutError:
                if self._closed.is_set():
                    return "", 0, []

    def _create(self) -> None:
        with self._lock:
            if self._mailbox is None and not self._closed.is_set():
                # Restarted by Ray if its node dies; what it held is then lost, and what arrives later is not.
                # Where the driver is, if it can be: on another node it would keep an autoscaler from removing that.
                here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
                options = {"name": self.name, "num_cpus": 0, "max_restarts": -1, "scheduling_strategy": here}
                self._mailbox = ray.remote(Mailbox).options(**options).remote()
