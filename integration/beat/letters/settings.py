"""Settings of the letters project; what LETTERS_SETTINGS holds as JSON goes over them."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec

_mine = json.loads(os.environ.get("LETTERS_SETTINGS", "{}"))

SECRET_KEY = "for tests only"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "tasks_celery",
    "django_celery_beat",
    "tasks_celery.beat",
    "integration.beat.letters",
    *([] if find_spec("django.tasks") else ["django_tasks"]),
    *_mine.pop("MORE_APPS", []),
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TASKS = {"default": {"BACKEND": "tasks_celery.CeleryBackend"}}
CELERY_BROKER_URL = CELERY_RESULT_BACKEND = os.environ.get("LETTERS_REDIS", "memory://")
globals().update(_mine)
