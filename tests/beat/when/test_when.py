"""When a schedule ticks, as values: what cannot be is refused with its cure, and what can be fits a row."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from celery import Celery, schedules
from celery.utils.time import LocalTimezone
from django.utils.timezone import override as activated
from django_celery_beat.models import (
    PERIOD_CHOICES,
    SOLAR_SCHEDULES,
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    SolarSchedule,
)
from django_celery_beat.tzcrontab import TzAwareCrontab

from tasks_celery.beat.when import (
    PERIODS,
    Clocked,
    Crontab,
    Every,
    Period,
    Solar,
    SolarEvent,
    clocked,
    crontab,
    every,
    solar,
    when_of,
    zones,
)
from tasks_celery.exceptions import ScheduleError

MODELS = {
    "crontab": CrontabSchedule,
    "interval": IntervalSchedule,
    "solar": SolarSchedule,
    "clocked": ClockedSchedule,
}
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def celerys_zone(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the project's Celery app another configuration."""

    def configured(**conf: Any) -> None:
        app = Celery("zoned", set_as_current=False)
        app.conf.update(conf)
        monkeypatch.setattr(zones, "find_app", lambda: app)

    return configured


# --- refusals: crontab ---------------------------------------------------------------------------


@pytest.mark.parametrize("expression", [5, ("0", "3", "*", "*", "*"), b"0 3 * * *", timedelta(days=1)])
def test_columns_that_are_no_text_are_refused(expression: Any) -> None:
    with pytest.raises(TypeError, match="one text, such as '0 3"):
        crontab(expression)


def test_columns_and_keywords_together_are_refused_with_the_keywords_named() -> None:
    with pytest.raises(TypeError, match=r"crontab\('0 3 \* \* \*', hour=4, day_of_week='mon'\): .* not both"):
        crontab("0 3 * * *", hour=4, day_of_week="mon")


@pytest.mark.parametrize(
    ("zone", "cure"),
    [
        ("Europe/Berln", "'Europe/Berlin'"),
        ("europe/berlin", "'Europe/Berlin'"),  # where file names know no case, ZoneInfo takes it
        ("", "'Europe/Berlin'"),
        ("../etc/passwd", "names are such as"),
        ("Factory", "names are such as"),
        ("localtime", "names are such as"),
        ("+02:00", "names are such as"),
    ],
)
def test_an_unknown_zone_is_refused_with_one_that_is_like_it(zone: str, cure: str) -> None:
    with pytest.raises(ScheduleError, match="there is no such time zone") as caught:
        crontab("0 3 * * *", timezone=zone)
    assert f"timezone={zone!r}" in str(caught.value)
    assert cure in str(caught.value)


@pytest.mark.parametrize("zone", [7, timezone(timedelta(hours=2)), timedelta(hours=2), b"UTC"])
def test_a_zone_without_a_name_is_refused(zone: Any) -> None:
    with pytest.raises(TypeError, match="the name of a zone, such as 'Europe/Berlin'"):
        crontab("0 3 * * *", timezone=zone)


def test_a_row_without_a_zone_is_refused_where_celerys_own_is_the_machines(celerys_zone: Any) -> None:
    celerys_zone(timezone=LocalTimezone())
    with pytest.raises(ScheduleError, match="no name to keep in a row: set CELERY_TIMEZONE"):
        crontab("0 3 * * *").fields()


# --- refusals: the others ------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{}, {"seconds": 0}, {"minutes": -5}, {"hours": 1, "minutes": -60}, {"days": -0.5}])
def test_an_interval_that_is_not_longer_than_nothing_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ScheduleError, match=r"^every\(.*\) is not longer than nothing; give a time above 0"):
        every(**given)


@pytest.mark.parametrize("given", [{"seconds": 1 / 3}, {"seconds": 0.0000001}, {"weeks": 1e-15}])
def test_an_interval_of_no_whole_microseconds_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ScheduleError, match="no whole number of microseconds; round it"):
        every(**given)


