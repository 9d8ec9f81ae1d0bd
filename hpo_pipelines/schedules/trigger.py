"""What a schedule waits for: a time of the clock, the end of a pipeline's run, a run with a tag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from hpo_pipelines.errors import ScheduleError
from hpo_pipelines.store.chain import RETRIGGERED
from hpo_pipelines.task import Event, Task
from hpo_pipelines.types import Kind, Status

MARK = "schedule:"
"""What the tag of whatever a schedule started begins with; its name follows."""


@dataclass(frozen=True)
class Clock:
    """The times that the cron ``expression`` names (five fields, as in Debian's cron) in the time zone ``zone``.

    Where the clock is put forward, a time that is skipped comes right after; where it is put back, one comes once. The
    names of zones are those of IANA's time zone database. Raises ScheduleError for what names no time, or no zone.
    """

    expression: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ScheduleError(f"there is no time zone {self.zone!r}; zones are named like Europe/Prague.") from error
        if len(self.expression.split()) != 5:
            raise ScheduleError(
                f"{self.expression!r}: a time is five fields, minute, hour, day of the month, month, day of the week: "
                '"0 3 * * *" is every day at 3:00.'
            )
        try:
            CronSim(self.expression, datetime.now(UTC))
        except CronSimError as error:
            raise ScheduleError(
                f'{self.expression!r}: {str(error).lower()}; "0 3 * * *" is every day at 3:00, "*/15 * * * 1-5" every '
                "quarter of an hour from Monday to Friday."
            ) from None
        if self.after(datetime.now(UTC).timestamp()) is None:
            raise ScheduleError(f"{self.expression!r}: there is no such day in the next fifty years.")

    def after(self, at: float) -> float | None:
        """The first of its times after ``at``, both in seconds since the epoch; None if there is none in 50 years."""
        found = next(CronSim(self.expression, datetime.fromtimestamp(at, self._zone)), None)
        return None if found is None else found.timestamp()

    @property
    def _zone(self) -> tzinfo:
        return ZoneInfo(self.zone)

    def shown(self, at: float) -> str:
        """The time ``at`` as a clock of its zone shows it."""
        return f"{datetime.fromtimestamp(at, self._zone):%Y-%m-%d %H:%M:%S} {self.zone}"

    def stamp(self, at: float) -> str:
        """The time ``at`` by a clock of its zone, as a part of a name."""
        return f"{datetime.fromtimestamp(at, self._zone):%Y%m%d-%H%M%S}"

    def as_record(self) -> dict[str, Any]:
        return {"cron": self.expression, "zone": self.zone}

    def __str__(self) -> str:
        return f"{self.expression} ({self.zone})"


@dataclass(frozen=True)
class After:
    """The completion of a run of ``pipeline``, ``churn`` or ``project/churn``, that no study and no other run made."""

    pipeline: str

    def is_met(self, event: Event, run: Task) -> bool:
        """Whether ``event``, of ``run``, is such a completion."""
        if event.kind != "status" or event.data.get("to") != Status.COMPLETED or not _is_whole(run):
            return False
        if str(event.data.get("reason")).startswith(RETRIGGERED):
            return False  # its next attempt goes on
        project, _, name = self.pipeline.rpartition("/")
        return run.pipeline == name and project in ("", run.project)

    def as_record(self) -> dict[str, Any]:
        return {"after": self.pipeline}

    def __str__(self) -> str:
        return f"after {self.pipeline}"


@dataclass(frozen=True)
class Tagged:
    """A run that has the ``tag`` when it appears, or is given it later."""

    tag: str

    def is_met(self, event: Event, run: Task) -> bool:
        """Whether with ``event``, of ``run``, such a run has appeared."""
        told = event.kind == "created" or (event.kind == "changed" and "tags" in event.data.get("fields", ()))
        follows = event.kind == "created" and run.attempt > 1  # the first attempt has told of it
        return told and not follows and _is_whole(run) and self.tag in run.tags

    def as_record(self) -> dict[str, Any]:
        return {"tag": self.tag}

    def __str__(self) -> str:
        return f"on tag {self.tag}"


Trigger = Clock | After | Tagged


def trigger_of(record: Mapping[str, Any]) -> Trigger:
    """The trigger that is recorded so."""
    if "cron" in record:
        return Clock(record["cron"], record["zone"])
    return After(record["after"]) if "after" in record else Tagged(record["tag"])


def _is_whole(run: Task) -> bool:
    """Whether ``run`` is one of its own: neither a trial, nor inside another."""
    return run.kind is Kind.PIPELINE and run.parent is None and run.study is None
