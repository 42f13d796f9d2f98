"""Both. Times as they travel and rest: ISO 8601 in UTC, whatever the project's zone.

Django's naive times (USE_TZ=False) are in TIME_ZONE, whichever zone a request has activated.
"""

from __future__ import annotations

from datetime import UTC, datetime
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