@pytest.mark.parametrize("value", ["5", None, True, Decimal(5), timedelta(1), [5]])
def test_a_length_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"every\(minutes=.*give a number, as in every\(minutes=5\)"):
        every(minutes=value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_length_without_an_end_is_refused(value: float) -> None:
    with pytest.raises(ScheduleError, match="no length of time"):
        every(hours=value)


@pytest.mark.parametrize(
    "given", [{"days": 365_251}, {"seconds": 10**400}, {"weeks": 1e300}, {"minutes": 2**31 * 1_000}]
)
def test_an_interval_longer_than_a_thousand_years_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ScheduleError, match="longer than a thousand years"):
        every(**given)


@pytest.mark.parametrize("given", [{"hours": 1, "seconds": 0.000001}, {"days": 36_500, "seconds": 1}])
def test_more_periods_than_a_row_holds_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ScheduleError, match=r"more (micro)?seconds than a row holds \(2147483647\); round it"):
        every(**given)


@pytest.mark.parametrize("event", ["", "noon", "Sunset", None, 7])
def test_an_event_that_celery_does_not_know_is_refused_with_those_it_knows(event: Any) -> None:
    with pytest.raises(ScheduleError, match=r"solar\(.*dawn_astronomical, .*dusk_astronomical"):
        solar(event, 52.5, 13.4)


@pytest.mark.parametrize(
    ("latitude", "longitude", "named"),
    [
        (90.000001, 0, "latitude=90.000001): the degrees of a latitude are -90 to 90"),
        (-91, 0, "latitude=-91)"),
        (0, 180.5, "longitude=180.5): the degrees of a longitude are -180 to 180"),
        (0, Decimal(-181), "longitude=Decimal('-181'))"),
        (float("nan"), 0, "latitude=nan)"),
        (Decimal("nan"), 0, "latitude=Decimal('NaN'))"),
        (0, float("inf"), "longitude=inf)"),
        (10**400, 0, "degrees of a latitude"),
    ],
)
def test_degrees_that_no_place_has_are_refused(latitude: Any, longitude: Any, named: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        solar("sunset", latitude, longitude)
    assert named in str(caught.value)


@pytest.mark.parametrize("value", ["52.5", None, True, [52.5], 1j])
def test_degrees_that_are_no_number_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"solar\(latitude=.*a number of degrees"):
        solar("sunset", value, 13.4)


@pytest.mark.parametrize("at", [None, "2026-12-24", date(2026, 12, 24), time(18), timedelta(hours=1), 1_800_000_000])
def test_a_moment_that_is_none_is_refused(at: Any) -> None:
    with pytest.raises(TypeError, match=r"clocked\(at\) is .*has to be a datetime"):
        clocked(at)


@pytest.mark.parametrize(
    "at", [datetime.max.replace(tzinfo=ZoneInfo("America/Lima")), datetime.min.replace(tzinfo=BERLIN)]
)
def test_a_moment_that_is_none_in_utc_is_refused(at: datetime) -> None:
    with pytest.raises(ScheduleError, match="too far off"):
        clocked(at)


# --- refusals: anything as a time ----------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [None, True, "0 3 * * *", datetime(2026, 1, 1, tzinfo=UTC), ("0", "3"), crontab, {}, 1j]
)
def test_what_says_no_time_is_refused_with_what_does(value: Any) -> None:
    with pytest.raises(TypeError, match=r"cannot tick at .*crontab\('0 3 \* \* \*'\), every\(minutes=5\)"):
        when_of(value)


@pytest.mark.parametrize(
    "value", [0, -5, 0.0, timedelta(0), timedelta(-1), timedelta(days=366_000), 1e-7, float("nan")]
)
def test_seconds_and_timedeltas_are_held_to_what_an_interval_is(value: Any) -> None:
    with pytest.raises(ScheduleError):
        when_of(value)


class Odd(schedules.BaseSchedule):
    """A schedule of somebody's own."""


@pytest.mark.parametrize("value", [schedules.schedule(30.0, relative=True), Odd()])
def test_a_schedule_of_celerys_that_no_row_can_hold_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="A row of django-celery-beat's cannot hold"):
        when_of(value)


