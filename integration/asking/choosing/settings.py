"""Settings of the options' project: the elsewhere project's, with the database that DATABASE_UNDER_TEST describes as JSON."""

from __future__ import annotations

import json
import os

from integration.elsewhere.settings import *  # noqa: F403

DATABASES = {"default": json.loads(os.environ["DATABASE_UNDER_TEST"])}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "tasks_celery.database",
    *[each for each in INSTALLED_APPS if each != "integration.elsewhere"],  # noqa: F405
    "integration.asking.choosing",
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
