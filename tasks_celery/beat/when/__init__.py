"""Both. When a schedule ticks, as its author says it: made into one of the `kinds`, or refused. No row is read or written."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias, cast, get_args
from zoneinfo import ZoneInfo

from celery import schedules

from tasks_celery.beat.when import cron
from tasks_celery.beat.when.kinds import Clocked, Crontab, Every, Kind, Period, Solar, SolarEvent, When
from tasks_celery.beat.when.zones import zone_name
from tasks_celery.exceptions import ScheduleError
from tasks_celery.moments import to_aware

__all__ = [
    "Clocked",
    "Crontab",
    "Every",
    "Kind",
    "Period",
    "Solar",
    "SolarEvent",
    "When",
    "clocked",
    "crontab",
    "every",
    "moment_of",
    "solar",
    "when_of",
]

#: In microseconds; the largest first.
PERIODS: dict[Period, int] = {
    "days": 86_400_000_000,
    "hours": 3_600_000_000,
    "minutes": 60_000_000,
    "seconds": 1_000_000,
    "microseconds": 1,
}
#: What django-celery-beat's columns hold in every database.
MOST = 2**31 - 1
#: As far as a thousand years from now a datetime reaches in any case.
_LONGEST = timedelta(days=365_250)
_SIX_DECIMALS = Decimal("0.000001")


if TYPE_CHECKING:
    #: What `when_of` takes for one.
    SayWhen: TypeAlias = When | schedules.BaseSchedule | timedelta | float


def crontab(
    expression: str | None = None,
    *,
    minute: cron.Spec = "*",
    hour: cron.Spec = "*",
    day_of_month: cron.Spec = "*",
    month_of_year: cron.Spec = "*",
    day_of_week: cron.Spec = "*",
    timezone: str | ZoneInfo | None = None,
) -> Crontab:
    """Return the minutes that a crontab names: the classic five columns in one text, or Celery's keywords.

    What is left out is every one, as with Celery: ``crontab(hour=3)`` ticks at each minute from 3:00 to 3:59. `timezone` is a
    name such as "Europe/Berlin"; without one it is Celery's own (``CELERY_TIMEZONE``, else ``TIME_ZONE``). Raise ScheduleError
    for what would never tick, or what the form of the admin would refuse.
    """
    given: dict[str, cron.Spec] = {
        "minute": minute,
        "hour": hour,
        "day_of_month": day_of_month,
        "month_of_year": month_of_year,
        "day_of_week": day_of_week,
    }
    if expression is not None:
        given = _columns(expression, given)
    return Crontab(**cron.texts(given), timezone=zone_name(timezone))


def _columns(expression: object, given: dict[str, cron.Spec]) -> dict[str, cron.Spec]:
    if not isinstance(expression, str):
        raise TypeError(f"crontab({expression!r}): the five columns are one text, such as '0 3 * * *'.")
    if beside := [f"{name}={value!r}" for name, value in given.items() if value != "*"]:
        raise TypeError(
            f"crontab({expression!r}, {', '.join(beside)}): give the five columns or the keywords, not both."
        )
    return {**cron.columns(expression)}


def every(*, weeks: float = 0, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> Every:
    """Return each time that so much time has passed; the parts are added up.

    Raise ScheduleError for what is not longer than nothing, or no whole number of microseconds.
    """
    given = {"weeks": weeks, "days": days, "hours": hours, "minutes": minutes, "seconds": seconds}
    shown = ", ".join(f"{name}={value!r}" for name, value in given.items() if value != 0)
    total = sum((_exactly(name, value) * _MICROSECONDS_OF[name] for name, value in given.items()), Fraction(0))
    if total.denominator != 1:
        raise ScheduleError(f"every({shown}) is no whole number of microseconds; round it, as in round(seconds, 6).")
    return _interval(total.numerator, f"every({shown})")


_MICROSECONDS_OF: dict[str, int] = {
    "weeks": 7 * PERIODS["days"],
    **{str(period): size for period, size in PERIODS.items()},
}


def _exactly(name: str, value: object) -> Fraction:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"every({name}={value!r}): give a number, as in every({name}=5).")
    if isinstance(value, int):
        return Fraction(value)
    if not isfinite(value):
        raise ScheduleError(f"every({name}={value!r}) is no length of time; give a number, as in every({name}=5).")
    return Fraction(str(value))  # 0.1 is a tenth, and not the nearest number that a float holds


def _interval(microseconds: int, shown: str) -> Every:
    if microseconds <= 0:
        raise ScheduleError(f"{shown} is not longer than nothing; give a time above 0, as in every(minutes=5).")
    if microseconds > _LONGEST // timedelta(microseconds=1):
        raise ScheduleError(f"{shown} is longer than a thousand years; give a shorter time.")
    period = next(period for period, size in PERIODS.items() if microseconds % size == 0)
    if microseconds // PERIODS[period] > MOST:
        raise ScheduleError(f"{shown} is more {period} than a row holds ({MOST}); round it to a larger unit.")
    return Every(every=microseconds // PERIODS[period], period=period)


def solar(event: SolarEvent, latitude: float | Decimal, longitude: float | Decimal) -> Solar:
    """Return each time that the sun stands so (`event`), seen from a place in degrees, kept to six decimals.

    North and east are positive. The process of beat needs the package ephem for it (``pip install celery[solar]``). Raise
    ScheduleError for an event that Celery does not know, and degrees that no place has.
    """
    if event not in get_args(SolarEvent):
        raise ScheduleError(f"solar({event!r}): there is no such event. There are: {', '.join(get_args(SolarEvent))}.")
    return Solar(
        event=event, latitude=_degrees("latitude", latitude, 90), longitude=_degrees("longitude", longitude, 180)
    )


def _degrees(name: str, value: object, most: int) -> Decimal:
    if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
        raise TypeError(f"solar({name}={value!r}): give a number of degrees, as in {name}=52.52.")
    # A Decimal that is no number cannot even be compared; a float that is none is not within.
    if (isinstance(value, Decimal) and value.is_nan()) or not -most <= value <= most:
        raise ScheduleError(f"solar({name}={value!r}): the degrees of a {name} are -{most} to {most}.")
    return Decimal(str(value)).quantize(_SIX_DECIMALS) + 0  # + 0: there is no row with -0


def clocked(at: datetime) -> Clocked:
    """Return one moment: an aware datetime, or a naive one in the project's zone (``TIME_ZONE``)."""
    return Clocked(at=moment_of(at, "clocked(at)"))


