"""Settings of a project whose doors are tried: the fast suite's, with what the test says in DOORS.

JSON: `secret` is the project's, `redis` the URL of the channel layer and of the log, `database` the path of its SQLite file.
"""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403

DOORS = json.loads(os.environ["DOORS"])
SECRET_KEY = DOORS["secret"]
ALLOWED_HOSTS = [".localhost"]
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "channels",
    "tasks_celery",
    "tasks_celery.channels",
    "integration.events.doors",
    *(["django_tasks"] if "django_tasks" in INSTALLED_APPS else []),  # noqa: F405
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "tasks_celery.channels.middleware.AudienceMiddleware",
]
ROOT_URLCONF = "integration.events.doors.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DOORS["database"], "OPTIONS": {"timeout": 20}}}
# Tasks run at once, within the request that asks for them.
_API = "django_tasks" if "django_tasks" in INSTALLED_APPS else "django.tasks"
TASKS = {"default": {"BACKEND": f"{_API}.backends.immediate.ImmediateBackend"}}
TASK_EVENTS = {"LOG": DOORS["redis"], "CHECK_EVERY": 1, "TENANT": "integration.events.doors.urls.tenant"}
# As it comes: with the default prefix, which this layer shares with every project on the server.
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [{"address": DOORS["redis"], "socket_timeout": None}]},
    }
}
LOGGING = {
    "version": 1,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        name: {"level": "DEBUG"} for name in ("tasks_celery", "django.request", "channels", "daphne", "uvicorn")
    },
}
