"""Which tick is due, by the row alone: every tick once, in every zone, with a clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import schedule as celery_interval
from django_celery_beat.clockedschedule import clocked
from django_celery_beat.tzcrontab import TzAwareCrontab

from tasks_celery.beat.options import GRACE
from tasks_celery.beat.planning import Due, Facts, Plan, plan

NOW = datetime(2026, 5, 20, 12, 0, tzinfo=UTC)
INSTANT, SECOND, MINUTE, HOUR, DAY = (
    timedelta(microseconds=1),
    timedelta(seconds=1),
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
)


def interval(every: timedelta, **facts: Any) -> Facts:
    return Facts(
        **{"kind": "interval", "schedule": celery_interval(every), "last_run_at": None, "changed_at": NOW, **facts}
    )


def crontab(expression: str, zone: str = "UTC", **facts: Any) -> Facts:
    minute, hour, day_of_month, month_of_year, day_of_week = expression.split()
    schedule = TzAwareCrontab(minute, hour, day_of_week, day_of_month, month_of_year, tz=ZoneInfo(zone))
    return Facts(**{"kind": "crontab", "schedule": schedule, "last_run_at": None, "changed_at": NOW, **facts})


def once_at(moment: datetime, **facts: Any) -> Facts:
    return Facts(**{"kind": "clocked", "schedule": clocked(moment), "last_run_at": None, "changed_at": NOW, **facts})


def sent(at: datetime, last_run_at: datetime | None = None) -> Due:
    return Due(at=at, last_run_at=last_run_at or at)


def missed(at: datetime, last_run_at: datetime) -> Due:
    return Due(at=at, last_run_at=last_run_at, outcome="missed")


def all_due(facts: Facts, now: datetime) -> list[Due]:
    """Return all that is due at one moment, as a beat takes one after the other."""
    found: list[Due] = []
    while due := plan(facts, now).due:
        found.append(due)
        assert len(found) < 100_000, "it does not end"
        facts = replace(facts, last_run_at=due.last_run_at)
    return found


def walk(facts: Facts, start: datetime, end: datetime) -> list[Due]:
    """Return what a beat does that sleeps until it is to look again, while the clock moves from one moment to another."""
    found: list[Due] = []
    now: datetime | None = start
    while now is not None and now < end:
        made = plan(facts, now)
        if made.due:
            found.append(made.due)
            facts = replace(facts, last_run_at=made.due.last_run_at)
        assert made.next_at is None or made.next_at > now
        now = made.next_at
    return found


# --- refusals: what has no tick


@pytest.mark.parametrize(
    "facts",
    [interval(MINUTE), crontab("* * * * *"), once_at(NOW)],
    ids=lambda facts: facts.kind,
)
def test_a_schedule_that_is_over_has_no_tick_and_says_so(facts: Facts) -> None:
    over = Plan(due=None, next_at=None, is_over=True)
    assert plan(replace(facts, ends_at=NOW + HOUR), NOW + HOUR) == over
    assert plan(replace(facts, ends_at=NOW - HOUR), NOW + HOUR) == over


def test_a_schedule_is_looked_at_when_it_ends_though_no_tick_comes() -> None:
    facts = crontab("0 3 * * *", ends_at=NOW + HOUR)
    assert plan(facts, NOW) == Plan(due=None, next_at=NOW + HOUR)
    assert plan(once_at(NOW - HOUR, last_run_at=NOW, ends_at=NOW + HOUR), NOW) == Plan(due=None, next_at=NOW + HOUR)


def test_a_day_that_never_comes_is_never_looked_for_again() -> None:
    facts = crontab("0 0 29 2 *")
    facts.schedule.day_of_month = {30}  # type: ignore[attr-defined]  # Celery before 5.7 takes such a crontab.
    assert plan(facts, NOW) == Plan(due=None, next_at=None)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"])
def test_a_time_at_the_end_of_the_calendar_is_never(zone: str) -> None:
    last = datetime.max.replace(tzinfo=ZoneInfo(zone))
    assert plan(interval(timedelta(days=999_999_999)), NOW) == Plan(due=None, next_at=None)
    assert plan(crontab("* * * * *", zone, start_time=last), NOW) == Plan(due=None, next_at=None)
    assert plan(interval(MINUTE, ends_at=last), NOW) == Plan(due=None, next_at=NOW + MINUTE)


def test_an_interval_of_nothing_does_not_stop_beat() -> None:
    assert plan(interval(timedelta(0)), NOW + SECOND).due == sent(NOW + INSTANT)


# --- intervals


def test_an_interval_ticks_first_a_period_after_its_row_was_made() -> None:
    assert plan(interval(HOUR), NOW) == Plan(due=None, next_at=NOW + HOUR)
    assert plan(interval(HOUR), NOW + HOUR - INSTANT).due is None
    assert plan(interval(HOUR), NOW + HOUR) == Plan(due=sent(NOW + HOUR), next_at=NOW + 2 * HOUR)


@pytest.mark.parametrize("every", [SECOND, timedelta(microseconds=333_333), 7 * MINUTE, 2 * DAY])
def test_an_interval_does_not_drift_however_late_each_tick_is_taken(every: timedelta) -> None:
    facts, random = interval(every), Random(7)
    for count in range(1, 200):
        due = plan(facts, NOW + count * every + random.random() * min(every, SECOND) * 0.9).due
        assert due == sent(NOW + count * every)
        facts = replace(facts, last_run_at=due.last_run_at)


def test_an_interval_is_counted_in_time_that_passes_and_not_on_the_clock() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    before = datetime(2026, 3, 28, 12, 0, tzinfo=berlin)
    made = plan(interval(DAY, last_run_at=before, changed_at=before), before + HOUR)
    assert made.next_at == before.astimezone(UTC) + DAY == datetime(2026, 3, 29, 13, 0, tzinfo=berlin)


def test_two_beats_name_the_same_tick_though_their_clocks_differ() -> None:
    for facts in (interval(SECOND), crontab("* * * * *")):
        first = plan(facts, NOW).next_at
        assert first is not None
        found = {plan(facts, first + milliseconds * timedelta(milliseconds=1)).due for milliseconds in range(900)}
        assert found == {sent(first)}


def test_two_beats_name_the_same_missed_tick_though_their_clocks_differ() -> None:
    late = NOW + 10 * HOUR + 5 * MINUTE
    ours, theirs = (plan(interval(HOUR), late + count * timedelta(milliseconds=40)).due for count in (0, 1))
    assert ours == theirs == sent(NOW + HOUR, NOW + 10 * HOUR)


# --- late ticks


def test_each_tick_within_grace_is_sent_in_order() -> None:
    now = NOW + 29.5 * SECOND
    assert all_due(interval(SECOND), now) == [sent(NOW + count * SECOND) for count in range(1, 30)]


def test_a_tick_is_missed_once_its_grace_is_over() -> None:
    facts = interval(HOUR, catch_up="skip")
    late = NOW + HOUR + timedelta(seconds=GRACE)
    assert plan(facts, late - INSTANT).due == sent(NOW + HOUR)
    assert plan(facts, late).due == missed(NOW + HOUR, NOW + HOUR)
    assert plan(facts, late, grace=GRACE + 1).due == sent(NOW + HOUR)


def test_of_sixty_missed_seconds_one_is_sent_and_the_next_tick_is_on_time() -> None:
    now = NOW + 60.5 * SECOND
    assert all_due(interval(SECOND), now) == [sent(NOW + SECOND, NOW + 60 * SECOND)]
    assert plan(interval(SECOND), now).next_at == NOW + 61 * SECOND


def test_of_sixty_skipped_seconds_those_within_grace_are_sent() -> None:
    now = NOW + 60.5 * SECOND
    late, *on_time = all_due(interval(SECOND, catch_up="skip"), now)
    assert late == missed(NOW + SECOND, NOW + 30 * SECOND)
    assert on_time == [sent(NOW + count * SECOND) for count in range(31, 61)]


def test_skipping_what_was_missed_leaves_the_tick_that_is_on_time() -> None:
    now = NOW + 3 * HOUR + 10 * SECOND
    assert all_due(interval(HOUR, catch_up="skip"), now) == [
        missed(NOW + HOUR, NOW + 2 * HOUR),
        sent(NOW + 3 * HOUR),
    ]
    on_time = NOW + 3 * HOUR
    assert all_due(crontab("0 * * * *", catch_up="skip"), now) == [
        missed(NOW + HOUR, now - GRACE * SECOND),
        sent(on_time),
    ]


def test_catching_up_sends_one_for_all_that_were_missed_and_the_one_on_time() -> None:
    now = NOW + 3 * HOUR + 10 * SECOND
    assert all_due(interval(HOUR), now) == [sent(NOW + HOUR, NOW + 3 * HOUR)]
    assert all_due(crontab("0 * * * *"), now) == [sent(NOW + HOUR, now)]


def test_what_was_missed_is_not_sent_once_the_newest_would_have_expired() -> None:
    now = NOW + 3 * HOUR + 10 * MINUTE
    for facts in (interval(HOUR, expire_seconds=600), crontab("0 * * * *", expire_seconds=600)):
        assert [due.outcome for due in all_due(facts, now)] == ["missed"]
        assert [due.outcome for due in all_due(facts, now - INSTANT)] == ["send"]


def test_no_limit_is_what_an_expiry_of_zero_seconds_means() -> None:
    assert plan(interval(HOUR, expire_seconds=0), NOW + 2.5 * HOUR).due == sent(NOW + HOUR, NOW + 2 * HOUR)


def test_an_interval_too_short_for_beat_falls_behind_by_its_grace_and_no_more() -> None:
    facts, now, sends = interval(timedelta(milliseconds=10)), NOW, []
    for _ in range(5000):  # each sending takes a beat 50 ms
        now += timedelta(milliseconds=50)
        if due := plan(facts, now).due:
            facts = replace(facts, last_run_at=due.last_run_at)
            sends.append(due)
            assert now - due.at <= timedelta(seconds=GRACE, milliseconds=50)
    assert len({due.at for due in sends}) == len(sends) == 5000


def test_many_years_of_a_microsecond_are_counted_at_once() -> None:
    due = plan(interval(INSTANT), NOW + 3650 * DAY).due
    assert due == sent(NOW + INSTANT, NOW + 3650 * DAY)


# --- start_time


def test_an_interval_ticks_first_at_its_start() -> None:
    facts = interval(HOUR, start_time=NOW + 90 * MINUTE)
    assert plan(facts, NOW) == Plan(due=None, next_at=NOW + 90 * MINUTE)
    assert plan(facts, NOW + 90 * MINUTE) == Plan(due=sent(NOW + 90 * MINUTE), next_at=NOW + 150 * MINUTE)


def test_a_start_in_the_past_only_says_where_the_grid_lies() -> None:
    facts = interval(DAY, start_time=datetime(2026, 1, 1, 6, 30, tzinfo=UTC))
    assert plan(facts, NOW) == Plan(due=None, next_at=datetime(2026, 5, 21, 6, 30, tzinfo=UTC))


def test_an_interval_that_begins_as_it_is_made_ticks_at_once() -> None:
    assert plan(interval(HOUR, start_time=NOW), NOW).due == sent(NOW)


def test_an_interval_that_is_put_off_begins_anew_at_its_start() -> None:
    facts = interval(HOUR, last_run_at=NOW - 10 * MINUTE, start_time=NOW + DAY)
    assert plan(facts, NOW + 12 * HOUR) == Plan(due=None, next_at=NOW + DAY)
    assert plan(replace(facts, last_run_at=NOW + DAY), NOW + DAY) == Plan(due=None, next_at=NOW + DAY + HOUR)


def test_a_crontab_ticks_first_at_the_first_time_at_or_behind_its_start() -> None:
    nine = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
    assert plan(crontab("0 9 * * *", start_time=nine), NOW) == Plan(due=None, next_at=nine)
    assert plan(crontab("0 9 * * *", start_time=nine + SECOND), NOW) == Plan(due=None, next_at=nine + DAY)


# --- crontabs


def test_a_crontab_without_a_run_has_no_ticks_before_its_row_was_changed() -> None:
    assert plan(crontab("30 * * * *", changed_at=NOW), NOW) == Plan(due=None, next_at=NOW + 30 * MINUTE)


def test_a_change_of_the_row_forgets_no_tick_that_is_due() -> None:
    facts = crontab("0 * * * *", last_run_at=NOW - HOUR, changed_at=NOW + SECOND)
    assert plan(facts, NOW + 2 * SECOND).due == sent(NOW)


def test_a_tick_that_was_taken_is_not_due_again() -> None:
    tick = NOW + 30 * MINUTE
    facts = crontab("30 * * * *", last_run_at=tick)
    assert plan(facts, tick + SECOND) == Plan(due=None, next_at=tick + HOUR)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
def test_a_daily_half_past_two_runs_once_a_day_for_a_year(zone: str) -> None:
    start = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone))
    found = walk(
        crontab("30 2 * * *", zone, changed_at=start), start.astimezone(UTC), start.astimezone(UTC) + 365 * DAY
    )
    days = [due.at.astimezone(ZoneInfo(zone)).date() for due in found]
    assert days == [date(2026, 1, 1) + count * DAY for count in range(365)]
    assert {due.outcome for due in found} == {"send"}


@pytest.mark.parametrize("start", [datetime(2026, 3, 28, 22, tzinfo=UTC), datetime(2026, 10, 24, 22, tzinfo=UTC)])
@pytest.mark.parametrize("expression", ["30 2 * * *", "0 * * * *", "*/15 * * * *"])
def test_a_beat_that_looks_each_five_minutes_sees_the_same_ticks_as_one_that_sleeps(
    start: datetime, expression: str
) -> None:
    facts = awake = crontab(expression, "Europe/Berlin", changed_at=start)
    found = []
    for count in range(4 * 12):
        if due := plan(awake, start + count * 5 * MINUTE).due:
            found.append(due)
            awake = replace(awake, last_run_at=due.last_run_at)
            assert due == sent(start + count * 5 * MINUTE)
    assert found == walk(facts, start, start + 4 * HOUR)
    assert len(found) == {"30 2 * * *": 1, "0 * * * *": 3, "*/15 * * * *": 15}[expression]


# --- clocked


def test_a_moment_ticks_once() -> None:
    facts = once_at(NOW + HOUR)
    assert plan(facts, NOW) == Plan(due=None, next_at=NOW + HOUR)
    assert plan(facts, NOW + HOUR) == Plan(due=sent(NOW + HOUR), next_at=None)
    assert plan(replace(facts, last_run_at=NOW + HOUR), NOW + DAY) == Plan(due=None, next_at=None)


def test_a_moment_that_passed_while_no_beat_ran_is_sent_late_or_left_out_and_never_twice() -> None:
    facts = once_at(NOW, changed_at=NOW - DAY)
    assert all_due(facts, NOW + DAY) == [sent(NOW, NOW + DAY)]
    assert all_due(replace(facts, catch_up="skip"), NOW + DAY) == [missed(NOW, NOW + DAY - GRACE * SECOND)]
    assert all_due(replace(facts, expire_seconds=HOUR.total_seconds()), NOW + DAY) == [
        missed(NOW, NOW + DAY - GRACE * SECOND)
    ]


def test_a_moment_is_sent_though_its_row_was_changed_since() -> None:
    assert plan(once_at(NOW - MINUTE, changed_at=NOW), NOW).due == sent(NOW - MINUTE, NOW)


def test_a_moment_that_is_moved_ticks_again() -> None:
    assert plan(once_at(NOW + HOUR, last_run_at=NOW), NOW).next_at == NOW + HOUR


def test_a_moment_waits_for_the_start_of_its_schedule() -> None:
    assert plan(once_at(NOW + HOUR, start_time=NOW + 2 * HOUR), NOW).next_at == NOW + 2 * HOUR


# --- several beats


@dataclass
class Row:
    """A row that several beats read, and change only if nobody else has since."""

    facts: Facts
    taken: list[Due] = field(default_factory=list)

    def take(self, read: Facts, due: Due) -> None:
        if self.facts.last_run_at == read.last_run_at:
            self.facts = replace(self.facts, last_run_at=due.last_run_at)
            self.taken.append(due)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("facts", [interval(SECOND), crontab("* * * * *"), interval(700 * timedelta(milliseconds=1))])
def test_three_beats_with_stalls_and_clocks_apart_take_every_tick_once(facts: Facts, seed: int) -> None:
    random, row = Random(seed), Row(facts)
    skews = [random.uniform(-0.2, 0.2) * SECOND for _ in range(3)]
    stalled: list[tuple[datetime, Facts, Due]] = []
    now, end = NOW, NOW + 300 * SECOND
    while now < end:
        now += random.choices([0.01, 0.05, 0.3, 9], weights=[30, 50, 19, 1])[0] * SECOND
        due = plan(row.facts, now + random.choice(skews)).due
        if due:
            # Each reads and decides now, and writes only when its stall is over.
            stalled.append((now + random.choices([0, 0.1, 3], weights=[8, 4, 1])[0] * SECOND, row.facts, due))
        for item in [item for item in stalled if item[0] <= now]:
            stalled.remove(item)
            row.take(item[1], item[2])
    for due in all_due(row.facts, end):
        row.take(row.facts, due)
    ticks = [due.at for due in row.taken]
    expected = [due.at for due in walk(facts, NOW, ticks[-1] + INSTANT)]
    assert ticks == expected
    assert {due.outcome for due in row.taken} == {"send"}
    assert ticks[-1] > end - 61 * SECOND
