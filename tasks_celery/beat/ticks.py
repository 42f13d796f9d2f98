"""Beat process. The rows of schedules and of their ticks: read as facts, and changed so that each tick is one beat's alone.

Every change is one short transaction, or one UPDATE that says what it found: of several beats that try, one succeeds.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any, cast

from django.conf import settings
from django.db import router, transaction
from django.db.models import F, QuerySet
from django.utils import timezone
from django_celery_beat.clockedschedule import clocked
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from tasks_celery.beat.models import ScheduleOptions, Tick
from tasks_celery.beat.planning import Due, Facts
from tasks_celery.beat.when import Kind
from tasks_celery.exceptions import ScheduleError
from tasks_celery.moments import as_project, to_aware

_KINDS: tuple[Kind, ...] = ("interval", "crontab", "solar", "clocked")

#: What of a row is read with it: when it ticks, and how its task is sent.
_RELATED = (*_KINDS, "tasks_celery_options__notify_group")

#: The options of a row that has none of its own.
_DEFAULTS = ScheduleOptions()

#: How many ticks that nobody has sent are looked at at a time.
BATCH = 500


# --- rows


def rows() -> Any:
    """Return the schedules, in the database that they are written to: a replica may lag behind."""
    return PeriodicTask.objects.using(router.db_for_write(PeriodicTask)).select_related(*_RELATED)


def last_change() -> datetime | None:
    """Return when a schedule was last changed, as django-celery-beat notes it; None for never."""
    found = PeriodicTasks.objects.using(router.db_for_write(PeriodicTasks)).filter(ident=1)
    return cast("datetime | None", found.values_list("last_update", flat=True).first())


def options_of(row: Any) -> ScheduleOptions:
    """Return the options of a row; the defaults where it has none."""
    try:
        return cast("ScheduleOptions", row.tasks_celery_options)
    except ScheduleOptions.DoesNotExist:
        return _DEFAULTS


def facts_of(row: Any) -> Facts:
    """Return what of a row decides its ticks. Raise ScheduleError for a row whose times cannot be read."""
    kind = next((kind for kind in _KINDS if getattr(row, kind) is not None), None)
    if kind is None:
        raise ScheduleError("it has no interval, crontab, solar or clocked time: choose one in the admin.")
    changed_at = to_aware(row.date_changed)
    return Facts(
        kind=kind,
        schedule=_schedule_of(row, kind),
        last_run_at=_ran_at(row.last_run_at),
        changed_at=changed_at or timezone.now(),
        start_time=to_aware(row.start_time),
        ends_at=to_aware(row.expires),
        expire_seconds=row.expire_seconds,
        catch_up="skip" if options_of(row).catch_up == ScheduleOptions.SKIP else "once",
    )


def _schedule_of(row: Any, kind: Kind) -> Any:
    if kind == "clocked":
        # Theirs takes a naive time for UTC.
        return clocked(to_aware(row.clocked.clocked_time))
    try:
        return getattr(row, kind).schedule
    except Exception as error:  # Celery's parser, and that of time zones, raise what they like
        raise ScheduleError(f"its {kind} ({getattr(row, kind)}) cannot be read: {error}") from error


def _ran_at(moment: datetime | None) -> datetime | None:
    """Return a `last_run_at` with its zone: a naive one is UTC, as django-celery-beat has it, whatever the project's."""
    if moment is None or timezone.is_aware(moment):
        return moment
    return moment.replace(tzinfo=UTC)


def _as_ran_at(moment: datetime) -> datetime:
    return moment if settings.USE_TZ else moment.astimezone(UTC).replace(tzinfo=None)


def disable(row: Any) -> bool:
    """Disable a schedule that is over, as django-celery-beat does; False where it was changed since."""
    found = _rows_as(row).filter(expires=row.expires)
    return bool(found.update(enabled=False, last_run_at=None))


def _rows_as(row: Any) -> Any:
    return PeriodicTask.objects.using(row._state.db).filter(pk=row.pk, enabled=True)


# --- ticks


def _ticks(row: Any = None) -> QuerySet[Tick]:
    database = row._state.db if row is not None else None
    return Tick.objects.using(database or router.db_for_write(Tick))


def take(row: Any, due: Due, *, until: datetime) -> Tick | None:
    """Take the tick that is due: it is this beat's to send until then. None where there is nothing to send: look again.

    A tick that was missed is noted, and nobody's to send.
    """
    is_sent = due.outcome == "send"
    with transaction.atomic(using=row._state.db):
        # The UPDATE first: SQLite waits for who writes, but not in a transaction that has begun with reading.
        if not _rows_as(row).filter(last_run_at=row.last_run_at).update(**_changes(row, due)):
            return None
        tick = Tick(
            periodic_task=row,
            at=_stored(due.at),
            result_id=token_hex(16) if is_sent else "",
            outcome=Tick.TAKEN if is_sent else Tick.MISSED,
            taken_until=as_project(until) if is_sent else None,
        )
        if not _is_new(row, tick):
            return None
        tick.save(using=row._state.db, force_insert=True)
    return tick


