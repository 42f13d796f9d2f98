"""Both. Schedules: declared in code, written in migrations, made in the admin.

`when` says when a schedule ticks, `declare` what it is; `sync` and `schedule_task` write it into the `rows` of
django-celery-beat. In the process of beat `planning` says which tick is due, `ticks` takes it, and `sending` enqueues its
task. Only what reads or writes rows needs django-celery-beat itself: code that is decorated with `schedule` imports without it.
"""

from __future__ import annotations

from tasks_celery.beat.declare import schedule
from tasks_celery.beat.schedule_task import schedule_task, unschedule_task
from tasks_celery.beat.when import clocked, crontab, every, solar

__all__ = ["clocked", "crontab", "every", "schedule", "schedule_task", "solar", "unschedule_task"]
