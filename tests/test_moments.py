"""Times as they travel: the same moment there and back, whatever the zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from django.test import override_settings
from django.utils import timezone as django_timezone

from tasks_celery.moments import due_at, from_text, to_aware, to_text

ZONES = ["UTC", "America/Los_Angeles", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Kiritimati"]


@pytest.mark.parametrize("text", [None, ""])
def test_nothing_is_no_moment(text: str | None) -> None:
    assert from_text(text) is None
    assert to_text(None) is None
    assert to_aware(None) is None


def test_the_text_is_utc_to_the_microsecond() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=-8)))
    assert to_text(moment) == "2026-01-02T11:04:05.000006+00:00"


@pytest.mark.parametrize("zone", ZONES)
def test_a_naive_time_is_local_and_not_utc(zone: str) -> None:  # contract 41
    with override_settings(USE_TZ=False, TIME_ZONE=zone):
        naive = datetime(2026, 7, 1, 12, 0, 0, 1)  # noqa: DTZ001
        assert to_aware(naive) == naive.replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize("zone", ZONES)
def test_now_comes_back_naive_without_use_tz(zone: str) -> None:  # contract 43
    with override_settings(USE_TZ=False, TIME_ZONE=zone):
        now = django_timezone.now()
        assert from_text(to_text(now)) == now
        assert django_timezone.is_naive(now)
        assert abs((datetime.fromisoformat(to_text(now) or "") - datetime.now(UTC)).total_seconds()) < 60


@pytest.mark.parametrize("zone", ZONES)
def test_now_comes_back_aware_with_use_tz(zone: str) -> None:  # contract 43
    with override_settings(USE_TZ=True, TIME_ZONE=zone):
        now = django_timezone.now()
        read = from_text(to_text(now))
        assert read == now
        assert read is not None
        assert django_timezone.is_aware(read)


@pytest.mark.parametrize("hour", range(24))
def test_every_hour_of_the_day_the_clocks_change_comes_back(hour: int) -> None:
    with override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin"):
        for day in (datetime(2026, 3, 29, hour, 30), datetime(2026, 10, 25, hour, 30)):  # noqa: DTZ001
            if not (day.month == 3 and hour == 2):  # a time that does not exist
                assert from_text(to_text(day)) == day


@pytest.mark.parametrize("fold", [0, 1])
def test_the_hour_that_comes_twice_is_kept_apart(fold: int) -> None:
    moment = datetime(2026, 10, 25, 2, 30, fold=fold, tzinfo=ZoneInfo("Europe/Berlin"))
    read = from_text(to_text(moment))
    assert read is not None
    assert read.astimezone(UTC) == moment.astimezone(UTC)


def test_a_zone_activated_for_one_request_does_not_move_a_stored_time() -> None:
    # Only one request's zone: the worker that reads the time knows nothing of it.
    with override_settings(USE_TZ=False, TIME_ZONE="UTC"):
        naive = datetime(2026, 7, 1, 12)  # noqa: DTZ001
        with django_timezone.override("Asia/Kathmandu"):
            text = to_text(naive)
        assert from_text(text) == naive


# --- run_after

BERLIN = override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin")


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("run_after", [timedelta.max, timedelta(days=-999_999_999)])
def test_a_span_beyond_all_times_is_a_value_error(use_tz: bool, run_after: timedelta) -> None:
    with override_settings(USE_TZ=use_tz), pytest.raises(ValueError, match="lies too far off"):
        due_at(run_after)


def test_a_time_that_has_no_utc_is_a_value_error() -> None:
    last = datetime.max.replace(tzinfo=timezone(timedelta(hours=-8)))
    with pytest.raises(ValueError, match="too far off"):
        due_at(last)


def test_no_run_after_is_none() -> None:
    assert due_at(None) is None


@pytest.mark.parametrize("zone", ZONES)
def test_a_naive_run_after_is_local_and_not_utc(zone: str) -> None:  # contract 41
    with override_settings(USE_TZ=False, TIME_ZONE=zone):
        noon = datetime(2026, 7, 1, 12)  # noqa: DTZ001
        assert due_at(noon) == noon
        assert to_aware(due_at(noon)) == noon.replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("zone", ZONES)
def test_an_aware_run_after_is_the_same_moment_as_the_project_has_its_times(zone: str, use_tz: bool) -> None:
    moment = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Asia/Kathmandu"))
    with override_settings(USE_TZ=use_tz, TIME_ZONE=zone):
        due = due_at(moment)
        assert due is not None
        assert django_timezone.is_aware(due) is use_tz
        assert to_aware(due) == moment


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("span", [timedelta(seconds=45), timedelta(days=400), timedelta(0), timedelta(hours=-1)])
def test_a_timedelta_counts_from_now(span: timedelta, use_tz: bool) -> None:
    with override_settings(USE_TZ=use_tz, TIME_ZONE="America/Los_Angeles"):
        before, due, after = datetime.now(UTC), due_at(span), datetime.now(UTC)
        assert due is not None
        assert django_timezone.is_aware(due) is use_tz
        aware = to_aware(due)
        assert aware is not None
        assert before + span <= aware <= after + span


def test_a_past_run_after_stays_what_it_is() -> None:
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    assert due_at(long_ago) == long_ago


@BERLIN
def test_a_time_that_the_clocks_leave_out_lies_after_the_gap() -> None:
    gap = datetime(2026, 3, 29, 2, 30)  # noqa: DTZ001
    assert due_at(gap) == datetime(2026, 3, 29, 3, 30)  # noqa: DTZ001
    assert from_text(to_text(gap)) == due_at(gap)


@BERLIN
def test_a_time_that_comes_twice_is_the_first_unless_it_says_otherwise() -> None:
    twice = datetime(2026, 10, 25, 2, 30)  # noqa: DTZ001
    first, second = due_at(twice), due_at(twice.replace(fold=1))
    assert to_text(first) == "2026-10-25T00:30:00+00:00"
    assert to_text(second) == "2026-10-25T01:30:00+00:00"


@BERLIN
def test_a_span_over_a_change_of_the_clocks_is_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnTheEve(datetime):
        @classmethod
        def now(cls, tz: object = None) -> OnTheEve:
            return cls(2026, 10, 24, 12, tzinfo=UTC)

    monkeypatch.setattr("tasks_celery.moments.datetime", OnTheEve)
    due = due_at(timedelta(days=1))
    assert to_text(due) == "2026-10-25T12:00:00+00:00"
    assert due == datetime(2026, 10, 25, 13)  # noqa: DTZ001  the clock of Berlin said 14 when it was asked
