"""Web process (at `migrate`). When the digest runs: rows that django-celery-beat reads.

They are written after every `migrate`, which each start of the example runs anyway: nothing to remember,
and a changed DIGEST_EVERY takes hold with it. Doing so twice changes nothing. A running beat sees the change.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connections

DIGEST = "example.reports.tasks.nightly_digest"
NIGHTLY = "Digest, nightly at 03:00"
OFTEN = "Digest, every DIGEST_EVERY seconds"


def schedule_digests(using: str, **kwargs: Any) -> None:
    """Make the schedule's rows what the settings say; without django-celery-beat, do nothing."""
    if apps.is_installed("django_celery_beat") and _migrated(using):
        _schedule_nightly()
        _schedule_often(getattr(settings, "DIGEST_EVERY", None))


def _migrated(using: str) -> bool:
    from django_celery_beat.models import PeriodicTask

    # `migrate reports` alone comes here before beat has its tables.
    return using == "default" and PeriodicTask._meta.db_table in connections[using].introspection.table_names()


def _schedule_nightly() -> None:
    from django_celery_beat.models import CrontabSchedule

    every_day = {"day_of_week": "*", "day_of_month": "*", "month_of_year": "*"}
    at_three, _ = CrontabSchedule.objects.get_or_create(minute="0", hour="3", timezone=settings.TIME_ZONE, **every_day)
    _write(NIGHTLY, crontab=at_three)


def _schedule_often(seconds: int | None) -> None:
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    if not seconds:
        PeriodicTask.objects.filter(name=OFTEN).delete()
        return
    interval, _ = IntervalSchedule.objects.get_or_create(every=seconds, period=IntervalSchedule.SECONDS)
    # Where no worker takes one in time, the next does the same: they need not pile up.
    _write(OFTEN, interval=interval, expire_seconds=seconds)


def _write(name: str, **schedule: Any) -> None:
    from django_celery_beat.models import PeriodicTask

    PeriodicTask.objects.update_or_create(name=name, defaults={"task": DIGEST, **schedule})
