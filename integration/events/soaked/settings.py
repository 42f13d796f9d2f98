"""Settings of the project that is soaked: the fast suite's, with what each run of `integration.events.soak` says in SOAKED.

JSON: `broker` is the URL of Celery's Redis, where the records are too, `redis` that of the channel layer, `layer` and `log`
which of each, `database` Django's default. `breaks` lets the consumer skip what closes a gap.
"""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403

SOAKED = json.loads(os.environ["SOAKED"])
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "tasks_celery",
    "tasks_celery.channels",
    "integration.events.soaked",
    *(["tasks_celery.database"] if SOAKED["log"] == "database" else []),
    *(["django_tasks"] if "django_tasks" in INSTALLED_APPS else []),  # noqa: F405
]
ROOT_URLCONF = "tests.urls"
DATABASES = {"default": SOAKED["database"]}
TASKS = {"default": {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": [], "OPTIONS": {"RESULTS": SOAKED["broker"]}}}
CELERY_BROKER_URL = CELERY_RESULT_BACKEND = SOAKED["broker"].replace("unix:", "redis+socket:", 1)
TASK_EVENTS = {"LOG": "database://" if SOAKED["log"] == "database" else SOAKED["redis"], "CHECK_EVERY": 1}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": {
            "core": "integration.events.soaked.layers.CoreLayer",
            "pubsub": "integration.events.soaked.layers.PubSubLayer",
        }[SOAKED["layer"]],
        "CONFIG": {
            "hosts": [{"address": SOAKED["redis"], "socket_timeout": None, "max_connections": 5000}],
            "prefix": "soaked",
            # A fifth of the usual: what a hundred users lose in a second that the server does not take anything, these lose too.
            **({"capacity": 20} if SOAKED["layer"] == "core" else {}),
        },
    }
}
