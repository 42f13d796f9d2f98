"""Beat process. Celery's scheduler over the rows of django-celery-beat, of which any number may run: each tick is one's alone.

There is no leader. `tick` looks at the schedule whose moment comes first, reads its row, asks `planning`, takes the tick
(`ticks`) and sends it (`sending`). Every other second it looks whether a row was changed, and for ticks that another beat took and
did not send.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import DataError, IntegrityError, close_old_connections, connections
from django.db import Error as DatabaseError
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler as TheirScheduler
from django_celery_beat.schedulers import ModelEntry as TheirEntry

from tasks_celery.beat import sending, ticks
from tasks_celery.beat.models import Tick
from tasks_celery.beat.options import schedule_settings
from tasks_celery.beat.planning import Facts, Plan, plan
from tasks_celery.beat.timetable import Timetable
from tasks_celery.exceptions import ScheduleError

logger = logging.getLogger("tasks_celery")

#: Every so many seconds a beat looks for changed rows and for ticks that nobody has sent.
LOOK_EVERY = 2.0

#: After so many seconds all rows are read anew, changed or not.
READ_EVERY = 300.0

#: Every so many seconds old ticks are removed, and the connection to the database is given up if it is too old.
TIDY_EVERY = 60.0

#: For so many seconds a beat waits that finds its database away.
AWAY = 1.0

#: A beat that another was faster than looks again after so many seconds.
LOST = 0.02

#: A tick that could not be sent is tried again after a part of the time it has waited: between so many seconds.
AGAIN = (2.0, 60.0)

#: A broker that took longer than this to refuse a message is left alone for as long as a tick waits at least.
SLOW = 1.0


def now() -> datetime:
    """Return the time by the clock that schedules tick by."""
    return datetime.now(UTC)


class Entry(TheirEntry):  # type: ignore[misc]
    """A row as Celery's entry, for whoever looks at the schedule; nothing is written by way of it but new rows."""

    @classmethod
    def from_entry(cls, name: str, app: Any = None, **entry: Any) -> Any:
        """Make a row be what CELERY_BEAT_SCHEDULE says; one that is so already is left alone.

        Theirs notes a change at each start: ticks that were missed while no beat ran would count as before it.
        """
        fields = cls._unpack_fields(**entry)
        row = PeriodicTask.objects.filter(name=name).first()
        if row is not None and all(getattr(row, field) == value for field, value in fields.items()):
            return cls(row, app=app)
        return super().from_entry(name, app=app, **entry)

    def _disable(self, model: Any) -> None:
        """Leave a row that cannot be read as it is: it does not tick, and the log says why."""


