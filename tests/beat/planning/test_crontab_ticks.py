"""When a crontab ticks: what its fields mean to Celery, and on the days on which the clocks change."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django_celery_beat.tzcrontab import TzAwareCrontab

from tasks_celery.beat.planning.crontab_ticks import next_tick

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)

#: A zone, a day on which its clocks go forward, and one on which they go back.
CHANGES = {
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25)),
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1)),
    "Australia/Lord_Howe": (date(2026, 10, 4), date(2026, 4, 5)),  # by half an hour
    "Pacific/Chatham": (date(2026, 9, 27), date(2026, 4, 5)),  # at 02:45
    "Antarctica/Troll": (date(2026, 3, 29), date(2026, 10, 25)),  # by two hours
    "America/Santiago": (date(2026, 9, 6), date(2026, 4, 4)),  # at midnight
}


def crontab(expression: str, zone: str = "UTC") -> Any:
    minute, hour, day_of_month, month_of_year, day_of_week = expression.split()
    return TzAwareCrontab(minute, hour, day_of_week, day_of_month, month_of_year, tz=ZoneInfo(zone))


def walk(schedule: Any, start: datetime, end: datetime) -> list[datetime]:
    """Return the ticks from one moment to another, each looked for from the one before."""
    found: list[datetime] = []
    tick = next_tick(schedule, start - datetime.resolution)
    while tick is not None and tick < end:
        found.append(tick)
        tick = next_tick(schedule, tick)
    return found


def of_day(schedule: Any, day: date) -> list[str]:
    """Return the ticks of one day, as the clocks of the crontab's zone show them."""
    start, end = (datetime(d.year, d.month, d.day, tzinfo=schedule.tz).astimezone(UTC) for d in (day, day + DAY))
    return [tick.astimezone(schedule.tz).strftime("%H:%M%z") for tick in walk(schedule, start, end)]


def named(schedule: Any, first: date, days: int) -> Iterator[datetime]:
    """Give every time that the fields name, as a clock shows it, the plainest way."""
    for count in range(days):
        day = first + count * DAY
        if (
            day.month in schedule.month_of_year
            and day.day in schedule.day_of_month
            and day.isoweekday() % 7 in schedule.day_of_week
        ):
            for hour in schedule.hour:
                for minute in schedule.minute:
                    yield datetime(day.year, day.month, day.day, hour, minute, tzinfo=schedule.tz)


def reference(schedule: Any, start: datetime, end: datetime) -> list[datetime]:
    """Return what the ticks have to be, from all the times that the fields name."""
    found = set()
    for wall in named(schedule, start.date() - 2 * DAY, (end - start).days + 4):
        found.add(wall.astimezone(UTC))
        again = wall.replace(fold=1).astimezone(UTC)
        if again > wall.astimezone(UTC) and {(wall.hour - 1) % 24, (wall.hour + 1) % 24} <= schedule.hour:
            found.add(again)
    return sorted(tick for tick in found if start <= tick < end)


@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25), date(2026, 7, 1)])
def test_a_daily_half_past_two_ticks_once_on_each_day(day: date) -> None:
    assert len(of_day(crontab("30 2 * * *", "Europe/Berlin"), day)) == 1


def test_a_time_that_the_clocks_leave_out_is_as_far_behind_the_change_as_it_says() -> None:
    assert of_day(crontab("30 2 * * *", "Europe/Berlin"), date(2026, 3, 29)) == ["03:30+0200"]
    assert of_day(crontab("*/20 2 * * *", "Europe/Berlin"), date(2026, 3, 29)) == [
        "03:00+0200",
        "03:20+0200",
        "03:40+0200",
    ]


def test_a_time_that_comes_twice_ticks_the_first_time() -> None:
    assert of_day(crontab("30 2 * * *", "Europe/Berlin"), date(2026, 10, 25)) == ["02:30+0200"]
    assert of_day(crontab("30 2,3 * * *", "Europe/Berlin"), date(2026, 10, 25)) == ["02:30+0200", "03:30+0100"]
    assert of_day(crontab("45 1 * * *", "Australia/Lord_Howe"), date(2026, 4, 5)) == ["01:45+1100"]


