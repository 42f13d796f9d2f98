"""The rows: what is read of them, and that each change succeeds for one of those that try."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import ClockedSchedule, PeriodicTask, SolarSchedule

from tasks_celery.beat import ticks
from tasks_celery.beat.models import Tick
from tasks_celery.beat.planning import Due
from tasks_celery.exceptions import ScheduleError
from tests.beat.schedules import a_crontab, ago, an_interval, read

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
SOON = timedelta(seconds=10)


def due(at: datetime = NOON, **fields: Any) -> Due:
    return Due(**{"at": at, "last_run_at": at} | fields)


def take(row: Any, at: datetime = NOON, **fields: Any) -> Tick | None:
    return ticks.take(row, due(at, **fields), until=datetime.now(UTC) + SOON)


def taken(row: Any, at: datetime = NOON) -> Tick:
    tick = take(row, at)
    assert tick is not None
    return tick


# --- facts


def test_a_row_without_times_is_refused() -> None:
    row = an_interval()
    PeriodicTask.objects.update(interval=None)
    with pytest.raises(ScheduleError, match="no interval, crontab, solar or clocked"):
        ticks.facts_of(read(row))


def test_a_crontab_that_cannot_be_read_is_refused_with_what_it_says() -> None:
    with pytest.raises(ScheduleError, match="99"):
        ticks.facts_of(a_crontab(hour="99"))


def test_the_facts_of_a_row_are_its_own() -> None:
    row = an_interval(seconds=90, expire_seconds=30, start_time=NOON, one_off=True, options={"catch_up": "skip"})
    facts = ticks.facts_of(row)
    assert (facts.kind, facts.schedule.run_every, facts.catch_up) == ("interval", timedelta(seconds=90), "skip")
    assert (facts.expire_seconds, facts.start_time, facts.ends_at) == (30, NOON, None)
    assert (facts.last_run_at, facts.changed_at) == (row.last_run_at, row.date_changed)


def test_a_row_without_options_catches_up_once() -> None:
    row = an_interval(expires=NOON)
    assert (ticks.facts_of(row).catch_up, ticks.facts_of(row).ends_at) == ("once", NOON)


@pytest.mark.parametrize("kind", ["solar", "clocked", "crontab"])
def test_every_kind_of_row_is_known(kind: str) -> None:
    row = a_crontab()
    if kind != "crontab":
        made: Any = {
            "solar": lambda: SolarSchedule.objects.create(event="sunset", latitude=52.5, longitude=13.4),
            "clocked": lambda: ClockedSchedule.objects.create(clocked_time=NOON),
        }[kind]()
        PeriodicTask.objects.update(crontab=None, **{kind: made})
    assert ticks.facts_of(read(row)).kind == kind


@override_settings(USE_TZ=False, TIME_ZONE="America/New_York")
def test_naive_times_are_the_projects_but_the_last_run_which_is_utc() -> None:
    row = a_crontab()
    eight = NOON.replace(tzinfo=None, hour=8)
    PeriodicTask.objects.update(
        crontab=None,
        clocked=ClockedSchedule.objects.create(clocked_time=eight),
        last_run_at=eight,
        start_time=eight,
        expires=eight,
        date_changed=eight,
    )
    facts = ticks.facts_of(read(row))
    assert facts.last_run_at == datetime(2026, 7, 1, 8, tzinfo=UTC)
    assert facts.schedule.clocked_time == facts.start_time == facts.ends_at == facts.changed_at == NOON


@override_settings(USE_TZ=False, TIME_ZONE="America/New_York")
def test_a_tick_of_a_naive_project_is_taken_as_its_rows_have_it() -> None:
    tick = taken(an_interval(ran=None))
    assert (read(tick.periodic_task).last_run_at, Tick.objects.get().at) == (
        NOON.replace(tzinfo=None),
        NOON.replace(tzinfo=None, hour=8),
    )
    assert ticks.moment_of(Tick.objects.get()) == NOON


def test_rows_are_read_with_all_that_is_asked_of_them_in_one_query() -> None:
    an_interval(options={"notify_group": None})
    with CaptureQueriesContext(connection) as queries:
        (row,) = ticks.rows()
        ticks.facts_of(row)
        assert ticks.options_of(row).notify_group is None
    assert len(queries) == 1


# --- taking


def test_of_two_who_read_the_same_row_one_takes_the_tick() -> None:
    row = an_interval()
    same = read(row)
    assert taken(row).outcome == Tick.TAKEN
    assert take(same) is None
    assert Tick.objects.count() == 1


def test_a_row_that_never_ran_is_taken_once_too() -> None:
    row = an_interval(ran=None)
    same = read(row)
    taken(row)
    assert take(same, NOON + SOON) is None


def test_a_row_that_was_disabled_since_is_not_taken() -> None:
    row = an_interval()
    PeriodicTask.objects.update(enabled=False)
    assert take(row) is None
    assert not Tick.objects.exists()


def test_a_tick_that_is_taken_is_counted_and_changes_nothing_else_of_its_row() -> None:
    row = an_interval(total_run_count=4)
    PeriodicTask.objects.update(args="[3]", description="changed since it was read")
    before = PeriodicTask.objects.values().get()
    taken(row)
    after = PeriodicTask.objects.values().get()
    assert after == before | {"last_run_at": NOON, "total_run_count": 5}


@pytest.mark.parametrize("outcome", ["send", "missed"])
def test_a_clocked_row_is_over_once_its_moment_was_taken_or_missed(outcome: Any) -> None:
    row = an_interval(total_run_count=4)
    PeriodicTask.objects.update(interval=None, clocked=ClockedSchedule.objects.create(clocked_time=NOON))
    take(read(row), outcome=outcome)
    row = read(row)
    assert (row.enabled, row.total_run_count, row.last_run_at) == (False, 0, NOON)


def test_a_row_that_runs_once_waits_for_its_next_tick_where_one_was_missed() -> None:
    row = an_interval(one_off=True)
    take(row, outcome="missed")
    assert read(row).enabled
    taken(read(row), NOON + SOON)
    assert not read(row).enabled


def test_a_missed_tick_is_noted_and_is_nobodys_to_send() -> None:
    row = an_interval()
    tick = take(row, outcome="missed")
    assert tick is not None
    assert (tick.outcome, tick.taken_until, tick.result_id) == (Tick.MISSED, None, "")
    assert (read(row).last_run_at, read(row).total_run_count) == (NOON, 0)


def test_a_tick_that_its_row_has_forgotten_is_not_taken_again() -> None:
    row = an_interval()
    first = taken(row)
    PeriodicTask.objects.update(last_run_at=None)  # as django-celery-beat's admin disables and enables
    row = read(row)
    assert take(row) is None
    assert (Tick.objects.get().pk, read(row).last_run_at) == (first.pk, NOON)


def test_the_hour_that_comes_twice_has_its_ticks_twice() -> None:
    with override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin"):
        row = an_interval(ran=None)
        first = taken(row, datetime(2026, 10, 25, 0, 30, tzinfo=UTC))
        second = taken(read(row), datetime(2026, 10, 25, 1, 30, tzinfo=UTC))
        assert first.at == second.at
        assert Tick.objects.get().result_id == second.result_id


def test_of_a_tick_that_cannot_be_written_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    row = an_interval()

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(Tick, "save", fail)
    with pytest.raises(RuntimeError, match="no room"):
        take(row)
    assert read(row).last_run_at == row.last_run_at


# --- what was taken


def test_a_tick_is_anybodys_once_its_time_is_over() -> None:
    tick = taken(an_interval())
    now = datetime.now(UTC)
    assert ticks.abandoned(now) == []
    assert ticks.abandoned(now + SOON) == [tick]


def test_of_two_who_take_a_tick_over_one_has_it() -> None:
    taken(an_interval())
    one, other = Tick.objects.get(), Tick.objects.get()
    until = datetime.now(UTC) + 3 * SOON
    assert ticks.retake(one, until=until)
    assert not ticks.retake(other, until=until + SOON)


def test_who_lost_a_tick_changes_nothing_of_it() -> None:
    mine = taken(an_interval())
    theirs = Tick.objects.get()
    ticks.retake(theirs, until=datetime.now(UTC) + 3 * SOON)
    assert not ticks.finish(mine, Tick.REFUSED, "too late")
    assert not ticks.rename(mine)
    assert ticks.finish(theirs, Tick.SENT)
    tick = Tick.objects.get()
    assert (tick.outcome, tick.reason, tick.taken_until, tick.result_id) == (Tick.SENT, "", None, mine.result_id)
    assert tick.sent_at is not None


def test_a_tick_with_a_new_id_is_still_its_beats() -> None:
    tick = taken(an_interval())
    before = tick.result_id
    assert ticks.rename(tick)
    assert ticks.finish(tick, Tick.SENT)
    assert Tick.objects.get().result_id == tick.result_id != before


def test_a_row_that_is_over_is_disabled_unless_it_was_changed() -> None:
    row = an_interval(expires=ago(5))
    PeriodicTask.objects.update(expires=NOON)
    assert not ticks.disable(row)
    assert ticks.disable(read(row))
    assert (read(row).enabled, read(row).last_run_at) == (False, None)


# --- what waited for too long


LATE = timedelta(seconds=40)


def why_missed(tick: Tick, *, waited: float) -> str | None:
    row = read(tick.periodic_task)
    return ticks.why_missed(tick, row, NOON + timedelta(seconds=waited), late=LATE)


def test_a_tick_that_has_not_waited_for_long_is_sent_whatever_came_after_it() -> None:
    row = an_interval(options={"catch_up": "skip"})
    tick = taken(row)
    taken(read(row), NOON + SOON)
    assert why_missed(tick, waited=40) is None


def test_of_ticks_that_have_waited_for_long_the_newest_is_sent() -> None:
    row = an_interval()
    tick = taken(row)
    newest = taken(read(row), NOON + SOON)
    assert "for 60 s" in str(why_missed(tick, waited=60))
    assert why_missed(newest, waited=60) is None


def test_a_newer_tick_that_was_missed_takes_no_ones_place() -> None:
    row = an_interval()
    tick = taken(row)
    take(read(row), NOON + SOON, outcome="missed")
    assert why_missed(tick, waited=60) is None


def test_a_schedule_that_leaves_out_what_it_missed_leaves_out_the_newest_too() -> None:
    assert why_missed(taken(an_interval(options={"catch_up": "skip"})), waited=60) is not None


def test_a_tick_that_has_expired_is_not_sent() -> None:
    tick = taken(an_interval(expire_seconds=5))
    assert why_missed(tick, waited=4) is None
    assert "expired after 5 s" in str(why_missed(tick, waited=6))


def test_a_tick_that_stands_for_several_expires_with_the_last_of_them() -> None:
    tick = taken(an_interval(expire_seconds=5))
    PeriodicTask.objects.update(last_run_at=NOON + timedelta(seconds=3_600))
    assert why_missed(tick, waited=3_604) is None
    assert "expired after 5 s" in str(why_missed(tick, waited=3_606))


# --- tidying


def kept(row: Any, *, keep: int) -> list[int]:
    ticks.tidy(row.pk, keep=keep)
    return [(ticks.moment_of(tick) - NOON).seconds for tick in Tick.objects.order_by("at")]


def some_ticks(*outcomes: str) -> Any:
    row = an_interval(ran=None)
    for second, outcome in enumerate(outcomes):
        tick = taken(read(row), NOON + timedelta(seconds=second))
        if outcome != Tick.TAKEN:
            ticks.finish(tick, outcome)
    return row


def test_the_last_ticks_stay() -> None:
    assert kept(some_ticks(*["sent"] * 5), keep=3) == [2, 3, 4]


def test_fewer_ticks_than_are_kept_stay() -> None:
    assert kept(some_ticks("sent", "sent"), keep=3) == [0, 1]


def test_the_newest_that_was_sent_stays_and_what_is_to_be_sent() -> None:
    row = some_ticks("sent", "taken", "sent", "skipped", "skipped", "skipped")
    assert kept(row, keep=2) == [1, 2, 4, 5]


def test_ticks_of_other_schedules_stay() -> None:
    other = an_interval(name="Other")
    taken(other)
    row = some_ticks(*["sent"] * 3)
    ticks.tidy(row.pk, keep=1)
    assert Tick.objects.filter(periodic_task=other).count() == 1
