"""Both. Checks of the time zones: Django's, Celery's and django-celery-beat's."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from django.conf import settings
from django.core.checks import Error, Warning
from django.utils import timezone

from tasks_celery.beat.checks.reading import Messages, celery_apps, zone_of


def zone_is_unknown() -> Messages:
    for app in celery_apps():
        if zone_of(app) is None:
            yield Error(
                f"CELERY_TIMEZONE is {app.conf.timezone!r}, which is no time zone that is known here: celery beat cannot start.",
                hint="Name one such as 'Europe/Berlin'. Where the machine has no list of them: pip install tzdata",
                id="tasks_celery.E203",
            )


def zones_disagree() -> Messages:
    # Who has not set TIME_ZONE has not chosen Chicago.
    if not settings.is_overridden("TIME_ZONE"):  # type: ignore[misc]  # a method, which the plugin takes for a setting
        return
    for app in celery_apps():
        zone = zone_of(app)
        if zone and not _agree(zone, timezone.get_default_timezone()):
            yield Warning(
                f"TIME_ZONE is {settings.TIME_ZONE!r}, and Celery goes by {_setting(app.conf.timezone, zone)}. A crontab that "
                "names no zone ticks by Celery's; the admin, and a time without a zone in the code, go by TIME_ZONE.",
                hint="Set CELERY_TIMEZONE = TIME_ZONE. Where the difference is meant, name the zone of each crontab, and set "
                "SILENCED_SYSTEM_CHECKS = ['tasks_celery.W203'].",
                id="tasks_celery.W203",
            )


def machine_decides() -> Messages:
    for app in celery_apps():
        if not app.conf.enable_utc and not app.conf.timezone:
            yield Warning(
                "CELERY_ENABLE_UTC is False and CELERY_TIMEZONE is not set: Celery goes by the zone of the machine it runs on. "
                "A crontab that names no zone cannot be kept in a row, for that one has no name.",
                hint="Set CELERY_TIMEZONE = TIME_ZONE, or leave CELERY_ENABLE_UTC out.",
                id="tasks_celery.W204",
            )


def zones_are_left_out() -> Messages:
    if getattr(settings, "DJANGO_CELERY_BEAT_TZ_AWARE", True):
        return
    yield Warning(
        "DJANGO_CELERY_BEAT_TZ_AWARE is False: a crontab ticks by Celery's zone, whatever zone its row names.",
        hint="Leave DJANGO_CELERY_BEAT_TZ_AWARE out of the settings: the scheduler of tasks_celery does not need it, even "
        "where USE_TZ is False. Look first at the zones that the rows name.",
        id="tasks_celery.W205",
    )


def _setting(named: object, zone: tzinfo) -> str:
    return f"CELERY_TIMEZONE, {named!r}" if named else f"{zone}, as CELERY_TIMEZONE is not set"


def _agree(one: tzinfo, other: tzinfo) -> bool:
    """Whether the clocks of both show the same in each month of this year: UTC and Etc/UTC do."""
    year = datetime.now(UTC).year
    moments = [datetime(year, month, 1, tzinfo=UTC) for month in range(1, 13)]
    return all(moment.astimezone(one).utcoffset() == moment.astimezone(other).utcoffset() for moment in moments)
