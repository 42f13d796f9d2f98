"""Settings of the endings project: the fast suite's, with a real Redis; run by ``celery -A tasks_celery``."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403

_redis = os.environ["ENDINGS_REDIS"]
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "tasks_celery",
    "integration.endings",
    *(["django_tasks"] if "django_tasks" in INSTALLED_APPS else []),  # noqa: F405
]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "tests.urls"
TASKS = {"default": {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": ["default", "reports"]}}
CELERY_BROKER_URL = _redis
CELERY_RESULT_BACKEND = _redis
CELERY_TASK_DEFAULT_PRIORITY = 5
