from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_pipelines.errors import ScheduleError
from hpo_pipelines.schedules import After, Clock, Tagged, trigger_of
from hpo_pipelines.task import Event, Task
from hpo_pipelines.types import Kind, Status

PRAGUE = ZoneInfo("Europe/Prague")


def at(*when: int, zone: ZoneInfo = PRAGUE) -> float:
    return datetime(*when, tzinfo=zone).timestamp()  # type: ignore[arg-type]


def test_times_are_those_of_the_zone() -> None:
    nightly = Clock("0 3 * * *", "Europe/Prague")
    assert nightly.after(at(2026, 7, 1, 12)) == at(2026, 7, 2, 3)
    assert Clock("0 3 * * *").after(at(2026, 7, 1, 12)) == datetime(2026, 7, 2, 3, tzinfo=UTC).timestamp()
    assert nightly.shown(at(2026, 7, 2, 3)) == "2026-07-02 03:00:00 Europe/Prague"
    assert nightly.stamp(at(2026, 7, 2, 3)) == "20260702-030000"


def test_a_time_that_the_clock_skips_comes_right_after_and_one_that_it_repeats_comes_once() -> None:
    daily = Clock("30 2 * * *", "Europe/Prague")
    assert daily.after(at(2026, 3, 28, 12)) == at(2026, 3, 29, 3)  # 2:30 is not there: 2:00 is 3:00
    first = daily.after(at(2026, 10, 24, 12))
    assert first == at(2026, 10, 25, 2, 30)
    assert daily.after(first) == at(2026, 10, 26, 2, 30)


@given(st.floats(0, 4e9), st.sampled_from(["*/7 * * * *", "0 3 * * 1-5", "15 1,13 1 * *", "0 0 29 2 *"]))
def test_the_next_time_is_later_and_nothing_lies_between(moment: float, expression: str) -> None:
    clock = Clock(expression, "Europe/Prague")
    found = clock.after(moment)
    assert found is not None
    assert found > moment
    assert clock.after(found - 1) == found


@pytest.mark.parametrize(
    ("expression", "zone", "said"),
    [
        ("0 3 * *", "UTC", "a time is five fields"),
        ("", "UTC", "a time is five fields"),
        ("99 * * * *", "UTC", "bad minute"),
        ("0 0 31 2 *", "UTC", "bad day-of-month"),
        ("0 3 * * *", "Europe/Prag", "no time zone 'Europe/Prag'"),
        ("0 3 * * *", "../etc/passwd", "no time zone"),
        ("0 3 * * *", "", "no time zone"),
    ],
)
def test_what_names_no_time_is_refused(expression: str, zone: str, said: str) -> None:
    with pytest.raises(ScheduleError, match=said):
        Clock(expression, zone)


@pytest.mark.parametrize("trigger", [Clock("0 3 * * *", "Europe/Prague"), After("p/churn"), Tagged("ready")])
def test_triggers_come_back_from_their_records(trigger: Clock | After | Tagged) -> None:
    assert trigger_of(trigger.as_record()) == trigger


def run(**fields: object) -> Task:
    return Task("r", Kind.PIPELINE, "churn", "p", **{"pipeline": "churn", "tags": ("ready",), **fields})  # type: ignore[arg-type]


def event(kind: str, **data: object) -> Event:
    return Event(1, 0.0, "r", kind, data)


DONE = event("status", **{"from": "running", "to": str(Status.COMPLETED)})


@pytest.mark.parametrize(
    ("trigger", "happened", "of", "met"),
    [
        (After("churn"), DONE, run(), True),
        (After("p/churn"), DONE, run(), True),
        (After("q/churn"), DONE, run(), False),
        (After("chur"), DONE, run(), False),
        (After("churn"), event("status", to="failed"), run(), False),
        (After("churn"), DONE, run(study="s", trial=0), False),
        (After("churn"), DONE, run(parent="x"), False),
        (After("churn"), event("status", to="completed", reason="retriggered: attempt 2 follows"), run(), False),
        (After("churn"), DONE, run(attempt=2, attempt_of="x"), True),
        (Tagged("ready"), event("created"), run(attempt=2, attempt_of="x"), False),
        (Tagged("ready"), event("created"), run(), True),
        (Tagged("ready"), event("changed", fields=["tags"]), run(), True),
        (Tagged("ready"), event("changed", fields=["notes"]), run(), False),
        (Tagged("other"), event("created"), run(), False),
        (Tagged("ready"), event("created"), run(study="s"), False),
    ],
)
def test_events_meet_triggers(trigger: After | Tagged, happened: Event, of: Task, met: bool) -> None:
    assert trigger.is_met(happened, of) is met