def test_two_times_that_fall_on_one_moment_are_one_tick() -> None:
    assert of_day(crontab("30 2,3 * * *", "Europe/Berlin"), date(2026, 3, 29)) == ["03:30+0200"]


def test_a_time_behind_a_short_gap_comes_before_one_that_was_left_out() -> None:
    assert of_day(crontab("20,35 2 * * *", "Australia/Lord_Howe"), date(2026, 10, 4)) == ["02:35+1100", "02:50+1100"]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Antarctica/Troll", "America/Santiago"])
@pytest.mark.parametrize("expression", ["0 * * * *", "7 0-23 * * *", "*/15 * * * *"])
def test_every_real_hour_and_quarter_has_its_tick_over_both_changes(zone: str, expression: str) -> None:
    schedule = crontab(expression, zone)
    step = timedelta(hours=1) / len(schedule.minute)
    for change in CHANGES[zone]:
        start = datetime(change.year, change.month, change.day, tzinfo=UTC) - DAY
        found = walk(schedule, start, start + 3 * DAY)
        assert {after - before for before, after in pairwise(found)} == {step}


def test_every_real_quarter_has_its_tick_where_the_clocks_change_by_half_an_hour() -> None:
    for change in CHANGES["Australia/Lord_Howe"]:
        start = datetime(change.year, change.month, change.day, tzinfo=UTC) - DAY
        found = walk(crontab("*/15 * * * *", "Australia/Lord_Howe"), start, start + 2 * DAY)
        assert {after - before for before, after in pairwise(found)} == {15 * MINUTE}


def test_a_crontab_of_the_night_has_no_hole_in_the_hour_that_comes_twice() -> None:
    found = of_day(crontab("0 0-5 * * *", "Europe/Berlin"), date(2026, 10, 25))
    assert found == ["00:00+0200", "01:00+0200", "02:00+0200", "02:00+0100", "03:00+0100", "04:00+0100", "05:00+0100"]


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("expression", ["30 2 * * *", "50 3 * * *", "0 0 * * 1-6"])
def test_once_on_each_day_that_it_names_over_a_year_in_every_zone(zone: str, expression: str) -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    schedule = crontab(expression, zone)
    assert walk(schedule, start, end) == reference(schedule, start, end)


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize(
    "expression",
    ["*/20 * * * *", "*/15 0-5 * * *", "0 */2 * * *", "30 1-3 * * *", "20,35 2 * * *", "5 * * * 0", "0 22-23,0 * * 6"],
)
def test_all_that_the_fields_name_ticks_over_both_changes(zone: str, expression: str) -> None:
    schedule = crontab(expression, zone)
    for change in CHANGES[zone]:
        start = datetime(change.year, change.month, change.day, tzinfo=UTC) - 2 * DAY
        assert walk(schedule, start, start + 4 * DAY) == reference(schedule, start, start + 4 * DAY)


@pytest.mark.parametrize("hours", range(0, 72, 6))
def test_a_tick_half_a_year_off_is_found_from_the_days_of_the_change_before(hours: int) -> None:
    schedule = crontab("20,35 2 4 10 *", "Australia/Lord_Howe")
    start, end = datetime(2026, 4, 3, hours % 24, tzinfo=UTC) + hours // 24 * DAY, datetime(2026, 11, 1, tzinfo=UTC)
    assert walk(schedule, start, end) == reference(schedule, start, end)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/Havana", "Africa/Casablanca"])
@pytest.mark.parametrize(
    "expression", ["0 9 1-7 * mon", "59 23 31 * *", "0 0 * * 0", "0 0 29 2 *", "0 12 */10 jan-mar,12 *", "1 1 1 1 *"]
)
def test_day_of_month_month_and_day_of_week_all_have_to_agree(zone: str, expression: str) -> None:
    schedule = crontab(expression, zone)
    start, end = datetime(2027, 6, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)
    assert walk(schedule, start, end) == reference(schedule, start, end)


