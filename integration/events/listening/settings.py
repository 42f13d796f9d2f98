"""Settings of the project whose sockets are tried: the fast suite's, with what a test says in LISTENING.

JSON: `layer` is how CHANNEL_LAYERS["default"] is configured, None for none, `database` Django's default, `events` TASK_EVENTS.
"""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403

LISTENING = json.loads(os.environ["LISTENING"])
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "channels",
    "tasks_celery",
    "tasks_celery.database",
    "tasks_celery.channels",
    *(["django_tasks"] if "django_tasks" in INSTALLED_APPS else []),  # noqa: F405
]
ROOT_URLCONF = "integration.events.listening.urls"
DATABASES = {"default": LISTENING["database"]}
TASK_EVENTS = LISTENING["events"]
CHANNEL_LAYERS = {"default": LISTENING["layer"]} if LISTENING["layer"] else {}