@pytest.mark.parametrize(
    "value",
    [
        Crontab(minute="61"),
        Crontab(day_of_month="31", month_of_year="2"),
        Crontab(timezone="Nowhere"),
        Every(every=0, period="minutes"),
        Every(every=1, period="weeks"),  # type: ignore[arg-type]
        Every(every=1.5, period="days"),  # type: ignore[arg-type]
        Solar(event="noon", latitude=Decimal(0), longitude=Decimal(0)),
        Solar(event="sunset", latitude=Decimal(91), longitude=Decimal(0)),
    ],
)
def test_a_value_made_by_hand_is_held_to_the_same(value: Any) -> None:
    with pytest.raises(ScheduleError):
        when_of(value)


# --- what works ----------------------------------------------------------------------------------


def test_five_columns_and_the_keywords_of_celery_say_the_same() -> None:
    assert crontab("0,30 3 1-7 jan MON") == crontab(
        minute=[30, 0], hour=3, day_of_month="1-7", month_of_year="jan", day_of_week="mon"
    )
    assert crontab() == crontab("* * * * *") == Crontab()
    assert crontab(hour=3).minute == "*"


@pytest.mark.parametrize("zone", ["Europe/Berlin", BERLIN])
def test_a_zone_is_kept_by_its_name(zone: Any) -> None:
    assert crontab("0 3 * * *", timezone=zone).timezone == "Europe/Berlin"
    assert crontab("0 3 * * *", timezone=UTC).timezone == "UTC"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("conf", "zone"),
    [
        ({}, "UTC"),
        ({"timezone": "Asia/Tokyo"}, "Asia/Tokyo"),
        ({"timezone": "Asia/Tokyo", "enable_utc": False}, "Asia/Tokyo"),
    ],
)
def test_without_a_zone_the_row_has_that_of_celery_when_it_is_written(
    celerys_zone: Any, conf: dict[str, Any], zone: str
) -> None:
    found = crontab("0 3 * * *")
    celerys_zone(**conf)
    assert found.timezone is None
    assert found.fields()["timezone"] == ZoneInfo(zone)


def test_celerys_own_zone_is_that_of_django_where_celery_is_told_none() -> None:
    from django.conf import settings

    assert crontab("0 3 * * *").fields()["timezone"] == ZoneInfo(settings.TIME_ZONE)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"minutes": 5}, (5, "minutes")),
        ({"minutes": 60}, (1, "hours")),
        ({"minutes": 90}, (90, "minutes")),
        ({"weeks": 2}, (14, "days")),
        ({"hours": 24}, (1, "days")),
        ({"days": 1, "hours": 12}, (36, "hours")),
        ({"minutes": 1.5}, (90, "seconds")),
        ({"hours": 1, "minutes": -30}, (30, "minutes")),
        ({"seconds": 0.1}, (100_000, "microseconds")),
        ({"seconds": 2147.483647}, (2**31 - 1, "microseconds")),
        ({"seconds": 0.000001}, (1, "microseconds")),
        ({"days": 365_250}, (365_250, "days")),
    ],
)
def test_an_interval_is_kept_in_the_largest_period_that_divides_it(
    given: dict[str, Any], kept: tuple[int, Period]
) -> None:
    found = every(**given)
    assert (found.every, found.period) == kept
    assert timedelta(**{found.period: found.every}) == timedelta(**given)


def test_the_periods_and_the_events_are_those_of_the_rows() -> None:
    assert set(PERIODS) == set(get_args(Period)) == {period for period, _ in PERIOD_CHOICES}
    assert set(get_args(SolarEvent)) == schedules.solar._all_events == {event for event, _ in SOLAR_SCHEDULES}


def test_degrees_are_kept_to_six_decimals() -> None:
    found = solar("sunrise", 52.5200004, Decimal("-13.4049996"))
    assert (str(found.latitude), str(found.longitude)) == ("52.520000", "-13.405000")
    assert str(solar("sunrise", -0.0000001, -180).latitude) == "0.000000"
    assert solar("sunrise", 90, 180) == solar("sunrise", 90.0, Decimal(180))


