"""Both. Times as they travel and rest: ISO 8601 in UTC, whatever the project's zone."""

from __future__ import annotations

from datetime import UTC, datetime

from django.conf import settings
from django.utils import timezone


def to_aware(moment: datetime | None) -> datetime | None:
    """Return `moment` with its time zone: Celery would read a naive one as UTC, hours off elsewhere."""
    return timezone.make_aware(moment) if moment is not None and timezone.is_naive(moment) else moment


def to_text(moment: datetime | None) -> str | None:
    """Return `moment` as ISO 8601 in UTC, to the microsecond."""
    aware = to_aware(moment)
    return aware.astimezone(UTC).isoformat() if aware is not None else None


def from_text(text: str | None) -> datetime | None:
    """Return the moment that `to_text` wrote: aware where USE_TZ is on, else naive local time."""
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment if settings.USE_TZ else timezone.make_naive(moment)
