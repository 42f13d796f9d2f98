"""Both. Times as they travel and rest: ISO 8601 in UTC, whatever the project's zone.

Django's naive times (USE_TZ=False) are in TIME_ZONE, whichever zone a request has activated. Of an hour that comes twice,
as the clocks are put back, a naive time is in the first (`fold` says otherwise); one in the hour that is left out
lies as far behind that hour's beginning as it says: 2:30 is 3:30.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import overload

from django.conf import settings
from django.utils import timezone


def to_aware(moment: datetime | None) -> datetime | None:
    """Return `moment` with its time zone: Celery would read a naive one as UTC, hours off elsewhere."""
    if moment is not None and timezone.is_naive(moment):
        return timezone.make_aware(moment, timezone.get_default_timezone())
    return moment


def as_project(moment: datetime | None) -> datetime | None:
    """Return an aware `moment` as the project has its times: aware where USE_TZ is on, else naive."""
    if moment is None or settings.USE_TZ:
        return moment
    return timezone.make_naive(moment, timezone.get_default_timezone())


def due_at(run_after: datetime | timedelta | None) -> datetime | None:
    """Return the moment that `run_after` names, or lies ahead from now, as the project has its times; it may be past.

    Raise ValueError for one that is too far off for a datetime.
    """
    try:
        # Counted in UTC: a day from now may have 23 hours on a clock, and is over after 24.
        moment = datetime.now(UTC) + run_after if isinstance(run_after, timedelta) else to_aware(run_after)
        # By way of UTC, as it will be read back: a naive time that the clocks leave out is another one then.
        return as_project(moment.astimezone(UTC)) if moment else None
    except OverflowError as error:
        raise ValueError(f"run_after={run_after!r} lies too far off for a time; the year 9999 is the last.") from error


@overload
def to_text(moment: datetime) -> str: ...


@overload
def to_text(moment: datetime | None) -> str | None: ...


def to_text(moment: datetime | None) -> str | None:
    """Return `moment` as ISO 8601 in UTC, to the microsecond."""
    aware = to_aware(moment)
    return aware.astimezone(UTC).isoformat() if aware is not None else None


def from_text(text: str | None) -> datetime | None:
    """Return the moment that `to_text` wrote, as the project has its times."""
    return as_project(datetime.fromisoformat(text)) if text else None


def from_celery(moment: str | datetime | None) -> datetime | None:
    """Return a time of Celery's, whose naive ones are UTC, as the project has its times."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if moment is not None and timezone.is_naive(moment):
        moment = moment.replace(tzinfo=UTC)
    return as_project(moment)