def _changes(row: Any, due: Due) -> dict[str, Any]:
    changes: dict[str, Any] = {"last_run_at": _as_ran_at(due.last_run_at)}
    if row.clocked_id is not None or (row.one_off and due.outcome == "send"):
        changes |= {"enabled": False, "total_run_count": 0}
    elif due.outcome == "send":
        changes["total_run_count"] = F("total_run_count") + 1
    return changes


def _is_new(row: Any, tick: Tick) -> bool:
    """Whether a tick was not there before: it was, where its row has since forgotten when it ran (disabled, and enabled).

    A naive time comes twice as the clocks are put back: that is another tick, and takes the place of the first.
    """
    before = _ticks(row).filter(periodic_task=row.pk, at=tick.at)
    if row.last_run_at is None:
        return not before.exists()
    before.delete()
    return True


def by_hand(row: Any, *, until: datetime) -> Tick:
    """Take a tick that a person asks for now; the schedule stays as it is."""
    tick = Tick(
        periodic_task=row,
        at=_stored(datetime.now(UTC)),
        result_id=token_hex(16),
        taken_until=as_project(until),
        by_hand=True,
    )
    tick.save(using=row._state.db, force_insert=True)
    return tick


def abandoned(now: datetime) -> list[Tick]:
    """Return ticks that were taken, not sent in time, and are anybody's by now: the longest waiting first."""
    found = _ticks().filter(outcome=Tick.TAKEN, taken_until__lte=as_project(now))
    related = (f"periodic_task__{name}" for name in _RELATED)
    return list(found.select_related(*related).order_by("taken_until", "at")[:BATCH])


def is_over(tick: Tick, now: datetime) -> bool:
    """Whether a tick that somebody had is anybody's by now."""
    until = to_aware(tick.taken_until)
    return until is not None and until <= now


def retake(tick: Tick, *, until: datetime) -> bool:
    """Take a tick, or go on having it, until another moment; False where it is another's or has been sent."""
    moment = as_project(until)
    if not _mine(tick).update(taken_until=moment):
        return False
    tick.taken_until = moment
    return True


def rename(tick: Tick) -> bool:
    """Give a tick another `result_id`, for its first must not run any more; False where it is another's by now."""
    result_id = token_hex(16)
    if not _mine(tick).update(result_id=result_id):
        return False
    tick.result_id = result_id
    return True


def finish(tick: Tick, outcome: str, reason: str = "") -> bool:
    """Note what became of a tick; False where it is another's by now."""
    sent_at = timezone.now() if outcome == Tick.SENT else None
    return bool(_mine(tick).update(outcome=outcome, reason=reason, taken_until=None, sent_at=sent_at))


def _mine(tick: Tick) -> QuerySet[Tick]:
    return _ticks().filter(pk=tick.pk, outcome=Tick.TAKEN, taken_until=tick.taken_until)


def _stored(moment: datetime) -> datetime:
    return cast("datetime", as_project(moment))


def moment_of(tick: Tick) -> datetime:
    """Return the moment that a tick is for, with its zone."""
    return cast("datetime", to_aware(tick.at))


def why_missed(tick: Tick, row: Any, now: datetime, *, late: timedelta) -> str | None:
    """Return why a tick that has waited to be sent is not sent any more; None where it is.

    `late` is for how long each is sent; of those that have waited for longer, the newest of its schedule, or none.
    """
    newer = _ticks().filter(periodic_task=row.pk, at__gt=tick.at, outcome__in=(Tick.TAKEN, Tick.SENT)).exists()
    waited = now - (moment_of(tick) if newer else _stands_for(tick, row))
    if row.expire_seconds and waited > timedelta(seconds=row.expire_seconds):
        return f"it expired after {row.expire_seconds} s"
    if waited <= late:
        return None
    is_left_out = newer or tick.by_hand or options_of(row).catch_up == ScheduleOptions.SKIP
    return f"nobody could send it for {waited.total_seconds():.0f} s" if is_left_out else None


def _stands_for(tick: Tick, row: Any) -> datetime:
    """Return the moment of the last that a schedule's newest tick stands for: of several that were missed, one is sent."""
    ran_at = _ran_at(row.last_run_at)
    return moment_of(tick) if tick.by_hand or ran_at is None else max(moment_of(tick), ran_at)


def last_sent(tick: Tick) -> Iterable[Tick]:
    """Return the newest other tick of a schedule that was sent, and the newest that a beat is about to send."""
    others = _ticks().filter(periodic_task=tick.periodic_task_id).exclude(pk=tick.pk).order_by("-at")
    found = (others.filter(outcome=outcome).first() for outcome in (Tick.SENT, Tick.TAKEN))
    return [other for other in found if other is not None]


def tidy(key: Any, *, keep: int) -> int:
    """Remove the ticks of a schedule but the last `keep`, the newest that was sent, and those to be sent; return how many."""
    ticks = _ticks().filter(periodic_task=key)
    oldest = ticks.order_by("-at").values_list("at", flat=True)[keep - 1 : keep].first()
    if oldest is None:
        return 0
    sent = ticks.filter(outcome=Tick.SENT).order_by("-at").values_list("pk", flat=True)[:1]
    removed, _ = ticks.filter(at__lt=oldest).exclude(outcome=Tick.TAKEN).exclude(pk__in=list(sent)).delete()
    return removed
