"""The driver's end of what tells webhooks; :mod:`.notifying` is what runs in the process beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo_pipelines.settings import Settings
from hpo_pipelines.store import Store
from hpo_pipelines.tracking.process import ChildProcess
from hpo_pipelines.webhook import Webhook


def follower_of(webhook: Webhook) -> str:
    """The name under which events are followed for ``webhook``."""
    return f"notifications:{webhook.name}"


class NotifierProcess:
    """Tells the webhooks of ``settings`` from a process of its own; without any there is none."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._problem: str | None = None
        wanted = bool(settings.notifications)
        self._child = ChildProcess("notifications", settings, self._hear) if wanted else None
        self._begun = False

    def start(self, store: Store) -> None:
        """Start it; returns at once. Told is what happens from the first start on. Does nothing the second time."""
        if self._child is None or self._begun:
            return
        last = store.events.last()
        for webhook in self._settings.notifications.values():
            store.followers.begin(follower_of(webhook), last)
        self._begun = True
        self._child.start()

    def stop(self, timeout: float = 0.0) -> bool:
        """Let the process end: it tells what there is, within seconds, even when the driver is gone.

        Waits up to ``timeout`` seconds for its end, and returns whether it has ended.
        """
        if self._child is None:
            return True
        self._child.leave()
        return self._child.join(timeout)

    def problem(self) -> str | None:
        """One line on why a webhook is not told, None while all is well."""
        return None if self._child is None else self._child.problem or self._problem

    def _hear(self, message: Mapping[str, Any]) -> None:
        self._problem = message.get("problem")