def test_a_moment_is_the_same_one_in_each_zone() -> None:
    at = clocked(datetime(2026, 12, 24, 18, tzinfo=BERLIN))
    assert at == clocked(datetime(2026, 12, 24, 17, tzinfo=UTC))
    assert at.at.tzinfo is UTC


@pytest.mark.parametrize("use_tz", [True, False])
def test_a_naive_moment_is_in_the_projects_zone_whichever_is_active(settings: Any, use_tz: bool) -> None:
    settings.TIME_ZONE, settings.USE_TZ = "Europe/Berlin", use_tz
    naive = datetime(2026, 12, 24, 18)  # noqa: DTZ001
    with activated("Asia/Tokyo"):
        found = clocked(naive)
        assert found.at == datetime(2026, 12, 24, 17, tzinfo=UTC)
        assert found.fields() == {"clocked_time": found.at if use_tz else naive}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (crontab("0 3 * * *", timezone="Europe/Berlin"), "crontab 0 3 * * * Europe/Berlin"),
        (crontab("0 3 1 2 mon"), "crontab 0 3 1 2 mon"),
        (every(minutes=5), "every 5 minutes"),
        (every(hours=1), "every hour"),
        (solar("sunset", 52.52, 13.4), "solar sunset 52.520000 13.400000"),
        (clocked(datetime(2026, 12, 24, 18, tzinfo=BERLIN)), "clocked 2026-12-24T17:00:00+00:00"),
    ],
)
def test_each_says_itself_in_one_line_is_itself_again_and_can_be_a_key(value: Any, text: str) -> None:
    assert str(value) == text
    assert when_of(value) == value
    assert pickle.loads(pickle.dumps(value)) == value
    assert {value: 1}[value] == 1


@pytest.mark.parametrize(
    "value",
    [
        crontab("*/5 0-6 1,15 jan-mar/2 mon-fri", timezone="America/Sao_Paulo"),
        every(seconds=0.5),
        every(weeks=52),
        solar("dusk_nautical", -90, 180),
        clocked(datetime(2026, 12, 24, 18, tzinfo=BERLIN)),
    ],
)
def test_the_fields_make_a_row_that_the_form_of_the_admin_takes(value: Any) -> None:
    row = MODELS[value.kind](**value.fields())
    row.full_clean(validate_unique=False, validate_constraints=False)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (schedules.crontab(minute=0, hour={3, 4}, day_of_week="mon"), crontab("0 3,4 * * mon")),
        (schedules.crontab(), crontab("* * * * *")),
        (TzAwareCrontab(minute="0", hour="3", tz=BERLIN), crontab("0 3 * * *", timezone="Europe/Berlin")),
        (schedules.schedule(30.0), every(seconds=30)),
        (schedules.schedule(timedelta(days=1)), every(days=1)),
        (timedelta(minutes=90), every(minutes=90)),
        (300, every(minutes=5)),
        (0.25, every(seconds=0.25)),
        (Every(every=60, period="seconds"), every(minutes=1)),
        (Solar(event="sunset", latitude=Decimal("1.5"), longitude=Decimal(0)), solar("sunset", 1.5, 0)),
        (Clocked(at=datetime(2026, 1, 1, tzinfo=BERLIN)), clocked(datetime(2026, 1, 1, tzinfo=BERLIN))),
        (Crontab(minute="0", day_of_week="MON"), crontab("0 * * * mon")),
    ],
)
def test_what_a_beat_schedule_of_celerys_has_is_taken_over(value: Any, found: Any) -> None:
    assert when_of(value) == found


def test_the_zone_that_celerys_crontab_takes_from_its_app_is_not_taken_for_its_own() -> None:
    theirs = schedules.crontab(hour=3, app=Celery("tokyo", set_as_current=False))
    assert theirs.tz
    found = when_of(theirs)
    assert isinstance(found, Crontab)
    assert found.timezone is None


def test_a_solar_schedule_of_celerys_is_taken_over() -> None:
    theirs = object.__new__(schedules.solar)  # it is made with ephem only, which need not be there
    theirs.event, theirs.lat, theirs.lon = "sunset", 52.52, 13.4  # type: ignore[attr-defined]
    assert when_of(theirs) == solar("sunset", 52.52, 13.4)
