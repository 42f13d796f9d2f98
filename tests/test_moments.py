"""Times as they travel: the same moment there and back, whatever the zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from django.test import override_settings
from django.utils import timezone as django_timezone

from tasks_celery.moments import from_text, to_aware, to_text

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
