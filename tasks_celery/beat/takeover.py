"""Beat process. Puts our scheduler in the place of django-celery-beat's, which sends each tick once for each beat that runs.

``celery beat -S django`` goes on being how a project starts it. A scheduler of the project's own, a subclass of theirs too, stays.
"""

from __future__ import annotations

import logging
from typing import Any

from celery.signals import beat_init

logger = logging.getLogger("tasks_celery")


def connect() -> None:
    """Connect to Celery's signal; connecting again changes nothing."""
    beat_init.connect(_on_beat_init, weak=False, dispatch_uid="tasks_celery.beat.takeover")


def _on_beat_init(sender: Any, **kwargs: Any) -> None:
    from django_celery_beat.schedulers import DatabaseScheduler as TheirScheduler

    if not isinstance(sender.scheduler, TheirScheduler):
        logger.warning(
            "Schedules: beat runs %s, which knows no rows: none of the schedules is sent. Start it with -S django",
            type(sender.scheduler).__qualname__,
        )
    if type(sender.scheduler) is not TheirScheduler:
        return
    from tasks_celery.beat.scheduler import DatabaseScheduler

    # Theirs has made rows of CELERY_BEAT_SCHEDULE by now, and has begun nothing else.
    sender.scheduler = DatabaseScheduler(
        app=sender.app,
        schedule_filename=sender.schedule_filename,
        max_interval=sender.max_interval,
        lazy=True,
    )
    logger.info("Schedules: tasks_celery's scheduler takes the place of django-celery-beat's: several beats may run")
