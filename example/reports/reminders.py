"""Web process. A reminder and the schedule that sends it: made together, and put away together."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.apps import apps
from django.db import transaction

from example.reports.models import Reminder
from example.reports.tasks import remind
from tasks_celery.beat import clocked, schedule_task, unschedule_task


def are_possible() -> bool:
    """Return whether schedules have their tables here; without django-celery-beat they have not."""
    return apps.is_installed("tasks_celery.beat")


def remind_at(at: datetime, owner: Any, text: str) -> Reminder:
    """Have a user told of a text at a time; in a transaction that fails, neither reminder nor schedule is left."""
    with transaction.atomic():
        reminder = Reminder.objects.create(owner=owner, text=text, at=at)
        schedule_task(
            apps,
            remind,
            clocked(at),
            name=reminder.schedule_name,
            kwargs={"reminder_id": reminder.pk},
            notify_user=owner,
        )
    return reminder


def put_away(reminder: Reminder) -> None:
    """Take a reminder back, or off the page once it was seen."""
    with transaction.atomic():
        unschedule_task(apps, reminder.schedule_name)
        reminder.delete()
