"""Tells webhooks what happens: a follower of events for each, in a process of its own beside the driver.

What was recorded is told at least once: a follower's cursor moves on when the receiver has taken it. What is left when
the process ends is told by the next one with these settings, unless it has expired by then. Nothing here is waited for.
"""

from __future__ import annotations

import http.client
import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from hpo_pipelines.errors import TrackingError
from hpo_pipelines.settings import Settings
from hpo_pipelines.store import Store
from hpo_pipelines.task import Event
from hpo_pipelines.tracking.base import Follower, Pace
from hpo_pipelines.tracking.notices import Notice, notice
from hpo_pipelines.tracking.notifier import follower_of
from hpo_pipelines.webhook import Webhook

log = logging.getLogger(__name__)

PACE = Pace(batch=500, linger=0.0, backoff=1.0, longest=300.0)

_AGAIN = (408, 425, 429)
"""Answers that ask for another try, as those from 500 on do; any other refusal stays one."""

_LARGEST = 100_000
"""Bytes of a message with its parameters and metrics; a larger one goes without them."""


class Refused(Exception):
    """The receiver does not want it, now or ever."""


class Telling:
    """Takes events for one webhook: tells those that it wants, in order, each until it is taken or given up."""

    def __init__(self, store: Store, webhook: Webhook, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._webhook = webhook
        self._now = now
        self._done = 0
        """The id of the last event of the batch at hand that is dealt with."""
        self._failures = 0

    def take(self, events: Sequence[Event]) -> None:
        """See :data:`hpo_pipelines.tracking.base.Take`; raises TrackingError for what is to be tried again."""
        for event in events:
            if event.id > self._done:
                self._tell(event)
                self._done = event.id

    def _tell(self, event: Event) -> None:
        if event.at < self._now() - float(self._webhook.expires):
            return
        told = notice(self._store, event)
        if told is None or not self._wants(told):
            return
        try:
            post(self._webhook, told.content)
        except Refused as error:
            log.error("%s is not told of %s (event %d): %s", self._webhook.name, told.kind, event.id, error)
        except TrackingError as error:
            self._failures += 1
            if self._failures <= self._webhook.retries:
                raise
            tries = self._webhook.retries + 1
            log.error("%s is not told of %s after %d tries: %s", self._webhook.name, told.kind, tries, error)
        self._failures = 0

    def _wants(self, told: Notice) -> bool:
        if told.kind not in self._webhook.events:
            return False
        return not self._webhook.only_asked if told.asked is None else self._webhook.name in told.asked


class _Straight(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would turn a POST into a GET, and might lead a secret elsewhere."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def post(webhook: Webhook, content: Mapping[str, Any]) -> None:
    """Send ``content`` once. Raises Refused, or TrackingError where another try may help; neither tells the URL."""
    body = json.dumps(content, allow_nan=False, default=str).encode()
    if len(body) > _LARGEST:
        body = json.dumps(_short(content), allow_nan=False, default=str).encode()
    address = webhook.address()  # a variable that is not set may be set the next time
    headers = {"Content-Type": "application/json", "User-Agent": "hpo_pipelines", **webhook.sent_headers()}
    host = urlsplit(address).hostname
    try:
        request = urllib.request.Request(address, body, headers, method="POST")
        with urllib.request.build_opener(_Straight).open(request, timeout=float(webhook.timeout)):
            return
    except urllib.error.HTTPError as error:
        error.close()
        said = f"{host} answered {error.code}"
        if error.code in _AGAIN or error.code >= 500:
            raise TrackingError(said) from None
        raise Refused(said) from None
    except (http.client.InvalidURL, ValueError):  # the message would tell it
        raise Refused("its url or a header holds what HTTP cannot carry") from None
    except (OSError, http.client.HTTPException) as error:  # refused, reset, timed out, no such host, no answer
        reason = getattr(error, "reason", error)
        raise TrackingError(f"{host} cannot be reached: {type(reason).__name__}") from None


def _short(content: Mapping[str, Any]) -> dict[str, Any]:
    run = {name: value for name, value in content.get("run", {}).items() if name not in ("params", "metrics")}
    return {**content, **({"run": run} if run else {}), "text": str(content["text"])[:500]}


class Notifying:
    """The followers of all webhooks of ``settings``, each in a thread."""

    def __init__(self, store: Store, settings: Settings, heard: Callable[[str | None], None]) -> None:
        self._problems: dict[str, str | None] = {}
        self._heard = heard
        self.followers = [self._follower(store, webhook) for webhook in settings.notifications.values()]

    def _follower(self, store: Store, webhook: Webhook) -> Follower:
        telling = Telling(store, webhook)
        return Follower(
            store, follower_of(webhook), telling.take, pace=PACE, heard=lambda said: self._hear(webhook.name, said)
        )

    def _hear(self, name: str, problem: str | None) -> None:
        self._problems[name] = problem
        self._heard(next((f"{name}: {said}" for name, said in self._problems.items() if said is not None), None))

    def run(self) -> None:
        """Follow until :meth:`stop`."""
        threads = [threading.Thread(target=each.run, name=each.name, daemon=True) for each in self.followers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def drain(self, timeout: float) -> bool:
        """Hurry until all that there is now is told; False after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        drained = [each.drain(max(0.0, deadline - time.monotonic())) for each in self.followers]
        return all(drained)

    def stop(self) -> None:
        """End :meth:`run`."""
        for each in self.followers:
            each.stop()
