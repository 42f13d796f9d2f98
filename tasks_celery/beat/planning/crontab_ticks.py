"""Beat process. The next tick of a crontab, in the zone it is written for. Pure.

What the five fields mean is Celery's: its parsed sets are read, and day of month, month and day of week must all agree. When
they tick is counted here. Celery documents nothing about the days on which the clocks change; its beat (5.5 to 5.7)
runs a daily 02:30 once on each, and so it is here:

- A time that the clocks leave out is as far behind the change as it says: 02:30 is 03:30.
- A time that comes twice ticks the first time. Celery leaves the second to nobody (celery/celery#10107): an hourly crontab
  has a hole of an hour there. A crontab that ticks in the hours before and behind as well goes on ticking instead.
"""

from __future__ import annotations

from bisect import bisect
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

from celery.schedules import crontab

_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
#: A 29 February that is a Sunday may be 40 years off, where a year such as 2100 has none.
_YEARS = 41


def next_tick(schedule: crontab, after: datetime) -> datetime | None:
    """Return the first tick of a crontab after an aware moment, in UTC; None if it never ticks again."""
    fields = _fields(schedule)
    moment: datetime | None = after.astimezone(UTC).replace(second=0, microsecond=0) + _MINUTE
    while moment is not None and not fields.tick_at(moment):
        moment = fields.skip_from(moment)
    return moment


def _fields(schedule: Any) -> _Fields:
    return _Fields(
        minutes=tuple(sorted(schedule.minute)),
        hours=tuple(sorted(schedule.hour)),
        days=tuple(sorted(schedule.day_of_month)),
        months=tuple(sorted(schedule.month_of_year)),
        weekdays=frozenset(schedule.day_of_week),
        zone=schedule.tz,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fields:
    """A crontab's sets of numbers, sorted. A `wall` is a naive time, as a clock in its zone shows it."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: frozenset[int]
    zone: tzinfo

    def tick_at(self, moment: datetime) -> bool:
        """Return whether a minute in UTC is a tick."""
        local = moment.astimezone(self.zone)
        if self._names(local) and (not local.fold or self._goes_on(local.hour)):
            return True
        left_out = self._left_out(moment)
        return left_out is not None and self._names(left_out)

    def skip_from(self, moment: datetime) -> datetime | None:
        """Return a later minute with no tick between it and `moment`, which is none; None if none follows at all."""
        if self._left_out(moment) is not None:
            return moment + _MINUTE
        local = moment.astimezone(self.zone)
        if (wall := self._next_wall(local.replace(tzinfo=None, fold=0))) is None:
            return None
        # Within the hour that comes twice the next one is in the same pass.
        tick = wall.replace(tzinfo=self.zone, fold=local.fold).astimezone(UTC)
        if tick - moment <= 4 * _DAY:
            if self._same_clock(moment, tick):
                return tick
        elif self._same_clock(moment, moment + 2 * _DAY):
            # A change of the clocks on the way moves no tick, unless it is near to one of its ends.
            return tick - 2 * _DAY
        # The clocks change on the way: the change itself may bring a tick that no wall ahead says.
        return self._change_after(moment)

    def _change_after(self, moment: datetime) -> datetime:
        """Return the minute in which the clocks have changed, at most a day ahead: they do not change twice in one."""
        found = bisect(
            range(1, 24 * 60), False, key=lambda count: not self._same_clock(moment, moment + count * _MINUTE)
        )
        return moment + (found + 1) * _MINUTE

    def _names(self, wall: datetime) -> bool:
        return wall.minute in self.minutes and wall.hour in self.hours and self._has(wall)

    def _has(self, day: date) -> bool:
        return day.month in self.months and day.day in self.days and day.isoweekday() % 7 in self.weekdays

    def _goes_on(self, hour: int) -> bool:
        return {(hour - 1) % 24, (hour + 1) % 24} <= set(self.hours)

    def _left_out(self, moment: datetime) -> datetime | None:
        """Return the wall that was left out and is made up for at `moment`: what a clock that was not put forward shows."""
        before = (moment - _DAY).astimezone(self.zone).utcoffset() or timedelta()
        gap = (moment.astimezone(self.zone).utcoffset() or timedelta()) - before
        if gap <= timedelta() or not self._same_clock(moment - gap, moment - _DAY):
            return None
        return (moment + before).replace(tzinfo=None)

    def _same_clock(self, one: datetime, other: datetime) -> bool:
        return one.astimezone(self.zone).utcoffset() == other.astimezone(self.zone).utcoffset()

    def _next_wall(self, wall: datetime) -> datetime | None:
        if self._has(wall):
            if wall.hour in self.hours and (minute := _first_above(self.minutes, wall.minute)) is not None:
                return wall.replace(minute=minute)
            if (hour := _first_above(self.hours, wall.hour)) is not None:
                return wall.replace(hour=hour, minute=self.minutes[0])
        day = self._next_day(wall.date())
        return datetime.combine(day, time(self.hours[0], self.minutes[0])) if day else None

    def _next_day(self, after: date) -> date | None:
        for year in range(after.year, min(after.year + _YEARS, date.max.year)):
            for month in self.months:
                if (year, month) >= (after.year, after.month) and (day := self._next_in(year, month, after)):
                    return day
        return None

    def _next_in(self, year: int, month: int, after: date) -> date | None:
        last = monthrange(year, month)[1]
        in_month = (date(year, month, day) for day in self.days if day <= last)
        return next((day for day in in_month if day > after and day.isoweekday() % 7 in self.weekdays), None)


def _first_above(numbers: tuple[int, ...], number: int) -> int | None:
    return next((found for found in numbers if found > number), None)
