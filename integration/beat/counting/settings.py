"""Settings of the counting project: those of the endings, with schedules in the database that COUNTING_DATABASE describes."""

from __future__ import annotations

import json
import os

from integration.settings import *  # noqa: F403

DATABASES = {"default": json.loads(os.environ["COUNTING_DATABASE"])}
INSTALLED_APPS = [*INSTALLED_APPS, "django_celery_beat", "tasks_celery.beat", "integration.beat.counting"]  # noqa: F405
# All that a minute has, to be counted; the rest is as it is by default.
TASK_SCHEDULES = {"KEEP": 10_000}
