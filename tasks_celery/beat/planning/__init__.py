"""Beat process. Which tick of a schedule is due, and when the next is: the same answer in every beat. Pure.

A schedule's ticks are fixed by its row: two beats that read the same row name the same tick, however far apart their clocks.
Times are compared and counted in UTC: between two times of one zone Python counts what its clock shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol, cast

from celery.schedules import BaseSchedule, crontab, solar

from tasks_celery.beat.declare import CatchUp
from tasks_celery.beat.options import GRACE
from tasks_celery.beat.planning import crontab_ticks, solar_ticks
from tasks_celery.beat.when import Kind

_INSTANT = datetime.resolution
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What of a schedule's row decides its ticks; all times are aware."""

    kind: Kind
    schedule: BaseSchedule
    last_run_at: datetime | None
    changed_at: datetime
    start_time: datetime | None = None
    ends_at: datetime | None = None
    expire_seconds: float | None = None
    catch_up: CatchUp = "once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A tick that is due: the moment it is for, what the row's `last_run_at` is to be, and whether it is sent or missed.

    A missed one stands for all that are as late; one that is sent late stands for all up to now.
    """

    at: datetime
    last_run_at: datetime
    outcome: Literal["send", "missed"] = "send"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The tick that is due now, if one is, and when to look again, once that is taken; None for never. All in UTC."""

    due: Due | None
    next_at: datetime | None
    is_over: bool = False


def plan(facts: Facts, now: datetime, *, grace: float = GRACE) -> Plan:
    """Return which tick of a schedule is due at `now`, and when to look again."""
    now, ends_at = _utc(now), _utc_or(facts.ends_at, _LAST)
    if now >= ends_at:
        return Plan(due=None, next_at=None, is_over=True)
    ticks = _TICKS[facts.kind](facts)
    due = _due(facts, ticks, now, timedelta(seconds=grace))
    next_at = _after(ticks, due.last_run_at if due else ticks.done)
    if facts.ends_at is not None:
        next_at = min(next_at or ends_at, ends_at)
    return Plan(due=due, next_at=next_at)


def _due(facts: Facts, ticks: _Ticks, now: datetime, grace: timedelta) -> Due | None:
    oldest = _after(ticks, ticks.done)
    if oldest is None or oldest > now:
        return None
    if oldest > now - grace:
        return Due(at=oldest, last_run_at=oldest)
    if facts.catch_up == "once" and not _too_late(facts, ticks, now):
        return Due(at=oldest, last_run_at=ticks.last_until(now))
    # Those within grace are not missed, and are left for the next look.
    return Due(at=oldest, last_run_at=ticks.last_until(now - grace), outcome="missed")


def _too_late(facts: Facts, ticks: _Ticks, now: datetime) -> bool:
    """Return whether even the newest tick is longer ago than a run may wait. Zero is no limit, as in django-celery-beat."""
    if not facts.expire_seconds:
        return False
    newest_expired = max(ticks.done, now - timedelta(seconds=facts.expire_seconds))
    alive = _after(ticks, newest_expired)
    return alive is None or alive > now


class _Ticks(Protocol):
    """The ticks of one row. All up to `done` are done with, or never were."""

    @property
    def done(self) -> datetime: ...

    def after(self, moment: datetime) -> datetime | None:
        """Return the first tick after a moment; None if there is none."""

    def last_until(self, moment: datetime) -> datetime:
        """Return what `last_run_at` is to be once all ticks up to a moment are done with."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """An interval's: at its anchor and every so often from there, however late each was sent."""

    done: datetime
    anchor: datetime
    every: timedelta

    def after(self, moment: datetime) -> datetime:
        return self.anchor if moment < self.anchor else self.last_until(moment) + self.every

    def last_until(self, moment: datetime) -> datetime:
        return self.anchor + (moment - self.anchor) // self.every * self.every


@dataclass(frozen=True, slots=True)
class _Found:
    """Those that are looked for, each from the one before."""

    done: datetime
    after: Callable[[datetime], datetime | None]

    def last_until(self, moment: datetime) -> datetime:
        return moment


def _interval(facts: Facts) -> _Grid:
    # A row that was written past the form's validators may say 0.
    every = max(cast(Any, facts.schedule).run_every, timedelta.resolution)
    ran_at, changed_at = _utc_or(facts.last_run_at, _FIRST), _utc(facts.changed_at)
    start = _utc_or(facts.start_time, _FIRST)
    if start > ran_at:
        return _Grid(max(start, changed_at) - _INSTANT, start, every)
    anchor = changed_at if facts.last_run_at is None else ran_at
    return _Grid(anchor, anchor, every)


def _crontab(facts: Facts) -> _Found:
    return _Found(_done(facts), lambda moment: crontab_ticks.next_tick(cast(crontab, facts.schedule), moment))


def _solar(facts: Facts) -> _Found:
    return _Found(_done(facts), lambda moment: solar_ticks.next_tick(cast(solar, facts.schedule), moment))


def _clocked(facts: Facts) -> _Found:
    at = max(_utc(cast(Any, facts.schedule).clocked_time), _utc_or(facts.start_time, _FIRST))
    return _Found(_utc_or(facts.last_run_at, _FIRST), lambda moment: at if moment < at else None)


_TICKS: dict[Kind, Callable[[Facts], _Ticks]] = {
    "interval": _interval,
    "crontab": _crontab,
    "solar": _solar,
    "clocked": _clocked,
}


def _done(facts: Facts) -> datetime:
    # Who gives a row other times leaves it without a last run: what they would have ticked before was not missed.
    done = _utc(facts.changed_at if facts.last_run_at is None else facts.last_run_at)
    return done if facts.start_time is None else max(done, _utc(facts.start_time) - _INSTANT)


def _after(ticks: _Ticks, moment: datetime) -> datetime | None:
    try:
        return ticks.after(moment)
    except OverflowError:  # The year 9999 is the last.
        return None


def _utc_or(moment: datetime | None, otherwise: datetime) -> datetime:
    return otherwise if moment is None else _utc(moment)


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # A person's "never", such as datetime.max in America.
        return _LAST if moment.year > 1 else _FIRST
