"""When a solar schedule ticks: each event once, to the whole second, and none while the sun does not come up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from celery.schedules import solar

from tasks_celery.beat.planning import Due, Facts, Plan, plan
from tasks_celery.beat.planning.solar_ticks import next_tick

BERLIN = ("52.52", "13.405")
TROMSO = ("69.65", "18.96")
SPRING = datetime(2026, 3, 21, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

EVENTS = [
    "dawn_astronomical",
    "dawn_nautical",
    "dawn_civil",
    "sunrise",
    "solar_noon",
    "sunset",
    "dusk_civil",
    "dusk_nautical",
    "dusk_astronomical",
]


def at(event: Any, place: tuple[str, str]) -> solar:
    """Return a schedule as a row has it: its place in decimals."""
    return solar(event, Decimal(place[0]), Decimal(place[1]))  # type: ignore[arg-type]


def facts(event: str, place: tuple[str, str], **given: Any) -> Facts:
    return Facts(**{"kind": "solar", "schedule": at(event, place), "last_run_at": None, "changed_at": SPRING, **given})


def walk(schedule: solar, start: datetime, end: datetime) -> Iterator[datetime]:
    tick = next_tick(schedule, start)
    while tick is not None and tick < end:
        yield tick
        tick = next_tick(schedule, tick)


def test_where_the_sun_never_comes_up_over_a_year_there_is_no_tick() -> None:
    assert next_tick(at("sunrise", ("90", "0")), SPRING) is None
    assert plan(facts("sunrise", ("90", "0")), SPRING + DAY) == Plan(due=None, next_at=None)


def test_the_polar_night_has_no_tick_and_the_first_sunrise_behind_it_has() -> None:
    before, after = pairwise_longest(walk(at("sunrise", TROMSO), datetime(2025, 10, 1, tzinfo=UTC), SPRING))
    assert datetime(2025, 11, 20, tzinfo=UTC) < before < datetime(2025, 12, 1, tzinfo=UTC)
    assert datetime(2026, 1, 10, tzinfo=UTC) < after < datetime(2026, 1, 20, tzinfo=UTC)
    waits = facts("sunrise", TROMSO, last_run_at=before, changed_at=before)
    assert plan(waits, before + 10 * DAY) == Plan(due=None, next_at=after)


def pairwise_longest(ticks: Iterator[datetime]) -> tuple[datetime, datetime]:
    return max(pairwise(ticks), key=lambda pair: pair[1] - pair[0])


@pytest.mark.parametrize("event", EVENTS)
def test_each_event_is_celerys_to_the_second(event: str) -> None:
    schedule = at(event, BERLIN)
    schedule.nowfun = lambda: SPRING  # type: ignore[attr-defined]
    tick = next_tick(schedule, SPRING)
    assert tick is not None
    assert tick.microsecond == 0
    assert timedelta(0) <= tick - (SPRING + schedule.remaining_estimate(SPRING)) < SECOND


@pytest.mark.parametrize("event", ["sunrise", "solar_noon", "sunset"])
def test_an_event_ticks_once_a_day_for_a_year(event: str) -> None:
    found = list(walk(at(event, BERLIN), SPRING, SPRING + 365 * DAY))
    assert len(found) == 365
    assert all(DAY - 5 * MINUTE < after - before < DAY + 5 * MINUTE for before, after in pairwise(found))


@pytest.mark.parametrize(("start", "in_a_day"), [(datetime(2026, 9, 15, tzinfo=UTC), 2), (SPRING - 60 * DAY, 0)])
def test_an_event_that_crosses_midnight_in_utc_is_neither_lost_nor_doubled(start: datetime, in_a_day: int) -> None:
    found = list(walk(at("sunset", ("40", "-98.5")), start, start + 60 * DAY))
    assert all(DAY - 5 * MINUTE < after - before < DAY + 5 * MINUTE for before, after in pairwise(found))
    days = [tick.date() for tick in found]
    assert in_a_day in {days.count(start.date() + count * DAY) for count in range(1, 59)}


def test_an_event_is_the_same_from_wherever_it_is_looked_for() -> None:
    schedule = at("sunset", BERLIN)
    tick = next_tick(schedule, SPRING)
    assert tick is not None
    found = {next_tick(schedule, tick - ahead) for ahead in (SECOND, MINUTE, HOUR, 5 * HOUR, timedelta(microseconds=1))}
    assert found == {tick}
    following = next_tick(schedule, tick)
    assert following is not None
    assert following - tick > 23 * HOUR


def test_a_beat_sends_a_sunset_once_and_waits_for_the_next() -> None:
    row = facts("sunset", BERLIN)
    sunset = plan(row, SPRING).next_at
    assert sunset is not None
    made = plan(row, sunset + timedelta(milliseconds=3))
    assert made.due == Due(at=sunset, last_run_at=sunset)
    assert made.next_at is not None
    assert made.next_at - sunset > 23 * HOUR
    taken = facts("sunset", BERLIN, last_run_at=sunset)
    assert plan(taken, sunset + timedelta(milliseconds=3)) == Plan(due=None, next_at=made.next_at)


def test_sunsets_that_were_missed_are_sent_as_one_or_left_out() -> None:
    now = SPRING + 5 * DAY
    first = next_tick(at("sunset", BERLIN), SPRING)
    assert first is not None
    assert plan(facts("sunset", BERLIN), now).due == Due(at=first, last_run_at=now)
    skipped = Due(at=first, last_run_at=now - 30 * SECOND, outcome="missed")
    assert plan(facts("sunset", BERLIN, catch_up="skip"), now).due == skipped
