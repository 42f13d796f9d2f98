"""Beat process. The next tick of a solar schedule. Pure.

Celery's own estimate goes from the last run: counted from elsewhere, the same sunset lies up to a tenth of a second off, and
before 5.7 it raises TypeError in the polar night. Here each is counted from the beginning of its day in UTC, to the whole
second behind it, so that all beats name the same.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any

from celery.schedules import solar

#: What has not come within a year does not come: the sun's year is over.
_DAYS = 367
_SECOND, _MINUTE, _HOUR, _DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def next_tick(schedule: solar, after: datetime) -> datetime | None:
    """Return the first tick after an aware moment, in UTC; None if there is none within a year, as at the poles."""
    after = after.astimezone(UTC)
    days = (after.date() + count * _DAY for count in range(_DAYS))
    ticks = (tick for day in days for tick in _ticks_of(schedule.event, float(schedule.lat), float(schedule.lon), day))
    return next((tick for tick in ticks if tick > after), None)


@lru_cache(maxsize=4096)
def _ticks_of(event: Any, latitude: float, longitude: float, day: date) -> tuple[datetime, ...]:
    """Return the ticks of one day in UTC: one, or none, or two where an event comes earlier each day."""
    schedule: Any = solar(event, latitude, longitude)
    start = datetime.combine(day, time(), UTC)
    end = start + _DAY
    ticks = []
    while start < end:
        moment = _event_after(schedule, start)
        if moment is None:
            start = _next_antitransit(schedule, start)
        elif (start := moment + _HOUR) < end + _HOUR:
            ticks.append(_whole_second(moment))
    return tuple(ticks)


def _event_after(schedule: Any, start: datetime) -> datetime | None:
    """Return the event that follows; None where the sun does not come so low or so high that day."""
    # What the event is (which search, how high the sun stands, which edge of it) is Celery's to say.
    search = getattr(schedule.cal, schedule.method)
    keywords = {"use_center": True} if schedule.use_center else {}
    try:
        found = search(schedule.ephem.Sun(), start=schedule.ephem.Date(start), **keywords)
    except schedule.ephem.CircumpolarError:
        return None
    return _in_utc(found)


def _next_antitransit(schedule: Any, start: datetime) -> datetime:
    """Return the middle of the night that follows, and a minute more, so that the next search goes on from there."""
    found = schedule.cal.next_antitransit(schedule.ephem.Sun(), start=schedule.ephem.Date(start))
    return _in_utc(found) + _MINUTE


def _in_utc(found: Any) -> datetime:
    moment: datetime = found.datetime()
    return moment.replace(tzinfo=UTC)


def _whole_second(moment: datetime) -> datetime:
    return (moment + _SECOND - datetime.resolution).replace(microsecond=0)