@pytest.mark.parametrize(
    ("expression", "tick"),
    [
        ("30 14 * * *", datetime(2026, 5, 20, 14, 30)),  # noqa: DTZ001
        ("0 0 1 * *", datetime(2026, 6, 1)),  # noqa: DTZ001
        ("0 9 1-7 * mon", datetime(2026, 6, 1, 9)),  # noqa: DTZ001
        ("0 0 29 2 *", datetime(2028, 2, 29)),  # noqa: DTZ001
        ("0 0 29 2 sun", datetime(2032, 2, 29)),  # noqa: DTZ001
        ("0 0 13 * fri", datetime(2026, 11, 13)),  # noqa: DTZ001
    ],
)
def test_the_next_tick_is_celerys_where_no_clock_changes(expression: str, tick: datetime) -> None:
    schedule, now = crontab(expression), datetime(2026, 5, 20, 12, 34, 56, tzinfo=UTC)
    schedule.nowfun = lambda: now
    assert next_tick(schedule, now) == tick.replace(tzinfo=UTC) == now + schedule.remaining_estimate(now)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("expression", ["30 2 * * *", "30 1 * * *", "0 3 * * *", "0 9 * * *"])
def test_a_daily_tick_is_where_celerys_own_beat_has_it_on_the_days_of_a_change(zone: str, expression: str) -> None:
    for change in CHANGES[zone]:
        start = datetime(change.year, change.month, change.day, tzinfo=UTC) - DAY
        assert walk(crontab(expression, zone), start, start + 3 * DAY) == celerys(crontab(expression, zone), start)


def celerys(schedule: Any, start: datetime) -> list[datetime]:
    """Return when Celery's own beat would send in three days, asked at each half hour, as its clock moves."""
    found, last_run_at = [], start - MINUTE
    for count in range(3 * 48):
        now = start + count * 30 * MINUTE
        schedule.nowfun = lambda now=now: now.astimezone(schedule.tz)
        if schedule.is_due(last_run_at).is_due:
            found.append(now)
            last_run_at = now
    return found


def test_a_tick_is_the_first_minute_behind_a_moment_and_never_the_moment_itself() -> None:
    every_minute, minute = crontab("* * * * *"), datetime(2026, 5, 20, 12, 34, tzinfo=UTC)
    assert next_tick(every_minute, minute) == minute + MINUTE
    assert next_tick(every_minute, minute - datetime.resolution) == minute
    assert next_tick(every_minute, minute.astimezone(ZoneInfo("Asia/Kathmandu"))) == minute + MINUTE


def test_a_zone_off_by_three_quarters_of_an_hour_has_its_own_hours() -> None:
    noon = next_tick(crontab("0 12 * * *", "Asia/Kathmandu"), datetime(2026, 5, 20, tzinfo=UTC))
    assert noon == datetime(2026, 5, 20, 6, 15, tzinfo=UTC)


def test_a_day_that_never_comes_is_never() -> None:
    schedule = crontab("0 0 29 2 *")
    schedule.day_of_month = {30}  # Celery before 5.7 takes such a crontab.
    assert next_tick(schedule, datetime(2026, 5, 20, tzinfo=UTC)) is None


def test_the_rarest_day_is_found_over_a_year_that_is_no_leap_year() -> None:
    schedule, found = crontab("0 0 29 2 tue"), datetime(2072, 3, 1, tzinfo=UTC)
    years = [2000 + year for year in range(72, 160) if monthrange(2000 + year, 2)[1] == 29]
    tuesdays = [year for year in years if date(year, 2, 29).isoweekday() == 2]
    for year in tuesdays[:4]:
        tick = next_tick(schedule, found)
        assert tick == datetime(year, 2, 29, tzinfo=UTC)
        found = tick