class DatabaseScheduler(TheirScheduler):  # type: ignore[misc]
    """django-celery-beat's scheduler, of which several may run: ``"tasks_celery.beat.scheduler:DatabaseScheduler"``."""

    Entry = Entry

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._options = schedule_settings()
        self._times = Timetable()
        self._unread: dict[Any, str] = {}
        self._touched: set[Any] = set()
        self._changed_at: datetime | None = None
        self._read_at = self._looked_at = self._tidied_at = self._broker_away_until = float("-inf")
        self._is_away = False
        self._is_set_up = True
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Make rows of CELERY_BEAT_SCHEDULE, as theirs does; once the database answers, where it is away."""
        self._is_set_up = False
        try:
            super().setup_schedule()
        except DatabaseError as error:
            self._initial_read = True  # theirs would go on without a schedule
            self._left_alone(error)
        else:
            self._is_set_up = True

    def all_as_schedule(self) -> dict[str, Any]:
        """Return the enabled rows that can be read as Celery's entries, by their names."""
        readable = (row for row in ticks.rows().filter(enabled=True) if self._facts_of(row) is not None)
        return {row.name: self.Entry(row, app=self.app) for row in readable}

    def sync(self) -> None:
        """Do nothing: what a beat does is written as it does it."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Do what is to be done first, and return how many seconds nothing is; never raises for a database that is away."""
        try:
            wait = self._step()
        except DatabaseError as error:
            return self._left_alone(error)
        if self._is_away:
            logger.info("Schedules: the database is back")
            self._is_away = False
        return min(wait, float(self.max_interval))

    def _left_alone(self, error: Exception) -> float:
        """Give up a connection that failed; the first time, try at once whether a new one does better."""
        connections.close_all()
        self._looked_at = float("-inf")
        if self._is_away:
            return min(AWAY, float(self.max_interval))
        logger.warning("Schedules: the database cannot be used, and is asked again until it can: %s", error)
        self._is_away = True
        return LOST

    def _step(self) -> float:
        clock = time.monotonic()
        if not self._is_set_up:
            self.setup_schedule()
        if clock >= self._tidied_at + TIDY_EVERY:
            self._tidied_at = clock
            self._tidy()
        if clock >= self._looked_at + LOOK_EVERY:
            self._looked_at = clock
            self._read_if_changed(clock)
            self._send_abandoned()
        first = self._times.first()
        if first is not None and first[1] <= now():
            self._look_at(first[0])
            return 0.0
        return self._seconds_left(first)

    def _seconds_left(self, first: tuple[Any, datetime] | None) -> float:
        left = self._looked_at + LOOK_EVERY - time.monotonic()
        if first is not None:
            left = min(left, (first[1] - now()).total_seconds())
        return max(left, 0.0)

    # --- what the rows say

    def _read_if_changed(self, clock: float) -> None:
        # Before the rows: what is changed while they are read is a change at the next look.
        changed_at = ticks.last_change()
        if changed_at != self._changed_at or clock >= self._read_at + READ_EVERY:
            self._read(now())
            self._changed_at, self._read_at = changed_at, clock

    def _read(self, moment: datetime) -> None:
        found = {row.pk: self._next_look(row, moment) for row in ticks.rows().filter(enabled=True)}
        self._times.fill({key: moment for key, moment in found.items() if moment is not None})
        self._unread = {key: why for key, why in self._unread.items() if key in found}

    def _next_look(self, row: Any, moment: datetime) -> datetime | None:
        found = self._plan(row, moment)
        return moment if found.due or found.is_over else found.next_at

    def _plan(self, row: Any, moment: datetime) -> Plan:
        """Return which tick of a row is due; a row that cannot be read has none until it is changed."""
        facts = self._facts_of(row)
        if facts is None:
            return Plan(due=None, next_at=None)
        try:
            return plan(facts, moment, grace=self._options.grace)
        except Exception:  # the calendars of Celery's schedules, and of the sun, raise what they like
            logger.exception("Schedule %s: its next tick cannot be reckoned, and is tried again", row.name)
            return Plan(due=None, next_at=moment + timedelta(seconds=TIDY_EVERY))

    def _facts_of(self, row: Any) -> Facts | None:
        """Return what decides the ticks of a row; None for one that cannot be read, which is said once."""
        try:
            facts = ticks.facts_of(row)
            sending.call_of(row)
        except ScheduleError as error:
            if self._unread.get(row.pk) != str(error):
                logger.error("Schedule %s does not tick until it is mended: %s", row.name, error)  # noqa: TRY400
            self._unread[row.pk] = str(error)
            return None
        self._unread.pop(row.pk, None)
        return facts

    # --- one schedule

    def _look_at(self, key: Any) -> None:
        row = ticks.rows().filter(pk=key, enabled=True).first()
        if row is None:
            self._times.put(key, None)
            return
        found = self._plan(row, now())
        if found.is_over and ticks.disable(row):
            logger.info("Schedule %s: it is over, and disabled", row.name)
            self._times.put(key, None)
        elif found.is_over or found.due:
            # Until it is known better: another beat may be faster, and what is taken may fail to be written.
            self._times.put(key, now() + timedelta(seconds=LOST))
            self._take(row, found)
        else:
            self._times.put(key, found.next_at)

    def _take(self, row: Any, found: Plan) -> None:
        try:
            tick = ticks.take(row, found.due, until=self._until()) if found.due else None
        except (DataError, IntegrityError):
            # What this row says, and not the database's state: the others go on.
            logger.exception("Schedule %s: its tick cannot be written, and is tried again", row.name)
            self._times.put(row.pk, now() + timedelta(seconds=TIDY_EVERY))
            return
        if tick is not None:
            # Not before now: one that is behind would go before all that are on time.
            self._times.put(row.pk, max(found.next_at, now()) if found.next_at else None)
            self._touched.add(row.pk)
            self._send_or_miss(tick, row)

    def _until(self) -> datetime:
        return now() + timedelta(seconds=self._options.retake)

    def _send_or_miss(self, tick: Tick, row: Any) -> None:
        if tick.outcome == Tick.MISSED:
            logger.warning("Schedule %s: the tick of %s was missed, and is left out", row.name, tick.at)
        elif time.monotonic() < self._broker_away_until:
            self._put_off(tick)
        else:
            self._send(tick, row)

    # --- one tick

    def _send(self, tick: Tick, row: Any, *, again: bool = False) -> bool:
        """Send a tick that is this beat's, and note what became of it; False where it is to be tried again."""
        if ticks.is_over(tick, now()):
            return True  # this beat was frozen, or its machine asleep: the tick is anybody's
        began = time.monotonic()
        verdict = sending.send(tick, row, self.app, again=again)
        if verdict.outcome == "later":
            level = logging.DEBUG if again else logging.WARNING
            logger.log(level, "Schedule %s: the tick of %s is sent later: %s", row.name, tick.at, verdict.reason)
            if time.monotonic() - began > SLOW:
                self._broker_away_until = time.monotonic() + AGAIN[0]
            self._put_off(tick)
            return False
        ticks.finish(tick, verdict.outcome, verdict.reason)
        _say(tick, row, verdict)
        return True

    def _put_off(self, tick: Tick) -> None:
        least, most = AGAIN
        waited = (now() - ticks.moment_of(tick)).total_seconds()
        ticks.retake(tick, until=now() + timedelta(seconds=min(max(waited / 4, least), most)))

    def _send_abandoned(self) -> None:
        """Send the ticks that were taken and not sent in time, until the broker refuses one."""
        for tick in ticks.abandoned(now()):
            row = tick.periodic_task
            if not ticks.retake(tick, until=self._until()):
                continue
            self._touched.add(row.pk)
            late = timedelta(seconds=self._options.grace + self._options.retake)
            why = ticks.why_missed(tick, row, now(), late=late)
            if why is not None:
                ticks.finish(tick, Tick.MISSED, why)
                logger.warning("Schedule %s: the tick of %s was missed: %s", row.name, tick.at, why)
            elif not self._send(tick, row, again=True):
                return

    def _tidy(self) -> None:
        close_old_connections()
        for key in self._touched:
            ticks.tidy(key, keep=self._options.keep)
        self._touched.clear()


def _say(tick: Tick, row: Any, verdict: sending.Verdict) -> None:
    if verdict.outcome == "refused":
        # What a row says wrongly needs no traceback, at each of its ticks.
        trace = None if isinstance(verdict.error, ScheduleError) else verdict.error
        logger.error("Schedule %s: the tick of %s is refused: %s", row.name, tick.at, verdict.reason, exc_info=trace)
    elif verdict.outcome == "skipped":
        logger.info("Schedule %s: the tick of %s is skipped: %s", row.name, tick.at, verdict.reason)
    else:
        logger.info("Schedule %s: sent %s, id=%s", row.name, row.task, tick.result_id)
