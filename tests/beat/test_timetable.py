"""Which schedule comes first, as moments are put off and schedules go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tasks_celery.beat.timetable import Timetable

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


def filled(**minutes: int) -> Timetable:
    times = Timetable()
    times.fill({key: at(minute) for key, minute in minutes.items()})
    return times


def test_nothing_comes_first_of_nothing() -> None:
    assert Timetable().first() is None


def test_the_earliest_comes_first() -> None:
    assert filled(b=2, a=1, c=3).first() == ("a", at(1))


def test_what_is_put_off_lets_the_next_go_first() -> None:
    times = filled(a=1, b=2)
    times.put("a", at(5))
    assert times.first() == ("b", at(2))
    times.put("b", at(6))
    assert times.first() == ("a", at(5))


def test_what_is_put_forward_goes_first() -> None:
    times = filled(a=1, b=2)
    times.put("b", at(0))
    assert times.first() == ("b", at(0))


def test_what_has_no_more_moments_is_gone() -> None:
    times = filled(a=1)
    times.put("a", None)
    assert (times.first(), len(times)) == (None, 0)


def test_filling_forgets_what_was_known() -> None:
    times = filled(a=1)
    times.fill({"b": at(2)})
    assert times.first() == ("b", at(2))
