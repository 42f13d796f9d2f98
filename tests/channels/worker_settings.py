"""Settings of the worker that integration/test_publisher.py starts: the fast suite's, with a real Redis."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403

_address = os.environ["PUBLISHER_REDIS"]
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "tasks_celery",
    "tasks_celery.channels",
    *(["django_tasks"] if "django_tasks" in INSTALLED_APPS else []),  # noqa: F405
]
if "PUBLISHER_DATABASE" in os.environ:
    DATABASES = {"default": json.loads(os.environ["PUBLISHER_DATABASE"])}
    INSTALLED_APPS += ["tasks_celery.database"]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "tests.urls"
CELERY_BROKER_URL = CELERY_RESULT_BACKEND = _address.replace("unix:", "redis+socket:", 1)
CELERY_IMPORTS = ["tests.channels.jobs"]
CHANNEL_LAYERS = json.loads(os.environ["PUBLISHER_LAYERS"])
TASK_EVENTS = json.loads(os.environ["PUBLISHER_EVENTS"])
