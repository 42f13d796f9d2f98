"""Both. Time zones by their names, as a row of django-celery-beat's keeps them. Pure, but for the zone of Celery's app."""

from __future__ import annotations

from datetime import UTC
from difflib import get_close_matches
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from tasks_celery.celery import find_app
from tasks_celery.exceptions import ScheduleError


def celery_zone() -> ZoneInfo:
    """Return the zone of the project's Celery app. Raise ScheduleError where that is the machine's, which has no name."""
    zone = find_app().timezone
    if name := _name_of(zone):
        return ZoneInfo(name)
    raise ScheduleError(
        f"Celery's zone is {zone!r}, which has no name to keep in a row: set CELERY_TIMEZONE, or crontab(…, timezone=…)."
    )


def _name_of(zone: object) -> str | None:
    return "UTC" if zone is UTC else getattr(zone, "key", None)


def zone_name(zone: object) -> str | None:
    """Return the name of a zone, given by it or as a ZoneInfo; None for None. Raise for what has no name, or is not known."""
    if zone is None:
        return None
    name = zone if isinstance(zone, str) else _name_of(zone)
    if not isinstance(name, str):
        raise TypeError(f"crontab(timezone={zone!r}): give the name of a zone, such as 'Europe/Berlin', or a ZoneInfo.")
    if name not in _zones():
        like = get_close_matches(name, _zones(), n=1) or ["Europe/Berlin"]
        raise ScheduleError(f"crontab(timezone={name!r}): there is no such time zone; names are such as {like[0]!r}.")
    return name


@cache
def _zones() -> frozenset[str]:
    # The last two are no zones to name: one has no times, the other is another one on each machine.
    return frozenset(available_timezones() - {"Factory", "localtime"})
