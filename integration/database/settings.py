"""Settings of the endings project with its records in a database: the one that DATABASE_UNDER_TEST describes as JSON."""

from __future__ import annotations

import json
import os

from integration.settings import *  # noqa: F403

DATABASES = {"default": json.loads(os.environ["DATABASE_UNDER_TEST"])}
if "tasks_celery.database" not in INSTALLED_APPS:  # noqa: F405
    INSTALLED_APPS += ["tasks_celery.database"]  # noqa: F405
TASKS = {
    "default": {
        "BACKEND": "tasks_celery.CeleryBackend",
        "QUEUES": ["default", "reports"],
        "OPTIONS": {"RESULTS": "database://"},
    }
}