def moment_of(value: object, what: str) -> datetime:
    """Return a moment in UTC. Raise TypeError or ScheduleError, which says `what` it is for, for what is none."""
    if not isinstance(value, datetime):
        raise TypeError(f"{what} is {value!r}; it has to be a datetime, such as timezone.now() + timedelta(hours=1).")
    try:
        return cast("datetime", to_aware(value)).astimezone(UTC)
    except OverflowError as error:
        raise ScheduleError(f"{what} is {value!r}, which lies too far off for a time; give a nearer one.") from error


def when_of(value: object) -> When:
    """Return `value` as one of the four kinds; it may also be a schedule of Celery's own, a timedelta, or seconds.

    Raise TypeError or ScheduleError for what is none, or cannot be.
    """
    match value:
        case Crontab() | Every() | Solar() | Clocked():
            return _again(value)
        case timedelta():
            return _interval(value // timedelta(microseconds=1), repr(value))
        case int() | float() if not isinstance(value, bool):
            return every(seconds=value)
        case schedules.BaseSchedule():
            return _of_celery(value)
    raise TypeError(
        f"A schedule cannot tick at {value!r}. Say when with crontab('0 3 * * *'), every(minutes=5), solar('sunset', 52.52, "
        "13.4) or clocked(moment); a timedelta, a number of seconds, and what celery.schedules has are fine too."
    )


def _again(value: When) -> When:
    """Return a value as the functions above make it, for anybody may make one by hand."""
    match value:
        case Crontab():
            return crontab(**asdict(value))
        case Every():
            return _interval(_microseconds(value), str(value))
        case Solar():
            return solar(cast("SolarEvent", value.event), value.latitude, value.longitude)
        case Clocked():
            return clocked(value.at)


def _microseconds(value: Every) -> int:
    if value.period not in PERIODS or not isinstance(value.every, int):
        raise ScheduleError(f"{value!r} is no interval; make it with every(minutes=5).")
    return value.every * PERIODS[value.period]


def _of_celery(value: Any) -> When:
    match value:
        case schedules.crontab():
            fields = {name: getattr(value, f"_orig_{name}") for name in cron.FIELDS}
            # The zone of Celery's own crontab is that of its app; django-celery-beat's subclass has one by itself.
            return crontab(**fields, timezone=None if type(value) is schedules.crontab else vars(value).get("tz"))
        case schedules.solar():
            return solar(value.event, value.lat, value.lon)
        case schedules.schedule() if not value.relative:
            return when_of(cast("Any", value).run_every)
    raise TypeError(
        f"A row of django-celery-beat's cannot hold {value!r}; of Celery's schedules it holds crontab, solar, and schedule "
        "without `relative`, which a crontab says better."
    )
